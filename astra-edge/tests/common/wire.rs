//! Frames between members of one process, without a network.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use astra_edge::gather::Gather;
use astra_edge::job::{FrameSink, SinkError};
use astra_edge::plan::TokenRange;
use astra_wire::{CodeFrame, Frames, Layout, MAX_FRAME, emit};

/// Frames straight into the other members' gathers.
pub(crate) struct Wire {
    others: Vec<Arc<Gather>>,
    frames: Receiver<Arc<Gather>>,
    expected: usize,
    lose: usize,
    layout: Layout,
    sent: usize,
}

impl Wire {
    /// Frames to so many members, whose gathers `frames` brings; of every `lose` frames, laid out as `layout`, one is lost, 0 for
    /// none.
    pub(crate) fn new(
        frames: Receiver<Arc<Gather>>,
        expected: usize,
        lose: usize,
        layout: Layout,
    ) -> Self {
        Self {
            others: Vec::new(),
            frames,
            expected,
            lose,
            layout,
            sent: 0,
        }
    }

    fn is_lost(&mut self) -> bool {
        self.sent += 1;
        self.sent.is_multiple_of(self.lose)
    }

    /// The frame by itself.
    fn bytes(&self, frame: &CodeFrame<'_>) -> Vec<u8> {
        let codes: Vec<u32> = frame.codes(&self.layout).unwrap().collect();
        let mut bytes = vec![0; MAX_FRAME];
        let length = emit(&frame.header, &self.layout, &codes, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
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
        for frame in Frames::new(message, self.layout) {
            if !self.is_lost() {
                let bytes = self.bytes(&frame.unwrap());
                self.others.iter().for_each(|other| other.receive(&bytes));
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
