//! Whether sending codes overlaps with computing, decided by the time that requests spend waiting.

use std::time::Duration;

use astra_model::partition::RowChunks;

/// Overlapped requests after which requests without overlap measure the link again.
const RETRY_AFTER: u32 = 64;
/// Consecutive slow requests that switch overlap on: a single one may have been delayed by chance.
const SLOW_IN_A_ROW: u32 = 2;

/// Decides whether the rows are computed in chunks, whose codes are sent while the next chunk is computed. On a fast link this costs more
/// than it saves.
#[derive(Debug, Default)]
pub(super) struct OverlapPolicy {
    overlaps: bool,
    /// Consecutive requests that call for the other mode.
    count: u32,
}

impl OverlapPolicy {
    /// Whether the next request is computed in chunks.
    pub(super) fn overlaps(&self) -> bool {
        self.overlaps
    }

    /// Records the time that a request spent waiting, and its total time.
    pub(super) fn record(&mut self, waited: Duration, total: Duration) {
        let (counts, limit) = match self.overlaps {
            true => (true, RETRY_AFTER),
            false => {
                let slow = RowChunks::are_worthwhile(waited.as_secs_f64(), total.as_secs_f64());
                (slow, SLOW_IN_A_ROW)
            }
        };
        self.count = if counts { self.count + 1 } else { 0 };
        if self.count >= limit {
            *self = Self {
                overlaps: !self.overlaps,
                count: 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(policy: &mut OverlapPolicy, percent: u64) {
        policy.record(Duration::from_millis(percent), Duration::from_millis(100));
    }

    #[test]
    fn a_slow_link_switches_overlap_on_and_is_measured_again() {
        let mut policy = OverlapPolicy::default();
        for percent in [30, 5, 30, 5] {
            request(&mut policy, percent);
            assert!(!policy.overlaps, "a single slow request");
        }
        request(&mut policy, 30);
        request(&mut policy, 30);
        assert!(policy.overlaps);
        for _ in 1..RETRY_AFTER {
            request(&mut policy, 5);
            assert!(policy.overlaps);
        }
        request(&mut policy, 5);
        assert!(!policy.overlaps);
    }
}
