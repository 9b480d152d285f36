//! Chunks of a member's rows for steps that treat each row independently.

use core::ops::Range;

/// Approximate tokens of a chunk. The MLP of ViT-S takes the same time per row in chunks of 48 to 343 rows; the cost of a chunk is that its
/// frames are sent and received separately.
const TOKENS: usize = 128;
/// Fraction of a request spent waiting above which several chunks save more than they cost. Measured with ViT-S at 518 pixels on four
/// devices: at 10 Mbps a fifth to a third of a request is spent waiting, and three chunks save 3 to 9 % of it; at 100 Mbps it is a
/// twelfth, and they take 4 % more.
const MIN_WAIT: f64 = 0.16;

/// A member's rows in chunks: codes of one chunk are sent while the next is computed.
///
/// A chunk has as many tokens as fill whole frames; the class tokens are in the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowChunks {
    class: usize,
    tokens: usize,
    size: usize,
}

impl RowChunks {
    /// Chunks of `tokens` own tokens after `class` class tokens, where `frame` tokens fill a frame.
    pub fn new(class: usize, tokens: usize, frame: usize) -> Self {
        let frame = frame.max(1);
        let frames = ((TOKENS + frame / 2) / frame).max(1);
        Self {
            class,
            tokens,
            size: frames * frame,
        }
    }

    /// All rows in a single chunk.
    pub fn single(class: usize, tokens: usize) -> Self {
        Self {
            class,
            tokens,
            size: tokens.max(1),
        }
    }

    /// Whether several chunks are faster than one, if a request in a single chunk spent `waited` of its `total` time waiting.
    pub fn are_worthwhile(waited: f64, total: f64) -> bool {
        waited > MIN_WAIT * total
    }

    /// Number of chunks, at least one.
    pub fn count(&self) -> usize {
        self.tokens.div_ceil(self.size).max(1)
    }

    /// Rows of a chunk; empty if there is no such chunk.
    pub fn rows(&self, chunk: usize) -> Range<usize> {
        let first = if chunk == 0 { 0 } else { self.class };
        let tokens = self.tokens(chunk);
        match chunk < self.count() {
            true => tokens.start + first..tokens.end + self.class,
            false => 0..0,
        }
    }

    /// Own tokens of a chunk, from 0.
    pub fn tokens(&self, chunk: usize) -> Range<usize> {
        let token = |chunk: usize| (chunk * self.size).min(self.tokens);
        token(chunk)..token(chunk + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_every_token_is_in_one_chunk() {
        for (class, frame) in [(0, 1), (1, 58), (4, 29), (1, 500)] {
            for tokens in 0..400 {
                let chunks = RowChunks::new(class, tokens, frame);
                let each = || 0..chunks.count();
                let rows: Vec<usize> = each().flat_map(|chunk| chunks.rows(chunk)).collect();
                assert!(rows.iter().copied().eq(0..class + tokens), "{chunks:?}");
                let own: Vec<usize> = each().flat_map(|chunk| chunks.tokens(chunk)).collect();
                assert!(own.iter().copied().eq(0..tokens), "{chunks:?}");
                assert!(chunks.rows(chunks.count()).is_empty());
            }
        }
    }

    #[test]
    fn chunks_fill_frames() {
        for frame in [1, 7, 29, 58, 80] {
            let chunks = RowChunks::new(1, 342, frame);
            for chunk in 0..chunks.count() - 1 {
                let tokens = chunks.tokens(chunk).len();
                assert_eq!(tokens % frame, 0);
                assert!((96..=192).contains(&tokens), "{frame}: {chunks:?}");
            }
        }
    }
}
