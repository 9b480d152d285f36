//! The network interfaces of this machine, as the operating system describes them.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const SYSFS: &str = "/sys/class/net";
/// The table of IPv4 routes of this process's network namespace.
const ROUTES: &str = "/proc/self/net/route";
/// `ARPHRD_ETHER` of Linux's `if_arp.h`: Ethernet, Wi-Fi and all that looks like it.
const ETHERNET: &str = "1";
/// `RTF_UP` of Linux's `route.h`.
const ROUTE_UP: u32 = 1;

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is a carrier: a cable is plugged in, or an access point is associated.
    pub carrier: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// Whether it is a point-to-point link, as tunnels are.
    pub point_to_point: bool,
    /// Whether it supports multicast.
    pub multicast: bool,
    /// Whether its link layer is Ethernet.
    pub ethernet: bool,
    /// Whether it is a TUN or TAP device, which a process serves, such as OpenVPN or ZeroTier.
    pub tun: bool,
    /// What it connects, if it is a bridge.
    pub bridge: Option<Bridge>,
    /// Metric of the default route that uses it, if one does.
    pub default_route: Option<u32>,
    /// Its addresses; the first is its primary one.
    pub addresses: Vec<IpAddr>,
}

/// What a bridge connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bridge {
    /// A network outside of this machine.
    Physical,
    /// Containers or virtual machines of this machine, or nothing.
    Virtual,
}

impl Interface {
    /// Whether it can send and receive.
    pub fn is_ready(&self) -> bool {
        self.up && self.carrier
    }
}

/// The interfaces of this machine, or of this process's network namespace.
pub fn interfaces() -> Vec<Interface> {
    let routes = default_routes(&fs::read_to_string(ROUTES).unwrap_or_default());
    let mut found: Vec<Interface> = Vec::new();
    for each in pnet_datalink::interfaces() {
        // The C library lists a labelled address, `eth0:1`, as an interface of its own.
        let name = each.name.split(':').next().unwrap_or_default();
        let addresses = each.ips.iter().map(|network| network.ip());
        if let Some(known) = found.iter_mut().find(|known| known.name == name) {
            known.addresses.extend(addresses);
            continue;
        }
        let interface = Interface {
            name: name.to_owned(),
            index: each.index,
            up: each.is_up(),
            carrier: each.is_running(),
            loopback: each.is_loopback(),
            point_to_point: each.is_point_to_point(),
            multicast: each.is_multicast(),
            default_route: metric(&routes, name),
            addresses: addresses.collect(),
            ..Interface::default()
        };
        found.push(with_kind(interface, Path::new(SYSFS)));
    }
    found
}

/// Adds the kind of an interface from sysfs, or by its name: in some containers sysfs is not there, or is of another namespace.
fn with_kind(interface: Interface, sysfs: &Path) -> Interface {
    let folder = sysfs.join(&interface.name);
    let Ok(kind) = fs::read_to_string(folder.join("type")) else {
        return with_kind_by_name(interface);
    };
    Interface {
        ethernet: kind.trim() == ETHERNET,
        tun: folder.join("tun_flags").exists(),
        bridge: bridge(&folder, sysfs),
        ..interface
    }
}

fn with_kind_by_name(interface: Interface) -> Interface {
    const TUNNELS: [&str; 6] = ["tun", "tap", "wg", "ppp", "tailscale", "zt"];
    const BRIDGES: [&str; 7] = ["docker", "br-", "virbr", "lxcbr", "lxdbr", "podman", "cni"];
    let begins = |with: &[&str]| with.iter().any(|part| interface.name.starts_with(part));
    let (tun, bridge) = (begins(&TUNNELS), begins(&BRIDGES));
    Interface {
        ethernet: !tun && !interface.loopback && !interface.point_to_point,
        tun,
        bridge: bridge.then_some(Bridge::Virtual),
        ..interface
    }
}

fn bridge(folder: &Path, sysfs: &Path) -> Option<Bridge> {
    if !folder.join("bridge").exists() {
        return None;
    }
    let members = fs::read_dir(folder.join("brif")).into_iter().flatten();
    let names = members.flatten().map(|member| member.file_name());
    Some(match names.map(|name| sysfs.join(name)).any(is_physical) {
        true => Bridge::Physical,
        false => Bridge::Virtual,
    })
}

