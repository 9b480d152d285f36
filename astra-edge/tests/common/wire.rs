//! Frames between members of one process, without a network.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use astra_edge::gather::Gather;
use astra_edge::job::{FrameSink, SinkError};
use astra_model::partition::TokenRange;
use astra_wire::{Frames, Layout};

/// Delivers frames directly to the other members' gathers.
pub(crate) struct Wire {
    others: Vec<Arc<Gather>>,
    frames: Receiver<Arc<Gather>>,
    expected: usize,
    lose: usize,
    layouts: Vec<Layout>,
    sent: usize,
}

impl Wire {
    /// Delivers frames, those of each block in one of `layouts`, to `expected` members, whose gathers arrive from `frames`; one of
    /// every `lose` frames is lost, none if 0: layouts are then not needed.
    pub(crate) fn new(
        frames: Receiver<Arc<Gather>>,
        expected: usize,
        lose: usize,
        layouts: Vec<Layout>,
    ) -> Self {
        Self {
            others: Vec::new(),
            frames,
            expected,
            lose,
            layouts,
            sent: 0,
        }
    }

    fn is_lost(&mut self) -> bool {
        self.sent += 1;
        self.sent.is_multiple_of(self.lose)
    }
}

impl FrameSink for Wire {
    fn send(&mut self, message: &[u8]) -> Result<(), SinkError> {
        while self.others.len() < self.expected {
            let gather = self.frames.recv().map_err(|e| SinkError(e.to_string()))?;
            self.others.push(gather);
        }
        if self.lose == 0 {
            self.others.iter().for_each(|other| other.receive(message));
            return Ok(());
        }
        let (mut rest, layouts) = (message, self.layouts.clone());
        for frame in Frames::new(message, &layouts).map(Result::unwrap) {
            let (bytes, after) = rest.split_at(frame.header.encoded_len() + frame.body.len());
            rest = after;
            if !self.is_lost() {
                self.others.iter().for_each(|other| other.receive(bytes));
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
