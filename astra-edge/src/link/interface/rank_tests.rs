use super::*;

/// An interface that is up, from the words of `ip link` and `ip address` that count here.
fn interface(line: &str) -> Interface {
    let mut words = line.split_whitespace();
    let mut is = Interface {
        name: words.next().unwrap().to_owned(),
        index: words.next().unwrap().parse().unwrap(),
        up: true,
        carrier: true,
        ethernet: true,
        multicast: true,
        ..Interface::default()
    };
    for word in words {
        match word {
            "DOWN" => (is.up, is.carrier) = (false, false),
            "NO-CARRIER" => is.carrier = false,
            "NOMULTICAST" => is.multicast = false,
            "LOOPBACK" => (is.loopback, is.ethernet, is.multicast) = (true, false, false),
            "POINTOPOINT" => (is.point_to_point, is.ethernet) = (true, false),
            "tun" => is.tun = true,
            "none" => is.ethernet = false,
            "bridge" => is.bridge = Some(Bridge::Virtual),
            "bridge+physical" => is.bridge = Some(Bridge::Physical),
            word => match word.strip_prefix("default:") {
                Some(metric) => is.default_route = Some(metric.parse().unwrap()),
                None => is.addresses.push(word.parse().unwrap()),
            },
        }
    }
    is
}

fn interfaces(lines: &str) -> Vec<Interface> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(interface).collect()
}

/// Name and address of the best.
fn best(lines: &str) -> (String, String) {
    let selected = select(&interfaces(lines));
    (
        selected.interface.unwrap_or_default(),
        selected.address.to_string(),
    )
}

#[track_caller]
fn assert_best(name: &str, address: &str, lines: &str) {
    assert_eq!(best(lines), (name.to_owned(), address.to_owned()));
}

#[test]
fn a_laptop_with_wireguard_for_everything_uses_its_wifi() {
    assert_best(
        "wlp3s0",
        "192.168.1.34",
        "lo 1 LOOPBACK 127.0.0.1 ::1
         enp0s31f6 2 NO-CARRIER
         wlp3s0 3 192.168.1.34 fe80::1
         wg0 7 POINTOPOINT NOMULTICAST none 10.64.0.2 default:0",
    );
}

#[test]
fn a_laptop_with_openvpn_for_everything_uses_its_cable() {
    assert_best(
        "eth0",
        "10.1.4.20",
        "lo 1 LOOPBACK 127.0.0.1
         eth0 2 10.1.4.20
         tun0 9 POINTOPOINT tun none 10.8.0.6 default:50",
    );
}

#[test]
fn a_raspberry_pi_with_docker_uses_its_wifi() {
    assert_best(
        "wlan0",
        "192.168.178.50",
        "lo 1 LOOPBACK 127.0.0.1
         eth0 2 NO-CARRIER
         wlan0 3 192.168.178.50 default:600
         docker0 4 bridge 172.17.0.1
         br-5f2c81a0d9e3 5 bridge 172.18.0.1
         veth9c1d2ab 7",
    );
}

#[test]
fn a_host_of_virtual_machines_uses_its_bridge_with_the_cable_in_it() {
    assert_best(
        "br0",
        "192.168.10.2",
        "lo 1 LOOPBACK 127.0.0.1
         eno1 2
         virbr0 3 bridge 192.168.122.1
         br0 4 bridge+physical 192.168.10.2 default:425
         vnet0 5 tun fe80::2",
    );
    // So does a router, which has its default route elsewhere.
    assert_best(
        "br-lan",
        "192.168.1.1",
        "lo 1 LOOPBACK 127.0.0.1
         br-lan 5 bridge+physical 192.168.1.1
         pppoe-wan 8 POINTOPOINT none 203.0.113.5 default:0",
    );
}

#[test]
fn tailscale_and_zerotier_come_after_the_local_network() {
    let tunnels = "lo 1 LOOPBACK 127.0.0.1
         tailscale0 3 POINTOPOINT tun none 100.101.102.103
         ztabc123 4 tun 10.147.17.5";
    let at_home = format!("{tunnels}\n eth0 6 192.168.1.9 default:100");
    assert_best("eth0", "192.168.1.9", &at_home);
    // A machine that has nothing else uses them.
    assert_best("tailscale0", "100.101.102.103", tunnels);
}

