//! The data path's side: waiting for codes and decoding them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use astra_codec::{Codebook, LengthError};
use astra_wire::MAX_MEMBERS;

use super::Gather;
use super::position::Position;
use super::slots::Place;

/// What a block's gathering came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Collected {
    /// Rows of `remote` that are there, from the first on.
    pub arrived: usize,
    /// Tokens that did not come in time.
    pub missing: usize,
    /// Time spent with nothing to do.
    pub waited: Duration,
    /// Time spent decoding.
    pub decoded: Duration,
}

/// Why gathering stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// The coordinator gave the request up.
    #[error("request {request} was cancelled by its coordinator")]
    Cancelled {
        /// The request.
        request: u32,
    },
    /// `remote` is not of the codec's shape.
    #[error(transparent)]
    Code(#[from] LengthError),
    /// `remote` or its list of tokens is shorter than the plan.
    #[error("rows of remote tokens: found {found}, expected {expected} of the plan")]
    Rows {
        /// Rows there are.
        found: usize,
        /// Rows there should be.
        expected: usize,
    },
}

/// Deadline and members given up on, kept over the blocks of one request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When to stop waiting in this block.
    pub until: Instant,
    /// Members that missed a deadline, as a bit mask: not waited for until a full set of theirs is there again.
    pub late: u16,
}

impl Gather {
    /// Decodes the other members' tokens of a block into `remote`, [r, R], as they complete, waiting as `patience` says.
    ///
    /// Tokens that are there lie one after another from the first row on, in the order of the tokens. Where some are missing,
    /// `tokens`, [r], says which each row is of. `book` is the block's codebook, `None` in exact mode.
    ///
    /// # Errors
    /// The request was cancelled, or `remote` is not of the codec's shape.
    pub fn collect(
        &self,
        request: u32,
        block: usize,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        tokens: &mut [usize],
        patience: &mut Patience,
    ) -> Result<Collected, GatherError> {
        let sequence = u64::from(request) * self.blocks + block as u64;
        let others = self.plan.senders(self.me);
        let mut outcome = Collected::default();
        let mut pending = others;
        loop {
            // Before anything else: the first member of a causal plan waits for nobody, and would compute to the end.
            if self.is_cancelled(request) {
                return Err(GatherError::Cancelled { request });
            }
            for member in members(pending) {
                if self.decode_if_complete(sequence, member, book, remote, &mut outcome)? {
                    pending &= !(1 << member);
                    patience.late &= !(1 << member);
                }
            }
            let gone = self.left.load(Ordering::Acquire) | patience.late;
            if pending & !gone == 0 {
                break;
            }
            let now = Instant::now();
            let Some(left) = patience
                .until
                .checked_duration_since(now)
                .filter(|t| !t.is_zero())
            else {
                patience.late |= pending;
                break;
            };
            std::thread::park_timeout(left);
            outcome.waited += now.elapsed();
        }
        self.position
            .store(Position::running(sequence + 1).pack(), Ordering::Release);
        if pending == 0 {
            outcome.arrived = self.plan.remote_tokens(self.me);
        } else {
            outcome.arrived = self.close_up(sequence, pending, book, remote, tokens)?;
            outcome.missing = self.plan.remote_tokens(self.me) - outcome.arrived;
        }
        Ok(outcome)
    }

    fn decode_if_complete(
        &self,
        sequence: u64,
        member: usize,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        outcome: &mut Collected,
    ) -> Result<bool, GatherError> {
        let Some(&range) = self.plan.ranges.get(member) else {
            return Ok(true);
        };
        if self.slots.progress(Place { sequence, member }) != self.whole(range) {
            return Ok(false);
        }
        let start = Instant::now();
        let width = self.width(book);
        let at = self.first_row(member) * width;
        let end = at + usize::from(range.tokens) * width;
        let there = remote.len() / width.max(1);
        let rows = remote.get_mut(at..end).ok_or(GatherError::Rows {
            found: there,
            expected: end / width.max(1),
        })?;
        for (token, row) in range.indexes().zip(rows.chunks_exact_mut(width)) {
            self.decode_token(sequence, token, book, row)?;
        }
        outcome.decoded += start.elapsed();
        Ok(true)
    }

    /// Moves up what is there so that no gaps remain, with those tokens of the `pending` members that did come; says how many
    /// rows that makes.
    fn close_up(
        &self,
        sequence: u64,
        pending: u16,
        book: Option<&Codebook<'_>>,
        remote: &mut [f32],
        tokens: &mut [usize],
    ) -> Result<usize, GatherError> {
        let width = self.width(book);
        let mut next = 0;
        for member in members(self.plan.senders(self.me)) {
            let Some(&range) = self.plan.ranges.get(member) else {
                continue;
            };
            let complete = pending & (1 << member) == 0;
            let first = self.first_row(member);
            for (row, token) in (first..).zip(range.indexes()) {
                let (from, to) = (
                    row * width..(row + 1) * width,
                    next * width..(next + 1) * width,
                );
                let short = GatherError::Rows {
                    found: tokens.len().min(remote.len() / width.max(1)),
                    expected: row + 1,
                };
                let Some(place) = tokens.get_mut(next).filter(|_| from.end <= remote.len()) else {
                    return Err(short);
                };
                if complete {
                    // No row moves down, so none is overwritten before it is moved.
                    remote.copy_within(from, to.start);
                } else if self.slots.has_token(sequence, token) {
                    let row = remote.get_mut(to).ok_or(short)?;
                    self.decode_token(sequence, token, book, row)?;
                } else {
                    continue;
                }
                *place = token;
                next += 1;
            }
        }
        Ok(next)
    }

    fn decode_token(
        &self,
        sequence: u64,
        token: usize,
        book: Option<&Codebook<'_>>,
        row: &mut [f32],
    ) -> Result<(), GatherError> {
        let codes = usize::from(self.layout.codes_per_token());
        let values = self
            .slots
            .codes(sequence, token * codes..(token + 1) * codes);
        match book {
            Some(book) => book.decode_token(values, row)?,
            None => {
                for (place, bits) in row.iter_mut().zip(values) {
                    *place = f32::from_bits(bits);
                }
            }
        }
        Ok(())
    }

    fn width(&self, book: Option<&Codebook<'_>>) -> usize {
        book.map_or(usize::from(self.layout.codes_per_token()), Codebook::rank)
    }

    /// Row of `remote` where a member's tokens start: the tokens before it, without one's own.
    fn first_row(&self, member: usize) -> usize {
        let first = |index: usize| self.plan.ranges.get(index).map_or(0, |range| range.first);
        let own = self
            .plan
            .ranges
            .get(self.me)
            .map_or(0, |range| range.tokens);
        let skipped = if member > self.me { own } else { 0 };
        usize::from(first(member)) - usize::from(skipped)
    }
}

/// Indexes of the bits set.
fn members(mask: u16) -> impl Iterator<Item = usize> {
    (0..MAX_MEMBERS).filter(move |member| mask & (1 << member) != 0)
}
