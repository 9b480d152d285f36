//! Until when the ways between members are busy.

use super::Case;

/// Until when each way is busy.
pub(super) struct Ways {
    /// Milliseconds a byte.
    byte: f64,
    hop: f64,
    shared: bool,
    up: Vec<f64>,
    down: Vec<f64>,
}

impl Ways {
    pub(super) fn new(case: &Case, hop: f64) -> Self {
        Self {
            byte: 8.0 / (case.network.mbps * 1e3),
            hop,
            shared: case.network.shared,
            up: vec![0.0; case.devices],
            down: vec![0.0; case.devices],
        }
    }

    /// When the last of so many bytes arrives that may leave from `ready` on.
    pub(super) fn carry(&mut self, from: usize, to: usize, bytes: f64, ready: f64) -> f64 {
        let (began, left) = self.leave(from, bytes, ready);
        self.arrive(to, bytes, began, left)
    }

    /// The same for copies to several members. They leave one after another in an order nobody here knows, so each counts on being
    /// the last. Of the numbers, `from` stands for the last member.
    pub(super) fn spread(
        &mut self,
        from: usize,
        receivers: std::ops::Range<usize>,
        bytes: f64,
        ready: f64,
    ) -> Vec<(usize, f64)> {
        let (began, left) = self.leave(from, bytes * receivers.len() as f64, ready);
        let last = self.down.len().saturating_sub(1);
        let number = |receiver: usize| if receiver == from { last } else { receiver };
        let arrivals = receivers.map(|receiver| {
            let receiver = number(receiver);
            (receiver, self.arrive(receiver, bytes, began, left))
        });
        arrivals.collect()
    }

    /// When the first of them leaves, and the last.
    fn leave(&mut self, from: usize, bytes: f64, ready: f64) -> (f64, f64) {
        let from = if self.shared { 0 } else { from };
        let Some(busy) = self.up.get_mut(from) else {
            return (ready, ready);
        };
        let began = busy.max(ready);
        *busy = began + bytes * self.byte;
        (began, *busy)
    }

    fn arrive(&mut self, to: usize, bytes: f64, began: f64, left: f64) -> f64 {
        if self.shared {
            return left + self.hop;
        }
        let Some(busy) = self.down.get_mut(to) else {
            return left;
        };
        // The receiver's way is as fast as the sender's: it is in the way only where others use it too.
        *busy = busy.max(began) + bytes * self.byte;
        left.max(*busy) + self.hop
    }
}
