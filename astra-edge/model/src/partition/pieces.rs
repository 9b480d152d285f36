//! How a member goes through its rows where each is treated on its own.

use core::ops::Range;

/// Tokens of a piece, about. The MLP of ViT-S takes the same time a row in pieces of 48 to 343 rows; what each piece costs is that its
/// frames are handed on, and taken in elsewhere, by themselves.
const TOKENS: usize = 128;
/// Part of a request spent waiting above which several pieces are worth what they cost. Measured with ViT-S at 518 pixels on four devices:
/// at 10 Mbps a fifth to a third of a request is spent waiting, and three pieces save 3 to 9 % of it; at 100 Mbps it is a twelfth, and
/// they take 4 % more.
const WORTH: f64 = 0.16;

/// A member's rows in pieces: while one is computed, the one before is on its way to others.
///
/// A piece is of as many tokens as fill whole frames; the rows that every member computes go with the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    class: usize,
    tokens: usize,
    size: usize,
}

impl Pieces {
    /// Those of `tokens` own tokens behind `class` rows that every member computes, where `frame` tokens fill a frame.
    pub fn new(class: usize, tokens: usize, frame: usize) -> Self {
        let frame = frame.max(1);
        let frames = ((TOKENS + frame / 2) / frame).max(1);
        Self {
            class,
            tokens,
            size: frames * frame,
        }
    }

    /// All rows in one.
    pub fn one(class: usize, tokens: usize) -> Self {
        Self {
            class,
            tokens,
            size: tokens.max(1),
        }
    }

    /// Whether several are worth it where so much of a request in one piece was spent waiting.
    pub fn are_worth_it(waited: f64, of: f64) -> bool {
        waited > WORTH * of
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tokens.div_ceil(self.size).max(1)
    }

    /// Rows of a piece; none where there is no such piece.
    pub fn rows(&self, piece: usize) -> Range<usize> {
        let first = if piece == 0 { 0 } else { self.class };
        let tokens = self.tokens(piece);
        match piece < self.count() {
            true => tokens.start + first..tokens.end + self.class,
            false => 0..0,
        }
    }

    /// Own tokens of a piece, from 0.
    pub fn tokens(&self, piece: usize) -> Range<usize> {
        let token = |piece: usize| (piece * self.size).min(self.tokens);
        token(piece)..token(piece + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_piece_and_every_token() {
        for (class, frame) in [(0, 1), (1, 58), (4, 29), (1, 500)] {
            for tokens in 0..400 {
                let pieces = Pieces::new(class, tokens, frame);
                let each = || 0..pieces.count();
                let rows: Vec<usize> = each().flat_map(|piece| pieces.rows(piece)).collect();
                assert!(rows.iter().copied().eq(0..class + tokens), "{pieces:?}");
                let own: Vec<usize> = each().flat_map(|piece| pieces.tokens(piece)).collect();
                assert!(own.iter().copied().eq(0..tokens), "{pieces:?}");
                assert!(pieces.rows(pieces.count()).is_empty());
            }
        }
    }

    #[test]
    fn pieces_fill_frames() {
        for frame in [1, 7, 29, 58, 80] {
            let pieces = Pieces::new(1, 342, frame);
            for piece in 0..pieces.count() - 1 {
                let tokens = pieces.tokens(piece).len();
                assert_eq!(tokens % frame, 0);
                assert!((96..=192).contains(&tokens), "{frame}: {pieces:?}");
            }
        }
    }
}
