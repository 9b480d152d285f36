//! Places of each address from which clients connect, so that one of them cannot take all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The address of a client; an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Counts the places that each address has. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct PerAddress {
    most: usize,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A place of an address, free again once dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    all: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    /// With this number of places for each address.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// Takes a place, if the address has one left. Programs of this machine have no limit of their own: they share one address.
    pub(super) fn take(&self, address: IpAddr) -> Option<AddressPlace> {
        let address = network(address.to_canonical());
        let mut taken = self.lock();
        let places = taken.entry(address).or_default();
        if *places >= self.most && !address.is_loopback() {
            return None;
        }
        *places += 1;
        drop(taken);
        Some(AddressPlace {
            all: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut taken = self.all.lock();
        if let Some(places) = taken.get_mut(&self.address) {
            *places = places.saturating_sub(1);
            if *places == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The network of an IPv6 address, of which one machine has all addresses; an IPv4 address as it is.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_cannot_take_the_places_of_others() {
        let places = PerAddress::new(2);
        let held = [places.take(at("10.0.0.1")), places.take(at("10.0.0.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(at("10.0.0.1")).is_none());
        assert!(places.take(at("::ffff:10.0.0.1")).is_none(), "the same one");
        assert!(places.take(at("10.0.0.2")).is_some());
        drop(held);
        assert!(places.take(at("10.0.0.1")).is_some());
        assert!(
            places.lock().is_empty(),
            "nothing is kept of those that left"
        );
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one_and_this_machine_as_none() {
        let places = PerAddress::new(1);
        let _held = places.take(at("2001:db8::1")).unwrap();
        assert!(places.take(at("2001:db8::2")).is_none());
        assert!(places.take(at("2001:db8:0:1::2")).is_some());
        let own = ["127.0.0.1", "127.0.0.1", "::1", "::1"].map(|address| places.take(at(address)));
        assert!(own.iter().all(Option::is_some));
    }
}
