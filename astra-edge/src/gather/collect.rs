//! Waiting for codes and decoding them, on the compute thread.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use astra_codec::LengthError;
use astra_model::engine::Stages;
use astra_model::partition::TokenRange;
use astra_wire::{Layout, MAX_MEMBERS};

use super::position::Position;
use super::slots::SlotKey;
use super::{Gather, parts_of};

/// Result of gathering one block.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatheredBlock {
    /// Valid rows of `remote`, from the first on.
    pub arrived: usize,
    /// Tokens that did not arrive in time.
    pub missing: usize,
    /// Time spent waiting.
    pub waited: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
}

/// Gathering stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// The coordinator cancelled the request.
    #[error("request {request} was cancelled by its coordinator")]
    Cancelled {
        /// The request.
        request: u32,
    },
    /// The request is not one of the plan's next.
    #[error("request: found {found}, expected {next} or one of the 63 after it")]
    Request {
        /// The request.
        found: u32,
        /// The request that comes next.
        next: u64,
    },
    /// The codes do not fit the codebook, or a row of `remote` does not.
    #[error(transparent)]
    Code(#[from] LengthError),
    /// Codes of a second stage, of a block without one.
    #[error("codebook of the second stage: found none, expected that of the refined tokens")]
    SecondStage,
    /// The plan has no such member.
    #[error("member: found {found}, expected one below {members}")]
    Member {
        /// The member.
        found: usize,
        /// Members of the plan.
        members: usize,
    },
    /// The model has no such block.
    #[error("block: found {found}, expected one below {blocks}")]
    Block {
        /// The block.
        found: usize,
        /// Blocks of the model.
        blocks: u64,
    },
    /// A buffer has fewer rows than the plan has tokens.
    #[error("rows of remote tokens: found {found}, expected {expected} of the plan")]
    Rows {
        /// Rows of the buffer.
        found: usize,
        /// Rows needed.
        expected: usize,
    },
}

/// Deadline and late members, kept over the blocks of one request.
#[derive(Clone, Copy, Debug)]
pub struct WaitState {
    /// When to stop waiting for codes of this block.
    pub deadline: Instant,
    /// Members that missed a deadline, as a bit mask: not waited for until all their codes of a block arrive in time again.
    pub late: u16,
}

/// How the codes of one block are decoded.
#[derive(Clone, Copy)]
struct BlockCodes<'a> {
    /// Number of the block over all requests of the plan.
    sequence: u64,
    layout: &'a Layout,
    /// `None` in exact mode.
    stages: Option<Stages<'a>>,
}

impl BlockCodes<'_> {
    /// Values of a decoded token.
    fn width(&self) -> usize {
        let channels = usize::from(self.layout.codes_per_token());
        self.stages.map_or(channels, |stages| stages.first.rank())
    }
}

impl Gather {
    /// Decodes the other members' tokens of a block into `remote`, [r, R], as they arrive, until all are decoded or the deadline passes.
    ///
    /// Tokens that arrived fill the first rows, in ascending order. Where some are missing, `tokens`, `[r]`, is set to the token of each
    /// row. `stages` are the block's codebooks, `None` in exact mode.
    ///
    /// # Errors
    /// The request was cancelled, or a buffer has the wrong length.
    pub fn collect(
        &self,
        request: u32,
        block: usize,
        stages: Option<Stages<'_>>,
        remote: &mut [f32],
        tokens: &mut [usize],
        wait: &mut WaitState,
    ) -> Result<GatheredBlock, GatherError> {
        let sequence = u64::from(request) * self.blocks + block as u64;
        let layout = self.layout(block).ok_or(GatherError::Block {
            found: block,
            blocks: self.blocks,
        })?;
        let codes = BlockCodes {
            sequence,
            layout,
            stages,
        };
        let others = self.plan.senders(self.me);
        let mut gathered = GatheredBlock::default();
        let mut pending = others;
        loop {
            // Checked even if there is nothing to wait for, so that the first member of a causal plan stops too.
            if self.is_cancelled(request) {
                return Err(GatherError::Cancelled { request });
            }
            for member in members(pending) {
                if self.decode_if_complete(codes, member, remote, &mut gathered)? {
                    pending &= !(1 << member);
                    wait.late &= !(1 << member);
                }
            }
            let gone = self.left.load(Ordering::Acquire) | wait.late;
            if pending & !gone == 0 {
                break;
            }
            let now = Instant::now();
            let Some(left) = wait
                .deadline
                .checked_duration_since(now)
                .filter(|t| !t.is_zero())
            else {
                wait.late |= pending;
                break;
            };
            std::thread::park_timeout(left);
            gathered.waited += now.elapsed();
        }
        self.position
            .store(Position::running(sequence + 1).pack(), Ordering::Release);
        if pending == 0 {
            gathered.arrived = self.plan.remote_tokens(self.me);
        } else {
            gathered.arrived = self.compact(codes, pending, remote, tokens)?;
            gathered.missing = self.plan.remote_tokens(self.me) - gathered.arrived;
        }
        Ok(gathered)
    }

