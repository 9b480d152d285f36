//! The interface that is used where no setting names one: see [the ranking](super).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::facts::{Bridge, Interface};

/// How well an interface reaches other devices; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A local network with multicast.
    Local,
    /// The same, with a link-local address only.
    LinkLocal,
    /// Ethernet without multicast.
    NoMulticast,
    /// A tunnel, or another link with one other end.
    PointToPoint,
    /// A bridge of this machine's containers or virtual machines.
    VirtualBridge,
    /// Nothing but this machine.
    Loopback,
}

/// The address that is used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The address.
    pub address: IpAddr,
    /// Its interface; `None` for an address that was named itself.
    pub interface: Option<String>,
    /// Why this one.
    pub why: Why,
}

/// Why an address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Settings name it, or its interface.
    Named,
    /// It ranks highest.
    Ranked {
        /// Its rank.
        rank: Rank,
        /// Whether the default route goes by it.
        default_route: bool,
        /// The other interfaces that can be used, from the best to the worst.
        others: Vec<(String, Rank)>,
    },
}

/// The best interface; loopback where there is no other.
pub fn choose(interfaces: &[Interface]) -> Chosen {
    let mut ranked: Vec<_> = interfaces.iter().filter_map(ranked).collect();
    ranked.sort_by_key(|(rank, _, interface)| {
        let metric = interface.default_route;
        (*rank, metric.is_none(), metric, interface.index)
    });
    let mut ranked = ranked.into_iter();
    let Some((rank, address, best)) = ranked.next() else {
        return loopback();
    };
    let others = ranked.filter(|(rank, ..)| *rank < Rank::Loopback);
    Chosen {
        address: address.into(),
        interface: Some(best.name.clone()),
        why: Why::Ranked {
            rank,
            default_route: best.default_route.is_some(),
            others: others
                .map(|(rank, _, other)| (other.name.clone(), rank))
                .collect(),
        },
    }
}

/// Where a namespace has not even switched its loopback interface on.
fn loopback() -> Chosen {
    Chosen {
        address: Ipv4Addr::LOCALHOST.into(),
        interface: None,
        why: Why::Ranked {
            rank: Rank::Loopback,
            default_route: false,
            others: Vec::new(),
        },
    }
}

/// Rank and address of an interface that can be used.
fn ranked(interface: &Interface) -> Option<(Rank, Ipv4Addr, &Interface)> {
    let address = address_of(interface)?;
    let rank = match interface {
        Interface { loopback: true, .. } => Rank::Loopback,
        Interface {
            bridge: Some(Bridge::Virtual),
            ..
        } => Rank::VirtualBridge,
        Interface {
            point_to_point: true,
            ..
        }
        | Interface { tun: true, .. }
        | Interface {
            ethernet: false, ..
        } => Rank::PointToPoint,
        Interface {
            multicast: false, ..
        } => Rank::NoMulticast,
        _ if address.is_link_local() => Rank::LinkLocal,
        _ => Rank::Local,
    };
    Some((rank, address, interface))
}

/// The IPv4 address of an interface that can be used now; a link-local one if it has no other.
pub fn address_of(interface: &Interface) -> Option<Ipv4Addr> {
    let addresses = || {
        let ready = interface.addresses.iter().filter(|_| interface.is_ready());
        ready.filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    };
    addresses()
        .find(|address| !address.is_link_local())
        .or_else(|| addresses().next())
}

impl Chosen {
    /// An address that settings name, itself or by its interface.
    pub fn named(address: IpAddr, interface: Option<&str>) -> Self {
        Self {
            address,
            interface: interface.map(str::to_owned),
            why: Why::Named,
        }
    }

    /// Whether it reaches nothing but this machine, for want of a network.
    pub fn is_last_resort(&self) -> bool {
        matches!(
            self.why,
            Why::Ranked {
                rank: Rank::Loopback,
                ..
            }
        )
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "a local network",
            Self::LinkLocal => "a local network without DHCP",
            Self::NoMulticast => "no multicast",
            Self::PointToPoint => "point-to-point",
            Self::VirtualBridge => "a bridge without a physical member",
            Self::Loopback => "this machine only",
        })
    }
}

/// In one line: which, why, and how to name another.
impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uses {}", self.address)?;
        if let Some(interface) = &self.interface {
            write!(f, " of {interface}")?;
        }
        let (rank, default_route, others) = match &self.why {
            Why::Named => return f.write_str(", as the settings name it"),
            Why::Ranked {
                rank,
                default_route,
                others,
            } => (rank, default_route, others),
        };
        write!(f, ": {rank}")?;
        if *default_route {
            f.write_str(" with the default route")?;
        }
        for (number, (name, rank)) in others.iter().enumerate() {
            let before = if number == 0 { "; not" } else { "," };
            write!(f, "{before} {name} ({rank})")?;
        }
        f.write_str("; --multicast-interface NAME uses another")
    }
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
