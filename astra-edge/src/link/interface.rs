//! Which address of this machine the others reach it at.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::LinkError;

/// Where scouting messages go: Zenoh's own group, so that its tools see the devices too.
pub const SCOUTING_GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 224), 7446);

/// Address of the interface that multicast leaves this machine by; `None` where nothing leaves it yet.
///
/// A device listens on this one address and not on all of them: every address a device announces is tried by the others, one
/// after another, and those of container bridges and tunnels answer nobody.
pub fn route_address() -> Option<IpAddr> {
    // Connecting a datagram socket sends nothing; it makes the system choose the route.
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(SCOUTING_GROUP)?;
        socket.local_addr()
    };
    let address = route().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// The same, else loopback: a machine without a network still holds a cluster of its own.
pub fn default_address() -> IpAddr {
    route_address().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// The address an interface has; an address stands for itself.
///
/// # Errors
/// There is no such interface, or it has no IPv4 address.
pub fn address_of(name: &str) -> Result<IpAddr, LinkError> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let interfaces = pnet_datalink::interfaces();
    let addresses = interfaces
        .iter()
        .filter(|interface| interface.name == name)
        .flat_map(|interface| &interface.ips);
    addresses
        .map(|network| network.ip())
        .find(IpAddr::is_ipv4)
        .ok_or_else(|| LinkError::Interface {
            found: name.to_owned(),
            available: interfaces.iter().map(|each| each.name.clone()).collect(),
        })
}

/// Tries an address out, for an error that says what is wrong with it.
///
/// # Errors
/// [`LinkError::Listen`]: the port is taken, or the address is not of this machine.
pub fn check_free(address: SocketAddr) -> Result<(), LinkError> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| LinkError::Listen { address, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        assert_eq!(
            address_of("127.0.0.1").unwrap(),
            IpAddr::from([127, 0, 0, 1])
        );
        assert!(address_of("lo").is_ok_and(|address| address.is_loopback()));
        let error = address_of("no-such-interface").unwrap_err().to_string();
        assert!(
            error.contains("no-such-interface") && error.contains("lo"),
            "{error}"
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let error = check_free(address).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
    }
}
