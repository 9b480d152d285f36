//! The other devices of the cluster as this one sees them. No network here: [`discovery`](super::discovery) keeps it current.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use astra_wire::{DeviceId, Hello, Versions, negotiate};

use crate::cluster::membership::hello::{Rejection, Requirements, judge};

/// The other devices, by id.
#[derive(Debug)]
pub struct Roster {
    ours: Requirements,
    entries: BTreeMap<DeviceId, Entry>,
    /// Counts changes to the set of usable devices.
    revision: u64,
}

/// One other device.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its hello, once it arrived.
    pub hello: Option<Hello>,
    /// Whether it can be used.
    pub standing: Standing,
    /// Whether a hello was requested and has not come yet.
    asking: bool,
    /// Hellos in a row that did not come or did not do, and when the next is requested.
    failures: u32,
    ask_again: Instant,
}

/// Most other devices that are listed.
pub const MAX_DEVICES: usize = 64;
/// Time until a hello is requested again; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest time until a hello is requested again.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// Whether a device can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be a member.
    Usable {
        /// Revision of the roster at which it became usable, by which a device that left and returned can be recognized.
        since: u64,
    },
    /// It cannot, and why.
    Unusable(Rejection),
}

/// A device that can be a member.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Requests a second that it computes on its own; 0 while not measured.
    pub speed: f64,
    /// Revision of the roster at which it became usable; 0 for this device.
    pub since: u64,
}

impl Roster {
    /// An empty roster.
    pub fn new(ours: Requirements) -> Self {
        Self {
            ours,
            entries: BTreeMap::new(),
            revision: 0,
        }
    }

    /// A device appeared. Returns whether it is new, so that its hello must be requested, which it counts as from now on. Where there is
    /// no room, one that never said who it is makes room.
    pub fn appeared(&mut self, device: DeviceId) -> bool {
        if self.entries.contains_key(&device) {
            return false;
        }
        if self.entries.len() >= MAX_DEVICES {
            let mut entries = self.entries.iter();
            let silent = entries.find(|(_, entry)| entry.hello.is_none());
            let Some(silent) = silent.map(|(device, _)| *device) else {
                return false;
            };
            self.entries.remove(&silent);
        }
        let entry = Entry {
            hello: None,
            standing: Standing::Unusable(Rejection::NoHello),
            asking: true,
            failures: 0,
            ask_again: Instant::now(),
        };
        self.entries.insert(device, entry);
        true
    }

