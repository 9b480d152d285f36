//! Frames that do not arrive.

use astra_wire::Layout;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Loses each frame of each block independently for each receiver.
pub(super) struct Losses {
    share: f64,
    rng: ChaCha8Rng,
}

impl Losses {
    pub(super) fn new(share: f64, seed: u64) -> Self {
        Self {
            share,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Whether the tokens that travel together arrive at one receiver: all parts of them have to.
    pub(super) fn arrives(&mut self, layout: &Layout) -> bool {
        // Every part draws, so that what is lost of later frames does not depend on it.
        let lost = (0..layout.parts()).filter(|_| self.is_lost()).count();
        lost == 0
    }

    fn is_lost(&mut self) -> bool {
        f64::from(self.rng.next_u32()) < self.share * 2_f64.powi(32)
    }
}
