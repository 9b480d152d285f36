//! How many members are worth it on the link there is: what requests took, beside what this device takes alone.
//!
//! Nothing is measured for it: the requests themselves tell. As long as the cluster is faster than this device alone, all devices take
//! part; where it is not, half of them are tried, and so on, and what was fastest is kept to until what is known has aged.

use std::time::{Duration, Instant};

/// How long a link is taken to stay as it was.
const FRESH: Duration = Duration::from_secs(60);

/// What requests at a rung took on so many members.
#[derive(Clone, Copy, Debug)]
struct Known {
    rung: u16,
    members: usize,
    /// The last two, as parts of what this device takes alone. Only the lower counts: one request alone may have been held up.
    took: [f64; 2],
    when: Instant,
}

/// What requests took.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyHistory {
    known: Vec<Known>,
}

impl LatencyHistory {
    /// Notes a request on `members` members that took `part` of what this device takes alone.
    pub(crate) fn note(&mut self, rung: u16, members: usize, part: f64, now: Instant) {
        self.known.retain(|known| known.is_fresh(now));
        let same = |known: &&mut Known| known.rung == rung && known.members == members;
        match self.known.iter_mut().find(same) {
            Some(known) => {
                let [_, last] = known.took;
                known.took = [last, part];
                known.when = now;
            }
            None => self.known.push(Known {
                rung,
                members,
                took: [0.0, part],
                when: now,
            }),
        }
    }

    /// How many of `all` devices, this one included, should take part in a request: as many as are known, or not known not, to be
    /// faster run_distributed than this device alone.
    pub(crate) fn members(&self, rung: u16, all: usize, now: Instant) -> usize {
        let halves = std::iter::successors(Some(all), |count| Some(count / 2));
        let mut several = halves.take_while(|count| *count > 1);
        several
            .find(|&count| self.part(rung, count, now) < 1.0)
            .unwrap_or(1)
    }

    /// The part of what this device takes alone; 0 where nothing is known.
    fn part(&self, rung: u16, members: usize, now: Instant) -> f64 {
        let same = |known: &&Known| known.rung == rung && known.members == members;
        let mut fresh = self.known.iter().filter(|known| known.is_fresh(now));
        fresh.find(same).map_or(0.0, |known| {
            let [before, last] = known.took;
            before.min(last)
        })
    }
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.when) < FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(parts: &[(usize, f64)]) -> (LatencyHistory, Instant) {
        let now = Instant::now();
        let mut experience = LatencyHistory::default();
        for &(members, part) in parts {
            experience.note(160, members, part, now);
        }
        (experience, now)
    }

    #[test]
    fn all_take_part_while_that_is_faster() {
        let (experience, now) = noted(&[]);
        assert_eq!(experience.members(160, 4, now), 4);
        let (experience, now) = noted(&[(4, 0.4), (4, 0.4)]);
        assert_eq!(experience.members(160, 4, now), 4);
        assert_eq!(experience.members(160, 1, now), 1);
    }

    #[test]
    fn one_slow_request_says_nothing_two_do() {
        let (experience, now) = noted(&[(4, 0.4), (4, 3.0)]);
        assert_eq!(experience.members(160, 4, now), 4);
        let (experience, now) = noted(&[(4, 3.0), (4, 1.5)]);
        assert_eq!(experience.members(160, 4, now), 2);
        assert_eq!(experience.members(320, 4, now), 4, "another rung");
        let (experience, now) = noted(&[(4, 3.0), (4, 1.5), (2, 0.9), (2, 0.9)]);
        assert_eq!(experience.members(160, 4, now), 2);
    }

    #[test]
    fn where_nothing_is_faster_one_device_is_alone_until_the_link_may_be_another() {
        let (experience, now) = noted(&[(4, 3.0), (4, 3.0), (2, 1.2), (2, 1.1)]);
        assert_eq!(experience.members(160, 4, now), 1);
        assert_eq!(experience.members(160, 5, now), 5, "never tried");
        assert_eq!(experience.members(160, 4, now + FRESH), 4);
    }
}
