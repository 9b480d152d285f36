//! The command lines that make the network: namespaces, cables, rates and losses.
//!
//! Everything is in network namespaces of the lab, and removed with them.

use super::link::Mbps;

/// Prefix of the names of namespaces and control groups.
pub(crate) const PREFIX: &str = "astra-lab-";
/// The interface of a device.
pub(crate) const INTERFACE: &str = "eth0";

const NETWORK: &str = "10.77.0.0/24";
/// TCP congestion control between devices.
const CONGESTION_CONTROL: &str = "cubic";

/// The interface that all packets pass on a shared medium.
const AIR: &str = "air";
/// Longest time of a packet in the queue; one that would wait longer is dropped, as by an access point.
const QUEUE: &str = "200ms";

/// One command line.
pub(crate) type Line = Vec<String>;

/// The namespace of device `number`.
pub(crate) fn device(number: u8) -> String {
    format!("{PREFIX}{number}")
}

/// The namespace of the bridge.
pub(crate) fn hub() -> String {
    format!("{PREFIX}hub")
}

/// The address of device `number`.
pub(crate) fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}

/// The end of its cable at the bridge.
fn port(number: u8) -> String {
    format!("port{number}")
}

fn line(text: &str) -> Line {
    text.split(' ').map(str::to_owned).collect()
}

/// Namespaces and cables.
pub(crate) fn cables(devices: u8) -> Vec<Line> {
    let hub = hub();
    let mut lines = vec![
        line(&format!("ip netns add {hub}")),
        // Without an IGMP querier on the network, snooping would forget the receivers of multicast.
        line(&format!(
            "ip -n {hub} link add bridge type bridge mcast_snooping 0 forward_delay 0"
        )),
        line(&format!("ip -n {hub} link set bridge up")),
        unfiltered(&hub),
    ];
    for number in 1..=devices {
        let (device, address, port) = (device(number), address(number), port(number));
        for text in [
            format!("ip netns add {device}"),
            format!("ip -n {hub} link add {port} type veth peer name {INTERFACE} netns {device}"),
            format!("ip -n {hub} link set {port} master bridge up"),
            format!("ip -n {device} address add {address}/24 dev {INTERFACE}"),
            format!("ip -n {device} link set lo up"),
            format!("ip -n {device} link set {INTERFACE} up"),
            // Debian's default, independent of this machine's.
            format!(
                "ip -n {device} route replace {NETWORK} dev {INTERFACE} src {address} \
                 congctl {CONGESTION_CONTROL}"
            ),
            // The route of multicast.
            format!("ip -n {device} route add default dev {INTERFACE}"),
        ] {
            lines.push(line(&text));
        }
    }
    lines
}

/// Without it, packets on the bridge pass this machine's firewall if it is configured so, and take processor time from devices.
fn unfiltered(hub: &str) -> Line {
    const SCRIPT: &str = r#"for file in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$file" ] || echo 0 > "$file"; done"#;
    let mut all = line(&format!("ip netns exec {hub} sh -c"));
    all.push(SCRIPT.to_owned());
    all
}

/// One medium for all: every packet that enters the bridge passes one interface first.
pub(crate) fn medium(devices: u8) -> Vec<Line> {
    let hub = hub();
    let mut lines = vec![
        line(&format!("ip -n {hub} link add {AIR} type ifb")),
        line(&format!("ip -n {hub} link set {AIR} up")),
    ];
    for number in 1..=devices {
        let port = port(number);
        lines.push(line(&format!("tc -n {hub} qdisc add dev {port} clsact")));
        // Of the classifiers that match everything, all kernels have u32.
        lines.push(line(&format!(
            "tc -n {hub} filter add dev {port} ingress protocol all u32 match u32 0 0 \
             action mirred egress redirect dev {AIR}"
        )));
    }
    lines
}

/// A rate for every device in both directions, or for the medium they share; can be run again to change it.
pub(crate) fn shape(devices: u8, rate: Mbps, shared_medium: bool) -> Vec<Line> {
    if shared_medium {
        return vec![bucket(&hub(), AIR, rate)];
    }
    let both = |number| {
        [
            bucket(&device(number), INTERFACE, rate),
            bucket(&hub(), &port(number), rate),
        ]
    };
    (1..=devices).flat_map(both).collect()
}

fn bucket(namespace: &str, interface: &str, rate: Mbps) -> Line {
    line(&format!(
        "tc -n {namespace} qdisc replace dev {interface} root tbf rate {} burst {} latency {QUEUE}",
        rate.kbit(),
        rate.burst()
    ))
}

/// Drops packets at random on their way into a device.
pub(crate) fn losses(devices: u8, percent: f64) -> Vec<Line> {
    let share = (percent * 100.0).round();
    let rules = format!(
        "add table ip lab; \
         add chain ip lab losses {{ type filter hook input priority 0; }}; \
         add rule ip lab losses iifname {INTERFACE} numgen random mod 10000 < {share} drop"
    );
    let of = |number| {
        let mut all = line(&format!("ip netns exec {} nft", device(number)));
        all.push(rules.clone());
        all
    };
    (1..=devices).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.join(" ")).collect()
    }

    #[test]
    fn every_device_has_a_cable_to_the_bridge() {
        let lines = joined(&cables(2));
        assert_eq!(lines.len(), 4 + 2 * 8);
        assert_eq!(
            lines[13],
            "ip -n astra-lab-hub link add port2 type veth peer name eth0 netns astra-lab-2"
        );
        assert_eq!(
            lines[15],
            "ip -n astra-lab-2 address add 10.77.0.2/24 dev eth0"
        );
        let made = lines.iter().filter(|line| line.starts_with("ip netns add"));
        for namespace in made {
            assert!(
                namespace.contains(PREFIX),
                "{namespace} would never be found again"
            );
        }
    }

    #[test]
    fn rates_hold_both_ways() {
        assert_eq!(
            joined(&shape(1, Mbps(10.0), false)),
            [
                "tc -n astra-lab-1 qdisc replace dev eth0 root tbf rate 10000kbit burst 3000 latency 200ms",
                "tc -n astra-lab-hub qdisc replace dev port1 root tbf rate 10000kbit burst 3000 latency 200ms",
            ]
        );
    }

    #[test]
    fn a_shared_medium_has_one_rate_and_every_port_leads_there() {
        assert_eq!(
            joined(&shape(3, Mbps(20.0), true)),
            [
                "tc -n astra-lab-hub qdisc replace dev air root tbf rate 20000kbit burst 3000 latency 200ms"
            ]
        );
        let redirects = joined(&medium(3));
        let redirects = redirects
            .iter()
            .filter(|line| line.ends_with("redirect dev air"));
        assert_eq!(redirects.count(), 3);
    }

    #[test]
    fn losses_are_in_ten_thousandths() {
        let lines = losses(2, 2.5);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1][..5], ["ip", "netns", "exec", "astra-lab-2", "nft"]);
        assert!(lines[1][5].ends_with("iifname eth0 numgen random mod 10000 < 250 drop"));
    }
}
