//! Frames between members of one process, without a network.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use astra_edge::gather::Gather;
use astra_edge::job::{FrameSink, SinkError};
use astra_edge::plan::TokenRange;

/// Frames straight into the other members' gathers.
pub(crate) struct Wire {
    others: Vec<Arc<Gather>>,
    frames: Receiver<Arc<Gather>>,
    expected: usize,
    lose: usize,
    sent: usize,
}

impl Wire {
    /// Frames to so many members, whose gathers `frames` brings; of every so many frames one is lost, 0 for none.
    pub(crate) fn new(frames: Receiver<Arc<Gather>>, expected: usize, lose: usize) -> Self {
        Self {
            others: Vec::new(),
            frames,
            expected,
            lose,
            sent: 0,
        }
    }
}

impl FrameSink for Wire {
    fn send(&mut self, frame: &[u8]) -> Result<(), SinkError> {
        while self.others.len() < self.expected {
            let gather = self.frames.recv().map_err(|e| SinkError(e.to_string()))?;
            self.others.push(gather);
        }
        self.sent += 1;
        if self.lose == 0 || !self.sent.is_multiple_of(self.lose) {
            for other in &self.others {
                other.receive(frame);
            }
        }
        Ok(())
    }
}

pub(crate) fn ranges(sizes: &[u16]) -> Vec<TokenRange> {
    let mut first = 0;
    let range = |&tokens: &u16| {
        let range = TokenRange { first, tokens };
        first += tokens;
        range
    };
    sizes.iter().map(range).collect()
}
