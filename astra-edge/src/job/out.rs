//! The way of codes out of a member.

use astra_wire::{Code, EmitError, Framer, MAX_CODE_BATCH, MAX_FRAME};

use super::JobStats;

/// Where frames go: every other member of the plan that can use them gets each of them.
pub trait FrameSink: Send {
    /// Sends a message of one or more frames, one directly behind the other. Runs on the data path: it may wait for room in a
    /// queue, but for nothing else.
    ///
    /// # Errors
    /// The message could not be handed on; its frames are then lost, and the request goes on.
    fn send(&mut self, message: &[u8]) -> Result<(), SinkError>;
}

/// A message could not be handed on.
#[derive(Debug, thiserror::Error)]
#[error("frames not sent: {0}")]
pub struct SinkError(pub String);

/// Puts frames together into messages.
pub(super) struct Out {
    sink: Box<dyn FrameSink>,
    message: Box<[u8]>,
}

impl Out {
    pub(super) fn new(sink: Box<dyn FrameSink>) -> Self {
        Self {
            sink,
            message: vec![0; MAX_CODE_BATCH].into(),
        }
    }

    /// Sends all frames of a framer, in as few messages as they fit.
    pub(super) fn send<C: Code>(
        &mut self,
        mut framer: Framer<'_, C>,
        stats: &mut JobStats,
    ) -> Result<(), EmitError> {
        let (mut length, mut frames) = (0, 0);
        loop {
            let room = self.message.get_mut(length..).unwrap_or_default();
            let frame = match room.first_chunk_mut::<MAX_FRAME>() {
                Some(room) => framer.next_frame(room)?,
                None => None,
            };
            match frame {
                Some(bytes) => (length, frames) = (length + bytes, frames + 1),
                None if frames == 0 => return Ok(()),
                None => {
                    self.hand_on(length, frames, stats);
                    (length, frames) = (0, 0);
                }
            }
        }
    }

    fn hand_on(&mut self, length: usize, frames: u64, stats: &mut JobStats) {
        let message = self.message.get(..length).unwrap_or_default();
        match self.sink.send(message) {
            Ok(()) => {
                stats.frames_sent += frames;
                stats.bytes_sent += length as u64;
            }
            Err(reason) => {
                stats.frames_lost += frames;
                tracing::trace!(%reason, frames, "frames lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use astra_wire::{CodeHeader, Flags, Frames, Layout};

    use super::*;

    /// Keeps messages; refuses every one once it has so many.
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>, usize);

    impl FrameSink for Kept {
        fn send(&mut self, message: &[u8]) -> Result<(), SinkError> {
            let mut kept = self.0.lock().unwrap();
            if kept.len() == self.1 {
                return Err(SinkError("full".to_owned()));
            }
            kept.push(message.to_owned());
            Ok(())
        }
    }

    fn sent(layout: Layout, tokens: u16, most: usize) -> (Vec<Vec<u8>>, JobStats) {
        let header = CodeHeader {
            version: astra_wire::VERSION,
            request: 1,
            epoch: 1,
            block: 0,
            sender: 0,
            first_token: 0,
            tokens,
            part: 0,
            rung: layout.rung(),
            flags: Flags::NONE,
        };
        let codes: Vec<u16> = (0..tokens * layout.codes_per_token())
            .map(|code| code % 256)
            .collect();
        let (kept, mut stats) = (Arc::default(), JobStats::default());
        let mut out = Out::new(Box::new(Kept(Arc::clone(&kept), most)));
        let framer = Framer::new(header, layout, &codes).unwrap();
        out.send(framer, &mut stats).unwrap();
        let messages = std::mem::take(&mut *kept.lock().unwrap());
        (messages, stats)
    }

    #[test]
    fn frames_leave_together_and_in_their_order() {
        let layout = Layout::new(20, 8).unwrap();
        // What fills one message and a little more, and what is far from filling one.
        for (tokens, messages) in [(342, 1), (800, 1), (900, 2), (1369, 2), (1, 1)] {
            let (kept, stats) = sent(layout, tokens, 9);
            assert_eq!(kept.len(), messages, "{tokens}");
            let mut next = 0;
            for message in &kept {
                assert!(message.len() <= MAX_CODE_BATCH);
                for frame in Frames::new(message, layout) {
                    let header = frame.unwrap().header;
                    assert_eq!(header.first_token, next);
                    next += header.tokens;
                }
            }
            assert_eq!(next, tokens);
            assert_eq!(stats.frames_sent, u64::from(layout.frames(tokens)));
            let bytes: usize = kept.iter().map(Vec::len).sum();
            assert_eq!((stats.bytes_sent, stats.frames_lost), (bytes as u64, 0));
        }
    }

    #[test]
    fn frames_of_a_message_that_is_not_taken_are_counted() {
        let layout = Layout::new(20, 8).unwrap();
        let (kept, stats) = sent(layout, 1369, 1);
        let frames = Frames::new(&kept[0], layout).count() as u64;
        assert_eq!(stats.frames_sent, frames);
        assert_eq!(stats.frames_lost, u64::from(layout.frames(1369)) - frames);
    }
}
