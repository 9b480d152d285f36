//! The addresses of a device: what settings say, and what follows from that on the interfaces that are there now.

use std::net::{IpAddr, SocketAddr};

use super::interface::rank::address_of;
use super::interface::{Interface, SelectedAddress, check_free, is_usable, select};
use super::{ClusterName, LinkError, LinkSettings};

/// Settings of the network. They stay as they are while the addresses of the machine change.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Devices to connect to where multicast does not reach them, as `HOST:PORT`.
    pub connect: Vec<String>,
    /// Which addresses to use.
    pub addresses: AddressSettings,
}

/// Which addresses a device listens on, and how it looks for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSettings {
    /// Addresses to listen on, port 0 for any free one; the interface's own if there are none.
    pub listen: Vec<SocketAddr>,
    /// Interface to look for others on.
    pub interface: InterfaceSetting,
    /// Whether to look for others by multicast.
    pub multicast: bool,
    /// Whether to use loopback where there is no network: right for a cluster on one machine, wrong for a service that starts before
    /// its network does.
    pub loopback: bool,
}

/// A network interface in settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceSetting {
    /// The one that [ranks](super::interface) highest.
    Auto,
    /// By name, whichever address it has.
    Name(String),
    /// By address.
    Address(IpAddr),
}

/// The addresses that a device uses now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddresses {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Address of the interface to look for others on, and why that one.
    pub selected: SelectedAddress,
}

impl NetworkSettings {
    /// What a session at these addresses is opened with.
    pub fn link_settings(&self, addresses: &LocalAddresses) -> LinkSettings {
        LinkSettings {
            cluster: self.cluster.clone(),
            listen: addresses.listen.clone(),
            connect: self.connect.clone(),
            multicast: (self.addresses.multicast).then_some(addresses.selected.address),
        }
    }
}

impl LocalAddresses {
    /// Whether the addresses are the same; the reason for which they were selected does not matter.
    pub fn are_same(&self, other: &Self) -> bool {
        self.listen == other.listen && self.selected.address == other.selected.address
    }

    /// Whether every one of them can be used.
    pub fn are_usable(&self, interfaces: &[Interface]) -> bool {
        let listen = self.listen.iter().map(SocketAddr::ip);
        (listen.chain([self.selected.address])).all(|address| is_usable(address, interfaces))
    }

    /// Addresses from settings, whether or not anything can be sent from them yet.
    pub fn configured(listen: Vec<SocketAddr>, address: IpAddr) -> Self {
        Self {
            listen,
            selected: SelectedAddress::configured(address, None),
        }
    }
}

impl InterfaceSetting {
    /// A name, an address or `auto`.
    pub fn parse(setting: Option<&str>) -> Self {
        match setting {
            None | Some("auto") => Self::Auto,
            Some(given) => match given.parse() {
                Ok(address) => Self::Address(address),
                Err(_) => Self::Name(given.to_owned()),
            },
        }
    }
}

impl AddressSettings {
    /// Whether the settings leave the address to the ranking of interfaces.
    pub fn is_automatic(&self) -> bool {
        self.listen.is_empty() && self.interface == InterfaceSetting::Auto
    }

    /// Tries to bind every address to listen on.
    ///
    /// # Errors
    /// [`LinkError::Listen`]: a port is taken, or an address is not of this machine.
    pub fn check(&self) -> Result<(), LinkError> {
        self.listen.iter().copied().try_for_each(check_free)
    }

    /// The addresses to use, given the interfaces of this machine. Of several addresses to listen on, those that cannot be used now
    /// are left out.
    ///
    /// # Errors
    /// [`LinkError::Interface`] or [`LinkError::AddressMissing`]: the settings name something that is not there;
    /// [`LinkError::NoNetwork`].
    pub fn resolve(&self, interfaces: &[Interface]) -> Result<LocalAddresses, LinkError> {
        let usable = |address: &SocketAddr| is_usable(address.ip(), interfaces);
        let listen: Vec<SocketAddr> = self.listen.iter().copied().filter(usable).collect();
        if let (Some(missing), true) = (self.listen.first(), listen.is_empty()) {
            return Err(LinkError::AddressMissing(missing.ip()));
        }
        let selected = self.select(interfaces, &listen)?;
        let listen = match listen.is_empty() {
            true => vec![SocketAddr::new(selected.address, 0)],
            false => listen,
        };
        Ok(LocalAddresses { listen, selected })
    }

