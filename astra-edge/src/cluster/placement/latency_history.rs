//! Latencies of recent requests, which decide how many members are worth it on the present link.
//!
//! As long as the cluster is faster than this device on its own, all devices take part; where it is not, half of them are tried, then a
//! quarter, and so on. An observation counts for a minute, then more members are tried again.

use std::time::{Duration, Instant};

/// How long an observation is taken to hold for the link.
const FRESH: Duration = Duration::from_secs(60);

/// Observed requests at one rung on one number of members.
#[derive(Clone, Copy, Debug)]
struct Known {
    rung: u16,
    members: usize,
    /// The last two latencies, relative to this device on its own. Only the lower counts: a single request may have been delayed.
    took: [f64; 2],
    when: Instant,
}

/// Latencies of recent requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyHistory {
    known: Vec<Known>,
}

impl LatencyHistory {
    /// Adds a request on `members` members that took `part` of the time that this device needs on its own.
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

    /// How many of `all` devices, this one included, should take part in a request: the largest of all, a half, a quarter, ... that was
    /// not observed to be slower than this device on its own.
    pub(crate) fn members(&self, rung: u16, all: usize, now: Instant) -> usize {
        let halves = std::iter::successors(Some(all), |count| Some(count / 2));
        let mut several = halves.take_while(|count| *count > 1);
        several
            .find(|&count| self.part(rung, count, now) < 1.0)
            .unwrap_or(1)
    }

    /// Latency relative to this device on its own; 0 without observations.
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