/// Whether hardware is below an interface: it is a device's own, or one made of others, as VLANs and bonds are. Ends of `veth` pairs
/// and those of virtual machines are neither.
fn is_physical(folder: PathBuf) -> bool {
    let is_lower = |name: &OsStr| name.as_encoded_bytes().starts_with(b"lower_");
    let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    folder.join("device").exists() || entries.any(|entry| is_lower(&entry.file_name()))
}

/// Interfaces and metrics of the default routes in Linux's table: fields of a line are name, destination, gateway, flags, reference
/// count, use, metric, mask; numbers but metric and counts are hexadecimal (`man 5 proc`).
fn default_routes(table: &str) -> Vec<(String, u32)> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, _, flags, _, _, metric, mask, ..] = fields.as_slice() else {
            return None;
        };
        let hex = |field: &str| u32::from_str_radix(field, 16).ok();
        let up = hex(flags)? & ROUTE_UP != 0;
        let everywhere = hex(destination)? == 0 && hex(mask)? == 0;
        (up && everywhere).then_some(((*name).to_owned(), metric.parse().ok()?))
    };
    table.lines().filter_map(route).collect()
}

fn metric(routes: &[(String, u32)], name: &str) -> Option<u32> {
    let of = routes.iter().filter(|(interface, _)| interface == name);
    of.map(|(_, metric)| *metric).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_loopback() {
        let interfaces = interfaces();
        let lo = interfaces.iter().find(|each| each.loopback).unwrap();
        assert!(!lo.ethernet && !lo.tun && lo.bridge.is_none(), "{lo:?}");
    }

    #[test]
    fn default_routes_are_found_in_the_table() {
        // Of a laptop with OpenVPN: 0.0.0.0/1 and 128.0.0.0/1 go by the tunnel, which leaves the default route alone.
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            tun0\t00000000\t0501080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
            tun0\t00000080\t0501080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth1\t00000000\t0102A8C0\t0002\t0\t0\t50\t00000000\t0\t0\t0\n\
            wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n";
        let routes = default_routes(table);
        let expected = [("eth0".to_owned(), 100), ("wlan0".to_owned(), 600)];
        assert_eq!(routes, expected);
        assert_eq!(metric(&routes, "wlan0"), Some(600));
        assert_eq!(metric(&routes, "tun0"), None);
        assert!(default_routes("").is_empty());
    }

    /// A folder like sysfs, of interfaces with their files.
    fn sysfs(interfaces: &[(&str, &[&str])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, entries) in interfaces {
            let own = folder.path().join(name);
            fs::create_dir(&own).unwrap();
            fs::write(own.join("type"), "1\n").unwrap();
            for entry in *entries {
                fs::create_dir_all(own.join(entry)).unwrap();
            }
        }
        folder
    }

    #[test]
    fn a_bridge_is_what_its_members_are() {
        let there = sysfs(&[
            ("eth0", &["device"]),
            ("eth0.10", &["lower_eth0"]),
            ("veth1a2b", &[]),
            ("vnet0", &["tun_flags"]),
            ("docker0", &["bridge", "brif/veth1a2b"]),
            ("virbr0", &["bridge", "brif/vnet0"]),
            ("br0", &["bridge", "brif/vnet0", "brif/eth0"]),
            ("br-lan", &["bridge", "brif/eth0.10"]),
            ("br-empty", &["bridge", "brif"]),
        ]);
        let of = |name: &str| {
            let interface = Interface {
                name: name.to_owned(),
                ..Interface::default()
            };
            with_kind(interface, there.path())
        };
        assert_eq!(of("eth0").bridge, None);
        assert!(of("eth0").ethernet && !of("eth0").tun && of("vnet0").tun);
        for name in ["docker0", "virbr0", "br-empty"] {
            assert_eq!(of(name).bridge, Some(Bridge::Virtual), "{name}");
        }
        for name in ["br0", "br-lan"] {
            assert_eq!(of(name).bridge, Some(Bridge::Physical), "{name}");
        }
        // Where there is no such folder, names have to do.
        assert_eq!(of("podman1").bridge, Some(Bridge::Virtual));
        assert!(of("wg0").tun && !of("wg0").ethernet && of("eth9").ethernet);
    }
}