    /// A device's hello arrived, or failed to. Returns its standing where that is another now; `None` if it is not, or the device left
    /// meanwhile.
    pub fn introduced(
        &mut self,
        device: DeviceId,
        hello: Result<Hello, Rejection>,
    ) -> Option<&Standing> {
        let entry = self.entries.get_mut(&device)?;
        entry.asking = false;
        let verdict = match hello {
            Ok(hello) => {
                let verdict = judge(&hello, &self.ours);
                entry.hello = Some(hello);
                verdict
            }
            Err(why) => Err(why),
        };
        let was_usable = matches!(entry.standing, Standing::Usable { .. });
        let changed = match verdict {
            Ok(()) => {
                entry.failures = 0;
                if !was_usable {
                    self.revision += 1;
                    let since = self.revision;
                    entry.standing = Standing::Usable { since };
                }
                !was_usable
            }
            Err(why) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << entry.failures.min(16));
                entry.ask_again = Instant::now() + pause.min(LONGEST_PAUSE);
                entry.failures = entry.failures.saturating_add(1);
                if was_usable {
                    self.revision += 1;
                }
                let of_kind = discriminant(&why);
                let before = std::mem::replace(&mut entry.standing, Standing::Unusable(why));
                !matches!(before, Standing::Unusable(before) if discriminant(&before) == of_kind)
            }
        };
        changed.then_some(&entry.standing)
    }

    /// Begins to ask a device whether it is there; false if it is asked already, or not listed.
    pub(crate) fn begin_asking(&mut self, device: DeviceId) -> bool {
        let entry = self.entries.get_mut(&device);
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.asking, true))
    }

    /// The device has replied, or has not.
    pub(crate) fn end_asking(&mut self, device: DeviceId) {
        if let Some(entry) = self.entries.get_mut(&device) {
            entry.asking = false;
        }
    }

    /// Marks a device as unusable until its next hello.
    pub fn set_aside(&mut self, device: DeviceId, why: Rejection) {
        self.introduced(device, Err(why));
    }

    /// A device left.
    pub fn left(&mut self, device: DeviceId) -> Option<Entry> {
        let entry = self.entries.remove(&device)?;
        if matches!(entry.standing, Standing::Usable { .. }) {
            self.revision += 1;
        }
        Some(entry)
    }

    /// Removes all devices and returns their ids.
    pub fn clear(&mut self) -> Vec<DeviceId> {
        self.revision += 1;
        std::mem::take(&mut self.entries).into_keys().collect()
    }

    /// Whether a device is there, usable or not.
    pub fn is_there(&self, device: DeviceId) -> bool {
        self.entries.contains_key(&device)
    }

    /// Devices whose hello is worth requesting again at this time, which counts as done: it did not arrive, or the device failed in a way
    /// that may pass.
    pub fn take_doubtful(&mut self, now: Instant) -> Vec<DeviceId> {
        let doubtful = |entry: &Entry| {
            let may_pass = matches!(
                entry.standing,
                Standing::Unusable(
                    Rejection::NoHello | Rejection::Unreachable(_) | Rejection::Refused(_)
                )
            );
            may_pass && !entry.asking && entry.ask_again <= now
        };
        let mut devices = Vec::new();
        for (device, entry) in self.entries.iter_mut().filter(|(_, entry)| doubtful(entry)) {
            entry.asking = true;
            devices.push(*device);
        }
        devices
    }

    /// Devices that can be members.
    pub fn usable(&self) -> Vec<Candidate> {
        self.entries
            .iter()
            .filter_map(|(device, entry)| {
                let (Standing::Usable { since }, Some(hello)) = (&entry.standing, &entry.hello)
                else {
                    return None;
                };
                Some(Candidate {
                    device: *device,
                    name: hello.name.as_str().to_owned(),
                    speed: speed_of(hello.speed),
                    since: *since,
                })
            })
            .collect()
    }

    /// Wire versions that a device reads; `None` where its hello has not come.
    pub fn versions_of(&self, device: DeviceId) -> Option<Versions> {
        let hello = self.entries.get(&device)?.hello.as_ref()?;
        Some(hello.versions())
    }

    /// The newest wire version that this device and another read; `None` where there is none, or the other's hello has not come.
    pub fn version_for(&self, device: DeviceId) -> Option<u8> {
        negotiate(self.ours.versions, self.versions_of(device)?).ok()
    }

    /// The wire versions that a message to all devices is written in: this device's newest, and for each other device the newest
    /// that both read.
    pub fn versions_for_all(&self) -> BTreeSet<u8> {
        let others = self.entries.keys();
        let versions = others.filter_map(|device| self.version_for(*device));
        versions.chain([self.ours.versions.max]).collect()
    }

    /// Name of a device, or its id where the name is not known.
    pub fn name_of(&self, device: DeviceId) -> String {
        self.entries
            .get(&device)
            .and_then(|entry| entry.hello.as_ref())
            .map_or_else(
                || device.to_string(),
                |hello| hello.name.as_str().to_owned(),
            )
    }
}

