//! When a device leaves the address it is at, and where it goes. No network here: [`follow`](super::follow) acts on it.

use std::time::{Duration, Instant};

use crate::link::Place;

/// How long an address may be gone before the device leaves its link: Wi-Fi that moves to another access point comes back sooner.
const GRACE: Duration = Duration::from_secs(2);
/// How long a better address has to be there before the device leaves one that still works.
const STEADY: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Stay,
    /// Nothing yet; look again after this time at the latest.
    Wait(Duration),
    /// There is nowhere to be.
    Leave,
    Move(Place),
}

/// What the device would do if things stay as they are, and since when.
#[derive(Debug, Default)]
pub(super) struct Roaming {
    pending: Option<(Option<Place>, Instant)>,
}

impl Roaming {
    /// `held` is where the device is and whether that still works, `found` where it would be best.
    pub(super) fn step(
        &mut self,
        now: Instant,
        held: Option<(&Place, bool)>,
        found: Option<Place>,
    ) -> Step {
        let step = match (held, found) {
            (None, None) => Step::Stay,
            (None, Some(found)) => Step::Move(found),
            (Some((at, true)), Some(found)) if at.is_same(&found) => Step::Stay,
            (Some((_, true)), None) => Step::Stay,
            (Some((at, true)), Some(found)) if at.chosen.is_last_resort() => Step::Move(found),
            (Some((_, true)), Some(found)) => return self.after(STEADY, now, Some(found)),
            (Some((_, false)), Some(found)) if !found.chosen.is_last_resort() => Step::Move(found),
            (Some((_, false)), last_resort) => return self.after(GRACE, now, last_resort),
        };
        self.pending = None;
        step
    }

    /// Goes to a place once nothing else was to be done for so long.
    fn after(&mut self, time: Duration, now: Instant, to: Option<Place>) -> Step {
        let same = |(place, _): &&(Option<Place>, Instant)| match (place, &to) {
            (Some(place), Some(to)) => place.is_same(to),
            (None, None) => true,
            _ => false,
        };
        let since = self.pending.as_ref().filter(same).map(|(_, since)| *since);
        let since = since.unwrap_or(now);
        let left = time.saturating_sub(now.saturating_duration_since(since));
        if !left.is_zero() {
            self.pending = Some((to, since));
            return Step::Wait(left);
        }
        self.pending = None;
        to.map_or(Step::Leave, Step::Move)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::link::interface::{Chosen, Interface, choose};

    fn at(address: [u8; 4]) -> Place {
        let address = IpAddr::from(address);
        Place {
            listen: vec![SocketAddr::new(address, 0)],
            chosen: Chosen::named(address, Some("wlan0")),
        }
    }

    fn loopback() -> Place {
        Place {
            chosen: choose(&[]),
            ..at([127, 0, 0, 1])
        }
    }

    const HERE: [u8; 4] = [192, 168, 1, 5];
    const THERE: [u8; 4] = [10, 0, 0, 9];

    #[test]
    fn an_address_that_works_is_kept() {
        let mut roaming = Roaming::default();
        let (now, here) = (Instant::now(), at(HERE));
        let step = roaming.step(now, Some((&here, true)), Some(at(HERE)));
        assert_eq!(step, Step::Stay);
        // Why it was chosen is not where it is.
        let other_reason = Place {
            chosen: Chosen::named(HERE.into(), None),
            ..at(HERE)
        };
        let step = roaming.step(now, Some((&here, true)), Some(other_reason));
        assert_eq!(step, Step::Stay);
    }

    #[test]
    fn an_address_that_is_gone_is_left_for_another_at_once() {
        let mut roaming = Roaming::default();
        let step = roaming.step(Instant::now(), Some((&at(HERE), false)), Some(at(THERE)));
        assert_eq!(step, Step::Move(at(THERE)));
        let step = roaming.step(Instant::now(), None, Some(at(THERE)));
        assert_eq!(step, Step::Move(at(THERE)));
    }

    #[test]
    fn an_address_that_is_gone_for_a_moment_is_kept() {
        let mut roaming = Roaming::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let gone = Some((&here, false));
        assert_eq!(roaming.step(begun, gone, None), Step::Wait(GRACE));
        let soon = begun + GRACE / 2;
        assert_eq!(roaming.step(soon, gone, None), Step::Wait(GRACE / 2));
        let back = roaming.step(soon, Some((&here, true)), Some(at(HERE)));
        assert_eq!(back, Step::Stay);
        // It counts anew.
        let late = begun + GRACE;
        assert_eq!(roaming.step(late, gone, None), Step::Wait(GRACE));
        assert_eq!(roaming.step(late + GRACE, gone, None), Step::Leave);
        assert_eq!(roaming.step(late + GRACE, None, None), Step::Stay);
    }

    #[test]
    fn loopback_is_gone_to_as_to_nowhere() {
        let mut roaming = Roaming::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let gone = Some((&here, false));
        assert_eq!(
            roaming.step(begun, gone, Some(loopback())),
            Step::Wait(GRACE)
        );
        let step = roaming.step(begun + GRACE, gone, Some(loopback()));
        assert_eq!(step, Step::Move(loopback()));
        // A network is worth more than that at once.
        let step = roaming.step(begun + GRACE, Some((&loopback(), true)), Some(at(HERE)));
        assert_eq!(step, Step::Move(at(HERE)));
    }

    #[test]
    fn a_better_address_has_to_last() {
        let mut roaming = Roaming::default();
        let (begun, here) = (Instant::now(), at(HERE));
        let held = Some((&here, true));
        let wait = roaming.step(begun, held, Some(at(THERE)));
        assert_eq!(wait, Step::Wait(STEADY));
        let other = at([10, 0, 0, 10]);
        let wait = roaming.step(begun + STEADY, held, Some(other.clone()));
        assert_eq!(wait, Step::Wait(STEADY), "another one begins anew");
        let step = roaming.step(begun + STEADY * 2, held, Some(other.clone()));
        assert_eq!(step, Step::Move(other));
    }

    #[test]
    fn a_place_is_where_it_can_be_used() {
        let mut wlan0 = Interface {
            up: true,
            carrier: true,
            addresses: vec![HERE.into()],
            ..Interface::default()
        };
        assert!(at(HERE).holds(&[wlan0.clone()]));
        wlan0.carrier = false;
        assert!(!at(HERE).holds(&[wlan0]));
    }
}