#[test]
fn a_network_without_a_default_route_is_used() {
    assert_best(
        "eth0",
        "10.0.0.5",
        "lo 1 LOOPBACK 127.0.0.1
         eth0 2 10.0.0.5",
    );
}

#[test]
fn the_end_of_a_veth_pair_is_a_local_network() {
    assert_best(
        "eth0",
        "10.77.0.1",
        "lo 1 LOOPBACK 127.0.0.1
         eth0 2 10.77.0.1 default:0",
    );
}

#[test]
fn the_default_route_decides_between_cable_and_wifi_and_then_the_number() {
    let both = |cable: &str, wifi: &str| {
        best(&format!(
            "eth0 2 10.0.0.5 {cable}\n wlan0 3 192.168.1.5 {wifi}"
        ))
        .0
    };
    assert_eq!(both("", "default:600"), "wlan0");
    assert_eq!(both("default:100", "default:600"), "eth0");
    assert_eq!(both("default:700", "default:600"), "wlan0");
    assert_eq!(both("", ""), "eth0");
}

#[test]
fn link_local_addresses_come_after_those_of_dhcp_or_settings() {
    assert_best(
        "wlan0",
        "192.168.1.5",
        "eth0 2 169.254.7.7 default:100\n wlan0 3 192.168.1.5",
    );
    assert_best("eth0", "10.0.0.5", "eth0 2 169.254.7.7 10.0.0.5");
    // A cable between two machines, and no server that gives addresses out.
    assert_best(
        "eth0",
        "169.254.7.7",
        "lo 1 LOOPBACK 127.0.0.1\n eth0 2 169.254.7.7\n wg0 5 POINTOPOINT none 10.8.0.2",
    );
}

#[test]
fn every_rank_comes_before_the_next() {
    let ranks = [
        "lan 9 10.1.0.1",
        "linklocal 8 169.254.1.1 default:0",
        "nomulticast 7 NOMULTICAST 10.3.0.1 default:0",
        "tunnel 6 POINTOPOINT none 10.4.0.1 default:0",
        "docker0 5 bridge 172.17.0.1 default:0",
        "lo 1 LOOPBACK 127.0.0.1 default:0",
    ];
    for (number, line) in ranks.iter().enumerate() {
        let rest: Vec<&str> = ranks[number..].iter().rev().copied().collect();
        let name = line.split(' ').next().unwrap();
        assert_eq!(best(&rest.join("\n")).0, name);
    }
}

#[test]
fn what_is_down_or_has_no_carrier_or_no_ipv4_address_is_left_out() {
    assert_best(
        "lo",
        "127.0.0.1",
        "lo 1 LOOPBACK 127.0.0.1
         eth0 2 DOWN 10.0.0.5 default:0
         eth1 3 NO-CARRIER 10.0.1.5 default:0
         eth2 4 2001:db8::5 default:0
         eth3 5",
    );
    assert_best("", "127.0.0.1", "lo 1 DOWN LOOPBACK");
    assert!(select(&[]).is_loopback_fallback());
}

#[test]
fn one_line_says_which_and_why_and_how_to_select_another() {
    let selected = select(&interfaces(
        "lo 1 LOOPBACK 127.0.0.1
         wlan0 3 192.168.1.5 default:600
         eth1 4 10.0.0.5
         docker0 5 bridge 172.17.0.1
         wg0 6 POINTOPOINT none 10.8.0.2",
    ));
    assert_eq!(
        selected.to_string(),
        "uses 192.168.1.5 of wlan0: a local network with the default route; not eth1 (a local network), \
         wg0 (point-to-point), docker0 (a bridge without a physical member); --multicast-interface NAME selects another"
    );
    let configured = SelectedAddress::configured([10, 0, 0, 5].into(), Some("eth1"));
    assert_eq!(
        configured.to_string(),
        "uses 10.0.0.5 of eth1, as configured"
    );
}
