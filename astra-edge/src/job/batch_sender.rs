//! Sending of code frames, batched into messages.

use astra_wire::{Code, EmitError, Framer, MAX_CODE_BATCH, MAX_FRAME};

use super::JobStats;

/// Sends frames to every member of the plan that attends to this one's tokens.
pub trait FrameSink: Send {
    /// Sends a batch of one or more frames, concatenated. Runs on the data path: it may block for space in a queue, but for nothing
    /// else.
    ///
    /// # Errors
    /// The batch was not sent; its frames are lost, and the request continues.
    fn send(&mut self, batch: &[u8]) -> Result<(), SinkError>;
}

/// A batch of frames was not sent.
#[derive(Debug, thiserror::Error)]
#[error("frames not sent: {0}")]
pub struct SinkError(pub String);

/// Frames of a batch.
#[derive(Default)]
struct Batch {
    /// Bytes.
    length: usize,
    /// Those that are not of headers.
    codes: usize,
    frames: u64,
}

/// Concatenates frames to batches.
pub(super) struct BatchSender {
    sink: Box<dyn FrameSink>,
    buffer: Box<[u8]>,
}

impl BatchSender {
    pub(super) fn new(sink: Box<dyn FrameSink>) -> Self {
        Self {
            sink,
            buffer: vec![0; MAX_CODE_BATCH].into(),
        }
    }

    /// Sends all frames of a framer in as few batches as possible.
    pub(super) fn send<C: Code>(
        &mut self,
        mut framer: Framer<'_, C>,
        stats: &mut JobStats,
    ) -> Result<(), EmitError> {
        let mut batch = Batch::default();
        loop {
            let codes = framer.next_body_len();
            let free = self.buffer.get_mut(batch.length..);
            let frame = match free.and_then(|free| free.first_chunk_mut::<MAX_FRAME>()) {
                Some(free) => framer.next_frame(free)?,
                None => None,
            };
            match frame {
                Some(bytes) => {
                    batch.length += bytes;
                    batch.codes += codes;
                    batch.frames += 1;
                }
                None if batch.frames == 0 => return Ok(()),
                None => self.flush(std::mem::take(&mut batch), stats),
            }
        }
    }

    fn flush(&mut self, batch: Batch, stats: &mut JobStats) {
        let Batch {
            length,
            codes,
            frames,
        } = batch;
        let batch = self.buffer.get(..length).ok_or_else(|| {
            let limit = self.buffer.len();
            SinkError(format!(
                "batch: found {length} bytes, expected at most {limit}"
            ))
        });
        match batch.and_then(|batch| self.sink.send(batch)) {
            Ok(()) => {
                stats.frames_sent += frames;
                stats.bytes_sent += length as u64;
                stats.code_bytes_sent += codes as u64;
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

    use astra_wire::{CodeHeader, Flags, Frames, Layout, SideInfo};

    use super::*;

    /// Records batches; returns an error for every batch after the first `limit`.
    struct Recorder {
        batches: Arc<Mutex<Vec<Vec<u8>>>>,
        limit: usize,
    }

    impl FrameSink for Recorder {
        fn send(&mut self, batch: &[u8]) -> Result<(), SinkError> {
            let mut batches = self.batches.lock().unwrap();
            if batches.len() == self.limit {
                return Err(SinkError("full".to_owned()));
            }
            batches.push(batch.to_owned());
            Ok(())
        }
    }

    fn sent(layout: Layout, tokens: u16, limit: usize) -> (Vec<Vec<u8>>, JobStats) {
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
        let (batches, mut stats) = (Arc::default(), JobStats::default());
        let recorder = Recorder {
            batches: Arc::clone(&batches),
            limit,
        };
        let mut sender = BatchSender::new(Box::new(recorder));
        let framer = Framer::new(header, layout, &codes, SideInfo::NONE).unwrap();
        sender.send(framer, &mut stats).unwrap();
        let batches = std::mem::take(&mut *batches.lock().unwrap());
        (batches, stats)
    }

    #[test]
    fn frames_are_batched_in_order() {
        let layout = Layout::new(160, 20, 8, None).unwrap();
        // Less than one batch, and a little more than one.
        for (tokens, expected) in [(342, 1), (800, 1), (900, 2), (1369, 2), (1, 1)] {
            let (batches, stats) = sent(layout, tokens, 9);
            assert_eq!(batches.len(), expected, "{tokens}");
            let mut next = 0;
            for batch in &batches {
                assert!(batch.len() <= MAX_CODE_BATCH);
                for frame in Frames::new(batch, &[layout]) {
                    let header = frame.unwrap().header;
                    assert_eq!(header.first_token, next);
                    next += header.tokens;
                }
            }
            assert_eq!(next, tokens);
            assert_eq!(stats.frames_sent, u64::from(layout.frames(tokens)));
            let bytes: usize = batches.iter().map(Vec::len).sum();
            assert_eq!((stats.bytes_sent, stats.frames_lost), (bytes as u64, 0));
            assert_eq!(stats.code_bytes_sent, layout.packed_bytes(tokens));
        }
    }

    #[test]
    fn frames_of_a_batch_that_is_not_sent_are_counted() {
        let layout = Layout::new(160, 20, 8, None).unwrap();
        let (batches, stats) = sent(layout, 1369, 1);
        let bodies: Vec<usize> = Frames::new(&batches[0], &[layout])
            .map(|frame| frame.unwrap().body.len())
            .collect();
        let (frames, codes) = (bodies.len() as u64, bodies.iter().sum::<usize>());
        assert_eq!(stats.code_bytes_sent, codes as u64);
        assert_eq!(stats.frames_sent, frames);
        assert_eq!(stats.frames_lost, u64::from(layout.frames(1369)) - frames);
    }
}
