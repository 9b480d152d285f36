//! `astra-edge peers`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use astra_edge::client::{Client, FoundDevice};
use astra_edge::cluster::membership::hello::{Rejection, short_hash};
use astra_edge::config::{Config, Network, parse_duration};
use astra_report::{Peer, Peers, table};
use clap::ArgMatches;

/// Show the devices of a cluster, and why any is not used.
///
/// Devices can share requests if they have the same key, the same bundle and a wire version in common. Where bundles differ, the one
/// that most devices have counts as the cluster's.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// How long to look.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1500ms")]
    wait: Duration,
    /// Take cluster, key and network from a device's settings file; flags and variables win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look until the device of that file is found on this machine and can be used, and fail if that is not before --wait is over.
    #[arg(long, requires = "config")]
    healthy: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
    #[command(flatten)]
    network: Network,
}

/// `given` is the command line.
pub(super) fn main(args: &Args, given: &ArgMatches) -> Result<()> {
    super::log(&args.log)?;
    let (network, own) = match &args.config {
        Some(path) => {
            let mut config = Config::read(path)?;
            config.network.override_with(given)?;
            config.seen_from_beside()?
        }
        None => (args.network.clone(), String::new()),
    };
    let is_healthy = |found: &FoundDevice| {
        let hello = found.hello.as_ref().filter(|_| found.rejection.is_none());
        hello.is_some_and(|hello| hello.name.as_str() == own && is_here(&hello.addresses))
    };
    let cluster = network.cluster.clone();
    let (found, selected): (Vec<FoundDevice>, _) = super::runtime()?.block_on(async {
        let mut client = Client::open(&network).await?;
        let selected = client.address().map(ToString::to_string);
        let until = Instant::now() + args.wait;
        while Instant::now() < until {
            client.scan().await?;
            if args.healthy && client.devices().any(is_healthy) {
                break;
            }
        }
        let found = client.devices().cloned().collect();
        client.close().await;
        anyhow::Ok((found, selected))
    })?;
    let healthy = !args.healthy || found.iter().any(is_healthy);
    let peers = Peers {
        cluster,
        devices: judged(found),
    };
    if let Some(selected) = selected.filter(|_| !args.json && !args.healthy) {
        eprintln!("{selected}");
    }
    show(args, &peers)?;
    if !healthy {
        bail!(
            "no device {own:?} of this machine can be used in cluster {} after {:?}",
            peers.cluster,
            args.wait
        );
    }
    Ok(())
}

/// Whether one of a device's addresses is this machine's.
fn is_here<const N: usize>(addresses: &[heapless::String<N>]) -> bool {
    let addresses = addresses
        .iter()
        .filter_map(|address| address.parse::<SocketAddr>().ok());
    // The system gives out its own addresses alone.
    addresses
        .map(|address| SocketAddr::new(address.ip(), 0))
        .any(|address| UdpSocket::bind(address).is_ok())
}

fn show(args: &Args, peers: &Peers) -> Result<()> {
    if args.json {
        return super::print_json(peers);
    }
    if peers.devices.is_empty() {
        return super::print_line(&format!(
            "no devices in cluster {}; is one running, and does multicast reach it? Else name one with --connect",
            peers.cluster
        ));
    }
    super::print_line(text(peers).trim_end())
}

/// Devices by name, those with a bundle that fewer have marked as such.
fn judged(found: Vec<FoundDevice>) -> Vec<Peer> {
    let mut counts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let usable = found.iter().filter(|found| found.rejection.is_none());
    for hello in usable.filter_map(|found| found.hello.as_ref()) {
        *counts.entry(hello.bundle).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count);
    let expected = most.map(|(bundle, _)| *bundle);
    let mut devices: Vec<Peer> = found
        .into_iter()
        .map(|found| judge(found, expected))
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name).then(a.id.cmp(&b.id)));
    devices
}

