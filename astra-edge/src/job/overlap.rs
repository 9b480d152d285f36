//! Whether a member sends its codes piece by piece while it computes others: by what its requests are like.

use std::time::Duration;

use astra_model::partition::Pieces;

/// Requests in several pieces before some in one tell again what the link is like.
const DIVIDED: u32 = 64;
/// Requests in one piece that have to say the same: one alone may have been held up.
const AGREED: u32 = 2;

/// Whether codes leave piece by piece while others are computed, which costs more than it brings where the link is fast.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    divided: bool,
    /// Requests in a row that speak for the other way.
    against: u32,
}

impl Overlap {
    /// Whether the next request goes in several pieces.
    pub(super) fn is_divided(&self) -> bool {
        self.divided
    }

    /// Takes in how much of a request was spent waiting.
    pub(super) fn note(&mut self, waited: Duration, total: Duration) {
        let (speaks, enough) = match self.divided {
            true => (true, DIVIDED),
            false => {
                let slow = Pieces::are_worth_it(waited.as_secs_f64(), total.as_secs_f64());
                (slow, AGREED)
            }
        };
        self.against = if speaks { self.against + 1 } else { 0 };
        if self.against >= enough {
            *self = Self {
                divided: !self.divided,
                against: 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(overlap: &mut Overlap, percent: u64) {
        overlap.note(Duration::from_millis(percent), Duration::from_millis(100));
    }

    #[test]
    fn a_slow_link_divides_and_is_looked_at_again() {
        let mut overlap = Overlap::default();
        for percent in [30, 5, 30, 5] {
            request(&mut overlap, percent);
            assert!(!overlap.divided, "one request alone");
        }
        request(&mut overlap, 30);
        request(&mut overlap, 30);
        assert!(overlap.divided);
        for _ in 1..DIVIDED {
            request(&mut overlap, 5);
            assert!(overlap.divided);
        }
        request(&mut overlap, 5);
        assert!(!overlap.divided);
    }
}