/// Requests a second, from the microseconds of one request; 0, not measured, stays 0.
pub fn speed_of(microseconds: u32) -> f64 {
    match microseconds {
        0 => 0.0,
        measured => 1e6 / f64::from(measured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::membership::hello::tests::{OURS, device, hello};

    /// Those whose hello is requested again once the longest pause is over.
    fn doubtful(roster: &mut Roster) -> Vec<DeviceId> {
        roster.take_doubtful(Instant::now() + LONGEST_PAUSE)
    }

    fn names(roster: &Roster) -> Vec<String> {
        roster.usable().into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn a_device_is_usable_from_its_hello_to_its_leaving() {
        let mut roster = Roster::new(OURS);
        assert!(roster.appeared(device(1)));
        assert!(!roster.appeared(device(1)), "requested only once");
        assert!(names(&roster).is_empty());
        assert!(doubtful(&mut roster).is_empty(), "requested already");
        roster.introduced(device(1), Ok(hello(1, 250_000)));
        assert_eq!(names(&roster), ["device-1"]);
        assert_eq!(roster.usable()[0].speed, 4.0);
        assert!(doubtful(&mut roster).is_empty());
        assert!(roster.left(device(1)).is_some());
        assert!(names(&roster).is_empty());
        assert!(roster.left(device(1)).is_none());
    }

    #[test]
    fn nobody_is_left_when_all_went() {
        let mut roster = Roster::new(OURS);
        for number in [1, 2] {
            roster.appeared(device(number));
        }
        roster.introduced(device(1), Ok(hello(1, 1)));
        assert_eq!(roster.clear(), [device(1), device(2)]);
        assert!(names(&roster).is_empty() && doubtful(&mut roster).is_empty());
    }

    #[test]
    fn a_hello_that_comes_after_the_leaving_changes_nothing() {
        let mut roster = Roster::new(OURS);
        roster.appeared(device(1));
        roster.left(device(1));
        assert!(roster.introduced(device(1), Ok(hello(1, 1))).is_none());
        assert!(names(&roster).is_empty());
    }

    #[test]
    fn devices_of_another_kind_stay_listed_and_unused() {
        let mut roster = Roster::new(OURS);
        roster.appeared(device(1));
        let mut other = hello(1, 1);
        other.key = [0; 8];
        let standing = roster.introduced(device(1), Ok(other));
        assert_eq!(standing, Some(&Standing::Unusable(Rejection::OtherKey)));
        assert!(names(&roster).is_empty());
        assert!(
            doubtful(&mut roster).is_empty(),
            "a further request is of no use"
        );
        assert_eq!(roster.name_of(device(1)), "device-1");
    }

    #[test]
    fn a_device_that_came_back_is_told_apart() {
        let mut roster = Roster::new(OURS);
        roster.appeared(device(1));
        roster.introduced(device(1), Ok(hello(1, 1)));
        let first = roster.usable()[0].since;
        roster.introduced(device(1), Ok(hello(1, 1)));
        assert_eq!(roster.usable()[0].since, first, "nothing changed");
        roster.set_aside(device(1), Rejection::Unreachable("no answer".to_owned()));
        assert!(names(&roster).is_empty());
        assert_eq!(doubtful(&mut roster), [device(1)]);
        roster.introduced(device(1), Ok(hello(1, 1)));
        assert!(roster.usable()[0].since > first);
    }

    #[test]
    fn a_device_that_does_not_reply_is_asked_less_and_less_often() {
        let mut roster = Roster::new(OURS);
        roster.appeared(device(1));
        let silent = || Err(Rejection::Unreachable("no answer".to_owned()));
        assert!(roster.introduced(device(1), silent()).is_some());
        let mut pause = FIRST_PAUSE;
        for _ in 0..9 {
            let now = Instant::now();
            assert!(
                roster.take_doubtful(now + pause / 2).is_empty(),
                "{pause:?}"
            );
            assert_eq!(roster.take_doubtful(now + pause), [device(1)], "{pause:?}");
            assert!(roster.take_doubtful(now + pause * 2).is_empty(), "asked");
            // Nothing has changed, so there is nothing to log.
            assert!(roster.introduced(device(1), silent()).is_none());
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert_eq!(pause, LONGEST_PAUSE);
    }

    #[test]
    fn no_more_devices_are_listed_than_there_is_room_for() {
        let mut roster = Roster::new(OURS);
        let numbered = |number: usize| DeviceId((number as u128).to_be_bytes());
        for number in 0..MAX_DEVICES {
            assert!(roster.appeared(numbered(number)));
        }
        roster.introduced(device(1), Ok(hello(1, 1)));
        // Those that never said who they are make room.
        assert!(roster.appeared(device(1)));
        roster.introduced(device(1), Ok(hello(1, 1)));
        for number in 1000..2000 {
            assert!(roster.appeared(numbered(number)));
        }
        assert_eq!(roster.entries.len(), MAX_DEVICES);
        assert_eq!(names(&roster), ["device-1"]);
        for (number, entry) in (0..).zip(roster.entries.values_mut()) {
            entry.hello = Some(hello(number, 1));
        }
        assert!(!roster.appeared(numbered(3000)), "all said who they are");
    }
}
