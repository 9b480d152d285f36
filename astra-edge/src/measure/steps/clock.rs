//! What time is measured by.

use std::time::{Duration, Instant};

use astra_model::engine::thread_time;

/// Times that a step is run; the fastest counts, for what is slower was held up.
pub(super) const RUNS: usize = 3;

/// What a step's time is read from.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    /// Processor time of this thread, which alone computes: preemption by other threads does not count.
    Processor,
    /// The clock on the wall, where several threads compute.
    Wall,
}

impl Clock {
    fn now(self, start: Instant) -> Duration {
        match self {
            Self::Wall => start.elapsed(),
            Self::Processor => thread_time(),
        }
    }

    /// Milliseconds of the fastest of some runs; the first is not counted.
    pub(super) fn fastest<E>(self, mut step: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
        step()?;
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            best = best.min(self.timed(&mut step)?);
        }
        Ok(best)
    }

    pub(super) fn timed<E>(self, step: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
        let start = Instant::now();
        let before = self.now(start);
        step()?;
        Ok((self.now(start) - before).as_secs_f64() * 1e3)
    }
}