    fn select(
        &self,
        interfaces: &[Interface],
        listen: &[SocketAddr],
    ) -> Result<SelectedAddress, LinkError> {
        match &self.interface {
            InterfaceSetting::Address(address) if is_usable(*address, interfaces) => {
                Ok(SelectedAddress::configured(*address, None))
            }
            InterfaceSetting::Address(address) => Err(LinkError::AddressMissing(*address)),
            InterfaceSetting::Name(name) => {
                let mut of = interfaces.iter().filter(|each| each.name == *name);
                let address = of.find_map(address_of);
                let address = address.ok_or_else(|| LinkError::Interface {
                    found: name.clone(),
                    available: usable_names(interfaces),
                })?;
                Ok(SelectedAddress::configured(address.into(), Some(name)))
            }
            InterfaceSetting::Auto => {
                // Others are to be found on the network that this device listens on.
                let given = listen.iter().map(SocketAddr::ip).find(IpAddr::is_ipv4);
                let selected = match given {
                    Some(ip) => SelectedAddress::configured(ip, None),
                    None => select(interfaces),
                };
                match selected.is_loopback_fallback() && !self.loopback {
                    true => Err(LinkError::NoNetwork),
                    false => Ok(selected),
                }
            }
        }
    }
}

/// Names of the interfaces that could be used.
fn usable_names(interfaces: &[Interface]) -> Vec<String> {
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

    fn settings(listen: &[&str], interface: Option<&str>) -> AddressSettings {
        AddressSettings {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            interface: InterfaceSetting::parse(interface),
            multicast: true,
            loopback: true,
        }
    }

    fn shown(addresses: Result<LocalAddresses, LinkError>) -> (Vec<String>, String) {
        let addresses = addresses.unwrap();
        let listen = addresses.listen.iter().map(SocketAddr::to_string).collect();
        (listen, addresses.selected.address.to_string())
    }

    #[test]
    fn an_interface_is_followed_by_its_name() {
        let settings = settings(&[], Some("wlan0"));
        for address in [[192, 168, 1, 5], [10, 0, 0, 9]] {
            let there = [
                interface("eth0", [10, 1, 1, 1]),
                interface("wlan0", address),
            ];
            let address = IpAddr::from(address).to_string();
            let expected = (vec![format!("{address}:0")], address);
            assert_eq!(shown(settings.resolve(&there)), expected);
        }
        let gone = [interface("eth0", [10, 1, 1, 1])];
        let error = settings.resolve(&gone).unwrap_err().to_string();
        assert!(error.contains("wlan0") && error.contains("eth0"), "{error}");
        let mut down = interface("wlan0", [10, 0, 0, 9]);
        down.carrier = false;
        assert!(settings.resolve(&[down]).is_err());
    }

    #[test]
    fn a_configured_address_that_is_not_there_is_an_error() {
        // Documentation addresses (RFC 5737), which no machine has.
        let there = [interface("eth0", [192, 0, 2, 7])];
        for settings in [
            settings(&["192.0.2.7:7447"], None),
            settings(&["192.0.2.7:7447", "203.0.113.5:7447"], None),
        ] {
            let expected = (vec!["192.0.2.7:7447".to_owned()], "192.0.2.7".to_owned());
            assert_eq!(shown(settings.resolve(&there)), expected);
        }
        for settings in [
            settings(&["203.0.113.5:7447"], None),
            settings(&[], Some("203.0.113.5")),
        ] {
            let error = settings.resolve(&there).unwrap_err();
            assert!(matches!(error, LinkError::AddressMissing(_)), "{error}");
        }
    }

    #[test]
    fn loopback_is_used_only_where_it_is_allowed() {
        let mut lo = interface("lo", [127, 0, 0, 1]);
        lo.loopback = true;
        let mut settings = settings(&[], None);
        assert!(settings.is_automatic());
        let expected = (vec!["127.0.0.1:0".to_owned()], "127.0.0.1".to_owned());
        assert_eq!(shown(settings.resolve(&[lo.clone()])), expected);
        settings.loopback = false;
        let error = settings.resolve(&[lo]).unwrap_err();
        assert!(matches!(error, LinkError::NoNetwork), "{error}");
        assert!(
            settings
                .resolve(&[interface("eth0", [10, 0, 0, 9])])
                .is_ok()
        );
    }
}
