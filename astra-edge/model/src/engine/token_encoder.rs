//! The codes of a member's tokens, frame by frame: mean, first stage, choice of the refined tokens, second stage.

use core::ops::Range;

use astra_codec::{MeanQuantizer, largest};
use astra_wire::{Layout, MIN_MEAN_TOKENS};

use super::error::{slice, slice_mut};
use super::{Codec, EngineError, Stages};

/// Codes of the own tokens of one block, in buffers that are allocated once.
///
/// Tokens are encoded in ascending order, all at once or in chunks: [`encode`](Self::encode) returns what is sent of a chunk, and after
/// the last chunk [`decode`](Self::decode) gives all tokens as receivers decode them.
pub struct TokenEncoder {
    capacity: usize,
    /// Tokens of the block encoded so far.
    tokens: usize,
    /// First-stage codes of all of them: [t, G].
    codes: Vec<u16>,
    /// Frames that have a mean so far, as own tokens from 0, and their packed means one after another.
    frames: Vec<Range<u16>>,
    frame_count: usize,
    means: Vec<u8>,
    /// Mean of one frame: `[R]`.
    mean: Vec<f32>,
    /// Refined tokens so far: relative to the first token of their frame, and as own tokens from 0.
    positions: Vec<u16>,
    refined: Vec<u16>,
    refined_count: usize,
    /// Their second-stage codes: [refined, H].
    second: Vec<u16>,
    /// Squared residuals of a chunk: `[t]`.
    errors: Vec<f32>,
    scratch: Vec<u16>,
    /// Residuals of a chunk's refined tokens: [refined, R].
    rows: Vec<f32>,
}

/// What is sent of some tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// First-stage codes: [t, G].
    pub codes: &'a [u16],
    /// Packed means of the frames that have one, one after another.
    pub means: &'a [u8],
    /// Refined tokens of each frame, relative to its first token, ascending; frames one after another: `[refined]`.
    pub positions: &'a [u16],
    /// Second-stage codes: [refined, H].
    pub refined: &'a [u16],
}

