//! Where a device is to be reached: what settings say, and what that means on the interfaces there are now.

use std::net::{IpAddr, SocketAddr};

use super::interface::rank::address_of;
use super::interface::{Chosen, Interface, check_free, choose, is_usable};
use super::{ClusterName, LinkError, LinkSettings};

/// What settings say about the network, for as long as the process runs.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Devices to connect to where multicast does not reach them, as `HOST:PORT`.
    pub connect: Vec<String>,
    /// Where to be reached.
    pub reach: Reach,
}

/// Where a device is to be reached, and to look for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Addresses to listen on, port 0 for any free one; the interface's own if there are none.
    pub listen: Vec<SocketAddr>,
    /// Interface to be found on.
    pub interface: Wanted,
    /// Whether others are looked for by multicast.
    pub multicast: bool,
    /// Whether loopback will do where there is no network: for a cluster on one machine, but not for a service that waits for its
    /// network.
    pub loopback: bool,
}

/// An interface as settings name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The [best](super::interface).
    Best,
    /// The one of this name, whichever address it has.
    Name(String),
    /// The one with this address.
    Address(IpAddr),
}

/// Where a device can be reached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Address of the interface to look for others on, and why that one.
    pub chosen: Chosen,
}

impl Joining {
    /// How to join from a place.
    pub fn at(&self, place: &Place) -> LinkSettings {
        LinkSettings {
            cluster: self.cluster.clone(),
            listen: place.listen.clone(),
            connect: self.connect.clone(),
            multicast: (self.reach.multicast).then_some(place.chosen.address),
        }
    }
}

impl Place {
    /// Whether the addresses are the same, for whatever reason they were chosen.
    pub fn is_same(&self, other: &Self) -> bool {
        self.listen == other.listen && self.chosen.address == other.chosen.address
    }

    /// Whether every address can still be used.
    pub fn holds(&self, interfaces: &[Interface]) -> bool {
        let listen = self.listen.iter().map(SocketAddr::ip);
        (listen.chain([self.chosen.address])).all(|address| is_usable(address, interfaces))
    }

    /// A place at addresses that settings name, whether or not anything can be sent from them yet.
    pub fn named(listen: Vec<SocketAddr>, address: IpAddr) -> Self {
        Self {
            listen,
            chosen: Chosen::named(address, None),
        }
    }
}

impl Wanted {
    /// A name, an address or `auto`.
    pub fn of(setting: Option<&str>) -> Self {
        match setting {
            None | Some("auto") => Self::Best,
            Some(given) => match given.parse() {
                Ok(address) => Self::Address(address),
                Err(_) => Self::Name(given.to_owned()),
            },
        }
    }
}

impl Reach {
    /// Whether the system is to choose the address to be reached at.
    pub fn is_open(&self) -> bool {
        self.listen.is_empty() && self.interface == Wanted::Best
    }

    /// Tries out every address that is to be listened on.
    ///
    /// # Errors
    /// [`LinkError::Listen`]: a port is taken, or an address is not of this machine.
    pub fn check(&self) -> Result<(), LinkError> {
        self.listen.iter().copied().try_for_each(check_free)
    }

    /// What that means on these interfaces. Of several addresses to listen on those count that can be used.
    ///
    /// # Errors
    /// Nothing that settings name is there, or there is no network: [`LinkError::Interface`], [`LinkError::Away`],
    /// [`LinkError::NoNetwork`].
    pub fn place(&self, interfaces: &[Interface]) -> Result<Place, LinkError> {
        let usable = |address: &SocketAddr| is_usable(address.ip(), interfaces);
        let listen: Vec<SocketAddr> = self.listen.iter().copied().filter(usable).collect();
        if let (Some(missing), true) = (self.listen.first(), listen.is_empty()) {
            return Err(LinkError::Away(missing.ip()));
        }
        let chosen = self.chosen(interfaces, &listen)?;
        let listen = match listen.is_empty() {
            true => vec![SocketAddr::new(chosen.address, 0)],
            false => listen,
        };
        Ok(Place { listen, chosen })
    }

