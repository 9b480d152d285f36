//! Decides when a device changes its addresses, and to which. No network here: [`address_watch`](super::address_watch) acts on it.

use std::time::{Duration, Instant};

use crate::link::LocalAddresses;

/// How long an address may be gone before the device gives it up: Wi-Fi that roams to another access point is back sooner.
const GRACE: Duration = Duration::from_secs(2);
/// How long a better address has to be there before the device gives up one that still works.
const STEADY: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Stay as it is.
    Keep,
    /// Decide again after this time at the latest.
    Wait(Duration),
    /// Leave the cluster: no address can be used.
    Leave,
    /// Change to these addresses.
    Change(LocalAddresses),
}

/// Remembers a change that is due if nothing else happens, and since when it is.
#[derive(Debug, Default)]
pub(super) struct AddressPolicy {
    pending: Option<(Option<LocalAddresses>, Instant)>,
}

impl AddressPolicy {
    /// `current` are the addresses in use, and whether they still work; `best` are those that a device that starts now would use.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        current: Option<(&LocalAddresses, bool)>,
        best: Option<LocalAddresses>,
    ) -> Action {
        let action = match (current, best) {
            (None, None) => Action::Keep,
            (None, Some(best)) => Action::Change(best),
            (Some((at, true)), Some(best)) if at.are_same(&best) => Action::Keep,
            (Some((_, true)), None) => Action::Keep,
            (Some((at, true)), Some(best)) if at.selected.is_loopback_fallback() => {
                Action::Change(best)
            }
            (Some((_, true)), Some(best)) => return self.after(STEADY, now, Some(best)),
            (Some((_, false)), Some(best)) if !best.selected.is_loopback_fallback() => {
                Action::Change(best)
            }
            (Some((_, false)), loopback) => return self.after(GRACE, now, loopback),
        };
        self.pending = None;
        action
    }

    /// Changes to addresses, or leaves, once that has been pending for a time.
    fn after(&mut self, time: Duration, now: Instant, to: Option<LocalAddresses>) -> Action {
        let same = |(pending, _): &&(Option<LocalAddresses>, Instant)| match (pending, &to) {
            (Some(pending), Some(to)) => pending.are_same(to),
            (None, None) => true,
            _ => false,
        };
        let since = self.pending.as_ref().filter(same).map(|(_, since)| *since);
        let since = since.unwrap_or(now);
        let left = time.saturating_sub(now.saturating_duration_since(since));
        if !left.is_zero() {
            self.pending = Some((to, since));
            return Action::Wait(left);
        }
        self.pending = None;
        to.map_or(Action::Leave, Action::Change)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::link::interface::{Interface, SelectedAddress, select};

    fn at(address: [u8; 4]) -> LocalAddresses {
        let address = IpAddr::from(address);
        LocalAddresses {
            listen: vec![SocketAddr::new(address, 0)],
            selected: SelectedAddress::configured(address, Some("wlan0")),
        }
    }

    fn loopback() -> LocalAddresses {
        LocalAddresses {
            selected: select(&[]),
            ..at([127, 0, 0, 1])
        }
    }

    const HERE: [u8; 4] = [192, 168, 1, 5];
    const THERE: [u8; 4] = [10, 0, 0, 9];

    #[test]
    fn an_address_that_works_is_kept() {
        let mut policy = AddressPolicy::default();
        let (now, here) = (Instant::now(), at(HERE));
        let action = policy.decide(now, Some((&here, true)), Some(at(HERE)));
        assert_eq!(action, Action::Keep);
        // The reason for an address does not matter.
        let other_reason = LocalAddresses {
            selected: SelectedAddress::configured(HERE.into(), None),
            ..at(HERE)
        };
        let action = policy.decide(now, Some((&here, true)), Some(other_reason));
        assert_eq!(action, Action::Keep);
    }

    #[test]
    fn an_address_that_is_gone_is_replaced_at_once() {
        let mut policy = AddressPolicy::default();
        let action = policy.decide(Instant::now(), Some((&at(HERE), false)), Some(at(THERE)));
        assert_eq!(action, Action::Change(at(THERE)));
        let action = policy.decide(Instant::now(), None, Some(at(THERE)));
        assert_eq!(action, Action::Change(at(THERE)));
    }

    #[test]
    fn an_address_that_is_gone_for_a_moment_is_kept() {
        let mut policy = AddressPolicy::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let gone = Some((&here, false));
        assert_eq!(policy.decide(begun, gone, None), Action::Wait(GRACE));
        let soon = begun + GRACE / 2;
        assert_eq!(policy.decide(soon, gone, None), Action::Wait(GRACE / 2));
        let back = policy.decide(soon, Some((&here, true)), Some(at(HERE)));
        assert_eq!(back, Action::Keep);
        // The time starts again.
        let late = begun + GRACE;
        assert_eq!(policy.decide(late, gone, None), Action::Wait(GRACE));
        assert_eq!(policy.decide(late + GRACE, gone, None), Action::Leave);
        assert_eq!(policy.decide(late + GRACE, None, None), Action::Keep);
    }

    #[test]
    fn loopback_is_used_as_late_as_leaving_is() {
        let mut policy = AddressPolicy::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let gone = Some((&here, false));
        assert_eq!(
            policy.decide(begun, gone, Some(loopback())),
            Action::Wait(GRACE)
        );
        let action = policy.decide(begun + GRACE, gone, Some(loopback()));
        assert_eq!(action, Action::Change(loopback()));
        // A network replaces it at once.
        let action = policy.decide(begun + GRACE, Some((&loopback(), true)), Some(at(HERE)));
        assert_eq!(action, Action::Change(at(HERE)));
    }

    #[test]
    fn a_better_address_has_to_be_steady() {
        let mut policy = AddressPolicy::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let current = Some((&here, true));
        let wait = policy.decide(begun, current, Some(at(THERE)));
        assert_eq!(wait, Action::Wait(STEADY));
        let other = at([10, 0, 0, 10]);
        let wait = policy.decide(begun + STEADY, current, Some(other.clone()));
        assert_eq!(
            wait,
            Action::Wait(STEADY),
            "another address starts the time again"
        );
        let action = policy.decide(begun + STEADY * 2, current, Some(other.clone()));
        assert_eq!(action, Action::Change(other));
    }

    #[test]
    fn addresses_are_usable_with_a_carrier() {
        let mut wlan0 = Interface {
            up: true,
            carrier: true,
            addresses: vec![HERE.into()],
            ..Interface::default()
        };
        assert!(at(HERE).are_usable(&[wlan0.clone()]));
        wlan0.carrier = false;
        assert!(!at(HERE).are_usable(&[wlan0]));
    }
}
