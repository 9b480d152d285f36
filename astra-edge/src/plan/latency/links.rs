//! Simulated links between members.

use super::Case;

/// Times in milliseconds until which each link is busy.
pub(super) struct Links {
    /// Milliseconds per byte.
    byte: f64,
    hop: f64,
    shared: bool,
    uplinks: Vec<f64>,
    downlinks: Vec<f64>,
}

impl Links {
    pub(super) fn new(case: &Case, hop: f64) -> Self {
        Self {
            byte: 8.0 / (case.network.mbps * 1e3),
            hop,
            shared: case.network.shared,
            uplinks: vec![0.0; case.devices],
            downlinks: vec![0.0; case.devices],
        }
    }

    /// Sends a message that is ready at `ready`. Returns its arrival.
    pub(super) fn send(&mut self, from: usize, to: usize, bytes: f64, ready: f64) -> f64 {
        let (start, end) = self.occupy_uplink(from, bytes, ready);
        self.arrive(to, bytes, start, end)
    }

    /// Sends a copy to each of several members, and returns their arrivals. The order of the copies is unknown, so each is assumed to be
    /// the last. The number `from` stands for the last member.
    pub(super) fn multicast(
        &mut self,
        from: usize,
        receivers: std::ops::Range<usize>,
        bytes: f64,
        ready: f64,
    ) -> Vec<(usize, f64)> {
        let (start, end) = self.occupy_uplink(from, bytes * receivers.len() as f64, ready);
        let last = self.downlinks.len().saturating_sub(1);
        let number = |receiver: usize| if receiver == from { last } else { receiver };
        let arrivals = receivers.map(|receiver| {
            let receiver = number(receiver);
            (receiver, self.arrive(receiver, bytes, start, end))
        });
        arrivals.collect()
    }

    /// When the first byte leaves, and the last.
    fn occupy_uplink(&mut self, from: usize, bytes: f64, ready: f64) -> (f64, f64) {
        let from = if self.shared { 0 } else { from };
        let Some(busy) = self.uplinks.get_mut(from) else {
            return (ready, ready);
        };
        let start = busy.max(ready);
        *busy = start + bytes * self.byte;
        (start, *busy)
    }

    fn arrive(&mut self, to: usize, bytes: f64, start: f64, end: f64) -> f64 {
        if self.shared {
            return end + self.hop;
        }
        let Some(busy) = self.downlinks.get_mut(to) else {
            return end;
        };
        // The downlink is as fast as the uplink: it delays messages only if other senders use it too.
        *busy = busy.max(start) + bytes * self.byte;
        end.max(*busy) + self.hop
    }
}