    fn chosen(&self, interfaces: &[Interface], listen: &[SocketAddr]) -> Result<Chosen, LinkError> {
        match &self.interface {
            Wanted::Address(address) if is_usable(*address, interfaces) => {
                Ok(Chosen::named(*address, None))
            }
            Wanted::Address(address) => Err(LinkError::Away(*address)),
            Wanted::Name(name) => {
                let mut of = interfaces.iter().filter(|each| each.name == *name);
                let address = of.find_map(address_of);
                let address = address.ok_or_else(|| LinkError::Interface {
                    found: name.clone(),
                    available: named(interfaces),
                })?;
                Ok(Chosen::named(address.into(), Some(name)))
            }
            Wanted::Best => {
                // Others are to be found on the network that this device is reached on.
                let given = listen.iter().map(SocketAddr::ip).find(IpAddr::is_ipv4);
                let chosen = given.map_or_else(|| choose(interfaces), |ip| Chosen::named(ip, None));
                match chosen.is_last_resort() && !self.loopback {
                    true => Err(LinkError::NoNetwork),
                    false => Ok(chosen),
                }
            }
        }
    }
}

/// Interfaces that could have been named.
fn named(interfaces: &[Interface]) -> Vec<String> {
    let usable = interfaces.iter().filter(|each| address_of(each).is_some());
    usable.map(|each| each.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: [u8; 4]) -> Interface {
        Interface {
            name: name.to_owned(),
            up: true,
            carrier: true,
            ethernet: true,
            multicast: true,
            addresses: vec![address.into()],
            ..Interface::default()
        }
    }

    fn reach(listen: &[&str], interface: Option<&str>) -> Reach {
        Reach {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            interface: Wanted::of(interface),
            multicast: true,
            loopback: true,
        }
    }

    fn addresses(place: Result<Place, LinkError>) -> (Vec<String>, String) {
        let place = place.unwrap();
        let listen = place.listen.iter().map(SocketAddr::to_string).collect();
        (listen, place.chosen.address.to_string())
    }

    #[test]
    fn an_interface_is_followed_by_its_name() {
        let reach = reach(&[], Some("wlan0"));
        for address in [[192, 168, 1, 5], [10, 0, 0, 9]] {
            let there = [
                interface("eth0", [10, 1, 1, 1]),
                interface("wlan0", address),
            ];
            let address = IpAddr::from(address).to_string();
            let expected = (vec![format!("{address}:0")], address);
            assert_eq!(addresses(reach.place(&there)), expected);
        }
        let gone = [interface("eth0", [10, 1, 1, 1])];
        let error = reach.place(&gone).unwrap_err().to_string();
        assert!(error.contains("wlan0") && error.contains("eth0"), "{error}");
        let mut down = interface("wlan0", [10, 0, 0, 9]);
        down.carrier = false;
        assert!(reach.place(&[down]).is_err());
    }

    #[test]
    fn an_address_that_is_named_is_waited_for() {
        // Documentation addresses (RFC 5737), which no machine has.
        let there = [interface("eth0", [192, 0, 2, 7])];
        for reach in [
            reach(&["192.0.2.7:7447"], None),
            reach(&["192.0.2.7:7447", "203.0.113.5:7447"], None),
        ] {
            let expected = (vec!["192.0.2.7:7447".to_owned()], "192.0.2.7".to_owned());
            assert_eq!(addresses(reach.place(&there)), expected);
        }
        for reach in [
            reach(&["203.0.113.5:7447"], None),
            reach(&[], Some("203.0.113.5")),
        ] {
            let error = reach.place(&there).unwrap_err();
            assert!(matches!(error, LinkError::Away(_)), "{error}");
        }
    }

    #[test]
    fn loopback_is_for_who_takes_it() {
        let mut lo = interface("lo", [127, 0, 0, 1]);
        lo.loopback = true;
        let mut reach = reach(&[], None);
        assert!(reach.is_open());
        let expected = (vec!["127.0.0.1:0".to_owned()], "127.0.0.1".to_owned());
        assert_eq!(addresses(reach.place(&[lo.clone()])), expected);
        reach.loopback = false;
        let error = reach.place(&[lo]).unwrap_err();
        assert!(matches!(error, LinkError::NoNetwork), "{error}");
        assert!(reach.place(&[interface("eth0", [10, 0, 0, 9])]).is_ok());
    }
}