    fn decode_if_complete(
        &self,
        codes: BlockCodes<'_>,
        member: usize,
        remote: &mut [f32],
        gathered: &mut GatheredBlock,
    ) -> Result<bool, GatherError> {
        let range = self.range(member)?;
        let sequence = codes.sequence;
        if self.slots.progress(SlotKey { sequence, member }) != parts_of(codes.layout, range) {
            return Ok(false);
        }
        let start = Instant::now();
        let width = codes.width();
        let at = self.first_row(member)? * width;
        let end = at + usize::from(range.tokens) * width;
        let found = remote.len() / width.max(1);
        let rows = remote.get_mut(at..end).ok_or(GatherError::Rows {
            found,
            expected: end / width.max(1),
        })?;
        self.write_means(codes, range.indexes(), rows)?;
        for (token, row) in range.indexes().zip(rows.chunks_exact_mut(width)) {
            self.decode_token(codes, token, row)?;
        }
        gathered.decoded += start.elapsed();
        Ok(true)
    }

    /// Moves rows to lower indexes so that no gaps remain, and decodes the tokens of `pending` members that did arrive. Returns the number
    /// of valid rows.
    fn compact(
        &self,
        codes: BlockCodes<'_>,
        pending: u16,
        remote: &mut [f32],
        tokens: &mut [usize],
    ) -> Result<usize, GatherError> {
        let width = codes.width();
        let mut next = 0;
        for member in members(self.plan.senders(self.me)) {
            let range = self.range(member)?;
            let complete = pending & (1 << member) == 0;
            let first = self.first_row(member)?;
            for (row, token) in (first..).zip(range.indexes()) {
                let (from, to) = (
                    row * width..(row + 1) * width,
                    next * width..(next + 1) * width,
                );
                let short = GatherError::Rows {
                    found: tokens.len().min(remote.len() / width.max(1)),
                    expected: row + 1,
                };
                let Some(row_token) = tokens.get_mut(next).filter(|_| from.end <= remote.len())
                else {
                    return Err(short);
                };
                if complete {
                    // Rows only move to lower indexes, so none is overwritten before it is moved.
                    remote.copy_within(from, to.start);
                } else if self.slots.has_token(codes.sequence, token) {
                    let row = remote.get_mut(to).ok_or(short)?;
                    self.write_means(codes, token..token + 1, row)?;
                    self.decode_token(codes, token, row)?;
                } else {
                    continue;
                }
                *row_token = token;
                next += 1;
            }
        }
        Ok(next)
    }

    /// Writes the mean of each token's frame to its row, 0 where the frame has none, if the block's frames have means.
    fn write_means(
        &self,
        codes: BlockCodes<'_>,
        tokens: Range<usize>,
        rows: &mut [f32],
    ) -> Result<(), GatherError> {
        let Some(quantizer) = codes.stages.and_then(|stages| stages.mean) else {
            return Ok(());
        };
        let (sequence, width) = (codes.sequence, codes.width());
        let mut done: Option<(Option<usize>, &mut [f32])> = None;
        for (token, row) in tokens.zip(rows.chunks_exact_mut(width)) {
            let short = || GatherError::Rows {
                found: self.plan.tokens(),
                expected: token + 1,
            };
            let number = self.slots.mean_number(sequence, token);
            let number = number.ok_or_else(short)?;
            match (&done, number) {
                (Some((before, values)), _) if *before == number => row.copy_from_slice(values),
                (_, Some(number)) => {
                    let packed = self.slots.mean(sequence, codes.layout, number);
                    quantizer.decode(packed.ok_or_else(short)?, row)?;
                }
                (_, None) => row.fill(0.0),
            }
            done = Some((number, row));
        }
        Ok(())
    }

    /// Adds the codes of a token to its row where that has a mean, else writes them.
    fn decode_token(
        &self,
        codes: BlockCodes<'_>,
        token: usize,
        row: &mut [f32],
    ) -> Result<(), GatherError> {
        let (sequence, layout) = (codes.sequence, codes.layout);
        let no_slot = || GatherError::Rows {
            found: self.plan.tokens(),
            expected: token + 1,
        };
        let first = self.slots.codes(sequence, layout, token);
        let first = first.ok_or_else(no_slot)?;
        let Some(stages) = codes.stages else {
            for (value, bits) in row.iter_mut().zip(first) {
                *value = f32::from_bits(bits);
            }
            return Ok(());
        };
        match stages.mean {
            Some(_) => stages.first.add_token(first, row)?,
            None => stages.first.decode_token(first, row)?,
        }
        let second = self.slots.second(sequence, layout, token);
        if let Some(second) = second.ok_or_else(no_slot)? {
            let book = stages.second.ok_or(GatherError::SecondStage)?;
            book.add_token(second, row)?;
        }
        Ok(())
    }

    fn range(&self, member: usize) -> Result<TokenRange, GatherError> {
        let range = self.plan.ranges.get(member).copied();
        range.ok_or(GatherError::Member {
            found: member,
            members: self.plan.ranges.len(),
        })
    }

    /// First row of a member's tokens in `remote`: the number of tokens before it, without this member's own.
    fn first_row(&self, member: usize) -> Result<usize, GatherError> {
        let first = usize::from(self.range(member)?.first);
        let own = usize::from(self.range(self.me)?.tokens);
        Ok(if member > self.me { first - own } else { first })
    }
}

/// Indexes of the bits set.
fn members(mask: u16) -> impl Iterator<Item = usize> {
    (0..MAX_MEMBERS).filter(move |member| mask & (1 << member) != 0)
}
