//! The network interfaces of this machine, and which of them to use.
//!
//! A device listens on one address and not on all of them: others try every address that it announces, one after another, and cannot
//! reach those of container bridges and tunnels. Where no setting names one, the interfaces are ranked:
//!
//! 1. a local network: Ethernet or Wi-Fi with multicast, a VLAN or bond of such, one end of a `veth` pair (what containers have),
//!    a bridge with a physical member (`br-lan` of a router, `br0` of a host of virtual machines)
//! 2. the same with only a link-local address (169.254.0.0/16)
//! 3. Ethernet without multicast
//! 4. tunnels and other point-to-point links: WireGuard, OpenVPN, Tailscale, PPP
//! 5. bridges without a physical member: those of Docker, Podman, libvirt, LXC
//! 6. loopback
//!
//! Among equals the one with the default route of the lowest metric wins, then the one with the lowest index. Interfaces that are
//! down or without a carrier are left out, and so are IPv6 addresses: devices look for each other in an IPv4 multicast group.
//!
//! - [`system`]: the interfaces as the operating system describes them
//! - [`rank`]: the ranking, a function of that description alone
//! - [`changes`]: notifications that interfaces, addresses or routes have changed

pub mod changes;
pub mod rank;
pub mod system;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::LinkError;

pub use changes::Changes;
pub use rank::{SelectedAddress, select};
pub use system::{Interface, interfaces};

/// Multicast group and port of scouting messages: Zenoh's own, so that its tools see the devices too.
pub const SCOUTING_GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 224), 7446);

/// Tries to bind an address, for an error that says what is wrong with it.
///
/// # Errors
/// [`LinkError::Listen`]: the port is taken, or the address is not of this machine.
pub fn check_free(address: SocketAddr) -> Result<(), LinkError> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| LinkError::Listen { address, error })
}

/// Whether this machine can use an address now. One that no interface has may be usable too, as all of 127.0.0.0/8 is.
pub(super) fn is_usable(address: IpAddr, interfaces: &[Interface]) -> bool {
    let mut of = (interfaces.iter()).filter(|interface| interface.addresses.contains(&address));
    match of.next() {
        Some(interface) => interface.is_ready() || of.any(Interface::is_ready),
        None => UdpSocket::bind((address, 0)).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_a_port_that_is_taken() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let error = check_free(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }

    #[test]
    fn addresses_of_loopback_are_usable_and_those_of_others_are_not() {
        let interfaces = interfaces();
        for usable in [[127, 0, 0, 1], [127, 0, 0, 9]] {
            assert!(is_usable(usable.into(), &interfaces));
        }
        // A documentation address (RFC 5737).
        assert!(!is_usable([203, 0, 113, 7].into(), &interfaces));
    }
}