impl TokenEncoder {
    /// For at most `tokens` tokens of blocks that [`reserve`](Self::reserve) is called for.
    pub fn new(tokens: usize) -> Self {
        Self {
            capacity: tokens,
            tokens: 0,
            codes: Vec::new(),
            frames: Vec::new(),
            frame_count: 0,
            means: Vec::new(),
            mean: Vec::new(),
            positions: Vec::new(),
            refined: Vec::new(),
            refined_count: 0,
            second: Vec::new(),
            errors: Vec::new(),
            scratch: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// For at most `tokens` tokens of every block of a codec.
    ///
    /// # Errors
    /// A codebook's parts do not fit together.
    pub fn for_codec(codec: &Codec, tokens: usize) -> Result<Self, EngineError> {
        let mut encoder = Self::new(tokens);
        for (block, layout) in codec.layouts().enumerate() {
            if let Some(stages) = codec.stages(block)? {
                encoder.reserve(&stages, &layout);
            }
        }
        Ok(encoder)
    }

    /// Allocates what encoding with these codebooks takes. The content is lost.
    pub fn reserve(&mut self, stages: &Stages<'_>, layout: &Layout) {
        let grow = |buffer: &mut Vec<u16>, entries: usize| {
            buffer.resize(buffer.len().max(entries), 0);
        };
        let tokens = self.capacity;
        grow(&mut self.codes, tokens * stages.first.groups());
        if let Some(mean) = stages.mean {
            let frames = tokens / usize::from(MIN_MEAN_TOKENS);
            self.frames.resize(self.frames.len().max(frames), 0..0);
            let bytes = frames * mean.packed_len();
            self.means.resize(self.means.len().max(bytes), 0);
            self.mean.resize(self.mean.len().max(mean.rank()), 0.0);
        }
        if let (Some(second), Some(refinement)) = (stages.second, layout.refinement()) {
            // Half a token is rounded up to one: at most twice the share of the tokens, however they are divided among frames.
            let refined = (2 * usize::from(refinement.share) * tokens).div_ceil(256);
            grow(&mut self.positions, refined);
            grow(&mut self.refined, refined);
            grow(&mut self.second, refined * second.groups());
            grow(&mut self.scratch, tokens);
            self.errors.resize(tokens, 0.0);
            let rows = refined * second.rank();
            self.rows.resize(self.rows.len().max(rows), 0.0);
        }
    }

    /// Encodes the own tokens `tokens`, which follow those encoded last; token 0 begins a block. `y`, [t, R], is that of these tokens
    /// only, and is overwritten where frames have a mean or the layout has a second stage.
    ///
    /// # Errors
    /// The tokens do not follow, are more than the encoder was made for, or `y` is of another number of tokens.
    pub fn encode(
        &mut self,
        stages: &Stages<'_>,
        layout: &Layout,
        tokens: Range<usize>,
        y: &mut [f32],
    ) -> Result<Encoded<'_>, EngineError> {
        if tokens.start == 0 {
            (self.tokens, self.refined_count, self.frame_count) = (0, 0, 0);
        }
        EngineError::length("tokens encoded before", tokens.start, self.tokens)?;
        let frames = self.frame_count;
        if let Some(mean) = &stages.mean {
            self.subtract_means(mean, layout, &tokens, y)?;
        }
        let groups = stages.first.groups();
        let of_tokens = tokens.start * groups..tokens.end * groups;
        let codes = slice_mut("codes", &mut self.codes, of_tokens.clone())?;
        stages.first.encode(y, codes)?;
        let refined = self.refined_count;
        if layout.refinement().is_some() && !tokens.is_empty() {
            self.refine(stages, layout, &tokens, y)?;
        }
        self.tokens = tokens.end;
        let second = stages.second.map_or(0, |second| second.groups());
        let now = self.refined_count;
        let mean = stages.mean.map_or(0, |mean| mean.packed_len());
        Ok(Encoded {
            means: slice("means", &self.means, frames * mean..self.frame_count * mean)?,
            codes: slice("codes", &self.codes, of_tokens)?,
            positions: slice("positions", &self.positions, refined..now)?,
            refined: slice(
                "second-stage codes",
                &self.second,
                refined * second..now * second,
            )?,
        })
    }

    /// Packs the mean of each frame of a chunk, and subtracts what receivers read of it.
    fn subtract_means(
        &mut self,
        quantizer: &MeanQuantizer<'_>,
        layout: &Layout,
        tokens: &Range<usize>,
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        let (rank, bytes) = (quantizer.rank(), quantizer.packed_len());
        // Tokens are numbered in 16 bits.
        for frame in layout.split(tokens.len() as u16) {
            if layout.mean_len(frame.len() as u16) == 0 {
                continue;
            }
            let rows = slice_mut("y", y, frame.start * rank..frame.end * rank)?;
            let mean = slice_mut("mean", &mut self.mean, 0..rank)?;
            mean.fill(0.0);
            for row in rows.chunks_exact(rank) {
                mean.iter_mut().zip(row).for_each(|(mean, y)| *mean += y);
            }
            let share = 1.0 / frame.len() as f32;
            mean.iter_mut().for_each(|mean| *mean *= share);
            let place = self.frame_count * bytes..(self.frame_count + 1) * bytes;
            quantizer.encode(mean, slice_mut("means", &mut self.means, place)?)?;
            for row in rows.chunks_exact_mut(rank) {
                row.iter_mut().zip(&*mean).for_each(|(y, mean)| *y -= mean);
            }
            let frames = slice_mut(
                "frames",
                &mut self.frames,
                self.frame_count..self.frame_count + 1,
            )?;
            frames.fill((tokens.start + frame.start) as u16..(tokens.start + frame.end) as u16);
            self.frame_count += 1;
        }
        Ok(())
    }

    /// The second stage of a chunk.
    fn refine(
        &mut self,
        stages: &Stages<'_>,
        layout: &Layout,
        tokens: &Range<usize>,
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        let second = stages.second.ok_or(EngineError::Length {
            what: "codebooks of the second stage",
            found: 0,
            expected: 1,
        })?;
        let (groups, rank) = (stages.first.groups(), second.rank());
        let codes = slice(
            "codes",
            &self.codes,
            tokens.start * groups..tokens.end * groups,
        )?;
        let errors = slice_mut("errors", &mut self.errors, 0..tokens.len())?;
        stages.first.residual(codes, y, errors)?;
        let before = self.refined_count;
        // Tokens are numbered in 16 bits.
        for frame in layout.split(tokens.len() as u16) {
            let found = self.refined_count;
            let end = found + usize::from(layout.refined(frame.len() as u16));
            let positions = slice_mut("positions", &mut self.positions, found..end)?;
            let errors = slice("errors", &self.errors, frame.clone())?;
            let scratch = slice_mut("scratch", &mut self.scratch, 0..frame.len())?;
            largest(errors, scratch, positions)?;
            let refined = slice_mut("refined tokens", &mut self.refined, found..end)?;
            let rows = (found - before) * rank..(end - before) * rank;
            let rows = slice_mut("residuals", &mut self.rows, rows)?;
            let chosen = positions.iter().zip(refined);
            for ((&position, refined), row) in chosen.zip(rows.chunks_exact_mut(rank)) {
                let token = frame.start + usize::from(position);
                *refined = (tokens.start + token) as u16;
                row.copy_from_slice(slice("y", y, token * rank..(token + 1) * rank)?);
            }
            self.refined_count = end;
        }
        let rows = 0..(self.refined_count - before) * rank;
        let codes = before * second.groups()..self.refined_count * second.groups();
        second.encode(
            slice("residuals", &self.rows, rows)?,
            slice_mut("second-stage codes", &mut self.second, codes)?,
        )?;
        Ok(())
    }

    /// Decodes all tokens encoded since token 0, as receivers do, to `decoded`, [t, R].
    ///
    /// # Errors
    /// `decoded` is of another number of tokens than were encoded.
    pub fn decode(&self, stages: &Stages<'_>, decoded: &mut [f32]) -> Result<(), EngineError> {
        let codes = 0..self.tokens * stages.first.groups();
        let codes = slice("codes", &self.codes, codes)?;
        match &stages.mean {
            None => stages.first.decode(codes, decoded)?,
            Some(mean) => {
                self.decode_means(mean, decoded)?;
                let rows = decoded.chunks_exact_mut(stages.first.rank());
                for (codes, row) in codes.chunks_exact(stages.first.groups()).zip(rows) {
                    let codes = codes.iter().map(|&code| u32::from(code));
                    stages.first.add_token(codes, row)?;
                }
            }
        }
        let Some(second) = stages.second else {
            return Ok(());
        };
        let rank = second.rank();
        let refined = slice("refined tokens", &self.refined, 0..self.refined_count)?;
        for (&token, codes) in refined
            .iter()
            .zip(self.second.chunks_exact(second.groups()))
        {
            let token = usize::from(token);
            let row = slice_mut("decoded tokens", decoded, token * rank..(token + 1) * rank)?;
            second.add_token(codes.iter().map(|&code| u32::from(code)), row)?;
        }
        Ok(())
    }

    /// Writes to each token encoded since token 0, [t, R], the mean of its frame as receivers read it, 0 where the frame has none.
    ///
    /// # Errors
    /// `decoded` is of another number of tokens, or the quantizer is not the one they were encoded with.
    pub fn decode_means(
        &self,
        quantizer: &MeanQuantizer<'_>,
        decoded: &mut [f32],
    ) -> Result<(), EngineError> {
        let (rank, bytes) = (quantizer.rank(), quantizer.packed_len());
        EngineError::length("decoded values", decoded.len(), self.tokens * rank)?;
        decoded.fill(0.0);
        let frames = slice("frames", &self.frames, 0..self.frame_count)?;
        for (frame, packed) in frames.iter().zip(self.means.chunks_exact(bytes)) {
            let rows = usize::from(frame.start) * rank..usize::from(frame.end) * rank;
            let rows = slice_mut("decoded tokens", decoded, rows)?;
            let (first, others) = rows.split_at_mut(rank.min(rows.len()));
            quantizer.decode(packed.iter().copied(), first)?;
            for row in others.chunks_exact_mut(rank) {
                row.copy_from_slice(first);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "token_encoder_tests.rs"]
mod tests;