fn judge(found: FoundDevice, expected: Option<[u8; 32]>) -> Peer {
    let bundle = found.hello.as_ref().map(|hello| hello.bundle);
    let other = match (bundle, expected) {
        (Some(found), Some(expected)) if found != expected => {
            Some(Rejection::OtherBundle { found, expected })
        }
        _ => None,
    };
    let why = found.rejection.or(other);
    let hello = found.hello.as_ref();
    let text = |part: &str| part.to_owned();
    Peer {
        name: hello.map_or_else(|| "?".to_owned(), |hello| text(&hello.name)),
        id: found.device.to_string(),
        usable: why.is_none(),
        reason: why.map(|why| why.to_string()),
        speed_ms: hello.map(|hello| f64::from(hello.speed) / 1e3),
        model: hello.map(|hello| text(&hello.model)),
        bundle: bundle.map(|bundle| short_hash(&bundle)),
        software: hello.map(|hello| text(&hello.software)),
        runtime: hello.map(|hello| text(&hello.runtime)),
        addresses: hello.map_or_else(Vec::new, |hello| {
            hello
                .addresses
                .iter()
                .map(|address| text(address))
                .collect()
        }),
    }
}

fn text(peers: &Peers) -> String {
    let headings = [
        "device", "id", "alone ms", "model", "bundle", "software", "runtime", "address", "state",
    ];
    let mut rows = vec![headings.map(str::to_owned)];
    for peer in &peers.devices {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        let speed = peer
            .speed_ms
            .map_or_else(|| "?".to_owned(), |ms| format!("{ms:.1}"));
        rows.push([
            peer.name.clone(),
            peer.id.chars().take(8).collect(),
            speed,
            known(&peer.model),
            known(&peer.bundle),
            known(&peer.software),
            known(&peer.runtime),
            peer.addresses.join(" "),
            peer.reason.clone().unwrap_or_else(|| "usable".to_owned()),
        ]);
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = table(&mut text, &rows);
    text
}

#[cfg(test)]
mod tests {
    use astra_wire::{DeviceId, Hello};

    use super::*;

    fn found(number: u8, bundle: u8) -> FoundDevice {
        let device = DeviceId([number; 16]);
        let mut name = Default::default();
        std::fmt::Write::write_fmt(&mut name, format_args!("device-{number}")).unwrap();
        FoundDevice {
            device,
            hello: Some(Hello {
                min_version: astra_wire::MIN_VERSION,
                max_version: astra_wire::VERSION,
                device,
                name,
                software: Default::default(),
                runtime: Default::default(),
                key: [0; 8],
                bundle: [bundle; 32],
                model: Default::default(),
                speed: 1500,
                addresses: Default::default(),
            }),
            rejection: None,
        }
    }

    #[test]
    fn the_bundle_of_most_devices_counts() {
        let devices = judged(vec![found(3, 8), found(1, 9), found(2, 9)]);
        let states: Vec<(&str, bool)> = devices
            .iter()
            .map(|d| (d.name.as_str(), d.usable))
            .collect();
        assert_eq!(
            states,
            [("device-1", true), ("device-2", true), ("device-3", false)]
        );
        let reason = devices[2].reason.as_deref().unwrap();
        assert_eq!(
            reason,
            "other bundle: found 080808080808, expected 090909090909"
        );
        let peers = Peers {
            cluster: "lab".to_owned(),
            devices,
        };
        assert!(
            text(&peers)
                .lines()
                .nth(3)
                .unwrap()
                .contains("other bundle")
        );
    }

    #[test]
    fn devices_of_another_key_have_no_say() {
        let mut others = vec![found(1, 8), found(2, 8)];
        for other in &mut others {
            other.rejection = Some(Rejection::OtherKey);
        }
        others.push(found(3, 9));
        let devices = judged(others);
        assert!(devices[2].usable);
        assert_eq!(devices[0].reason.as_deref(), Some("other cluster key"));
    }
}
