//! Selects the interface where no setting names one: see [the ranking](super).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::system::{Bridge, Interface};

/// How well an interface reaches other devices; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A local network with multicast.
    Local,
    /// The same, with a link-local address only.
    LinkLocal,
    /// Ethernet without multicast.
    NoMulticast,
    /// A tunnel, or another link between two ends.
    PointToPoint,
    /// A bridge of this machine's containers or virtual machines.
    VirtualBridge,
    /// Nothing but this machine.
    Loopback,
}

/// The address that is used, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedAddress {
    /// The address.
    pub address: IpAddr,
    /// Its interface; `None` where the settings give an address.
    pub interface: Option<String>,
    /// The reason for it.
    pub reason: SelectionReason,
}

/// The reason for which an address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectionReason {
    /// The settings give it, or its interface.
    Configured,
    /// It ranks highest.
    Ranked {
        /// Its rank.
        rank: Rank,
        /// Whether the default route uses it.
        default_route: bool,
        /// The other interfaces that can be used, from the best to the worst.
        others: Vec<(String, Rank)>,
    },
}

/// The best interface; loopback where there is no other.
pub fn select(interfaces: &[Interface]) -> SelectedAddress {
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
    SelectedAddress {
        address: address.into(),
        interface: Some(best.name.clone()),
        reason: SelectionReason::Ranked {
            rank,
            default_route: best.default_route.is_some(),
            others: others
                .map(|(rank, _, other)| (other.name.clone(), rank))
                .collect(),
        },
    }
}

/// For a network namespace in which even loopback is down.
fn loopback() -> SelectedAddress {
    SelectedAddress {
        address: Ipv4Addr::LOCALHOST.into(),
        interface: None,
        reason: SelectionReason::Ranked {
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

impl SelectedAddress {
    /// An address from the settings, given itself or by its interface.
    pub fn configured(address: IpAddr, interface: Option<&str>) -> Self {
        Self {
            address,
            interface: interface.map(str::to_owned),
            reason: SelectionReason::Configured,
        }
    }

    /// Whether this is loopback because there is no network.
    pub fn is_loopback_fallback(&self) -> bool {
        matches!(
            self.reason,
            SelectionReason::Ranked {
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

/// In one line: which, why, and how to select another.
impl fmt::Display for SelectedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uses {}", self.address)?;
        if let Some(interface) = &self.interface {
            write!(f, " of {interface}")?;
        }
        let (rank, default_route, others) = match &self.reason {
            SelectionReason::Configured => return f.write_str(", as configured"),
            SelectionReason::Ranked {
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
        f.write_str("; --multicast-interface NAME selects another")
    }
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;
