//! The codebook of a block at one rung, with lengths checked once for the kernels.

use crate::word::Word;
use crate::{CodebookError, LengthError, kernel};

/// Borrowed codebook of one block at one rung: `G` groups of `K` codewords, rank `R`.
#[derive(Clone, Copy, Debug)]
pub struct Codebook<'a> {
    dims: &'a [u16],
    words: usize,
    rank: usize,
    dim_major: &'a [f32],
    word_major: &'a [f32],
    half_norms: &'a [f32],
}

/// Sizes that follow from the group sizes and the number of codewords.
pub(crate) struct Shape {
    pub(crate) rank: usize,
    /// Numbers in a table of codewords, `R * K`.
    pub(crate) table: usize,
    /// Numbers in the table of half norms, `G * K`.
    pub(crate) norms: usize,
}

pub(crate) fn check_shape(dims: &[u16], words: usize) -> Result<Shape, CodebookError> {
    if dims.is_empty() {
        return Err(CodebookError::NoGroups);
    }
    if let Some(group) = dims.iter().position(|&dim| dim == 0) {
        return Err(CodebookError::EmptyGroup { group });
    }
    if !words.is_power_of_two() || !(2..=1 << 16).contains(&words) {
        return Err(CodebookError::Words { found: words });
    }
    let too_large = CodebookError::TooLarge;
    let rank = dims
        .iter()
        .try_fold(0_usize, |sum, &dim| sum.checked_add(usize::from(dim)))
        .ok_or(too_large)?;
    let table = rank.checked_mul(words).ok_or(too_large)?;
    let norms = dims.len().checked_mul(words).ok_or(too_large)?;
    Ok(Shape { rank, table, norms })
}

pub(crate) fn check_length(
    table: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), CodebookError> {
    if found == expected {
        return Ok(());
    }
    Err(CodebookError::Length {
        table,
        found,
        expected,
    })
}

impl<'a> Codebook<'a> {
    /// Borrows a codebook.
    ///
    /// - `dims`: `[G]` axes per group; the groups' axes are contiguous in `y`.
    /// - `words`: `K`, codewords per group, a power of two from 2 to 65536.
    /// - `dim_major`: `[d_g][K]` per group, groups one after another, `R * K` numbers.
    /// - `word_major`: `[K][d_g]` per group, the same numbers (see [`word_major`](crate::word_major)).
    /// - `half_norms`: `[G][K]`, half the squared length of each codeword (see
    ///   [`half_norms`](crate::half_norms)).
    ///
    /// # Errors
    /// A group is empty, `words` is out of range, or a table does not have its length. The
    /// caller must ensure that the three tables hold the same codewords.
    pub fn new(
        dims: &'a [u16],
        words: usize,
        dim_major: &'a [f32],
        word_major: &'a [f32],
        half_norms: &'a [f32],
    ) -> Result<Self, CodebookError> {
        let shape = check_shape(dims, words)?;
        check_length("dim_major", dim_major.len(), shape.table)?;
        check_length("word_major", word_major.len(), shape.table)?;
        check_length("half_norms", half_norms.len(), shape.norms)?;
        Ok(Self {
            dims,
            words,
            rank: shape.rank,
            dim_major,
            word_major,
            half_norms,
        })
    }

    /// Axes of each group, `[G]`.
    pub fn dims(&self) -> &'a [u16] {
        self.dims
    }

    /// Groups, `G`: codes per token.
    pub fn groups(&self) -> usize {
        self.dims.len()
    }

    /// Codewords per group, `K`.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Axes of `y`, `R`: the sum of the groups' sizes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Bits per code, `log2 K`, from 1 to 16.
    pub fn code_bits(&self) -> u32 {
        self.words.trailing_zeros()
    }

    /// Writes the nearest codewords of `y`, `[tokens][R]`, to `codes`, `[tokens][G]`.
    ///
    /// # Errors
    /// The buffers do not hold the same whole number of tokens; `codes` is then untouched.
    pub fn encode(&self, y: &[f32], codes: &mut [u16]) -> Result<(), LengthError> {
        self.check_tokens(y.len(), codes.len())?;
        let tables = kernel::Tables {
            dims: self.dims,
            words: self.words,
            rank: self.rank,
            dim_major: self.dim_major,
            word_major: self.word_major,
            half_norms: self.half_norms,
        };
        kernel::encode(tables, y, codes);
        Ok(())
    }

    /// Writes the codewords of `codes`, `[tokens][G]`, to `y`, `[tokens][R]`.
    ///
    /// Only the lowest `log2 K` bits of a code are used, as only these are sent.
    ///
    /// # Errors
    /// The buffers do not hold the same whole number of tokens; `y` is then untouched.
    pub fn decode(&self, codes: &[u16], y: &mut [f32]) -> Result<(), LengthError> {
        self.check_tokens(y.len(), codes.len())?;
        let tokens = codes.chunks_exact(self.groups());
        for (codes, y) in tokens.zip(y.chunks_exact_mut(self.rank)) {
            self.decode_token(codes.iter().map(|&code| u32::from(code)), y)?;
        }
        Ok(())
    }

    /// Writes one token, `[R]`, from the next `G` codes of an iterator.
    ///
    /// Takes at most `G` codes, so that an iterator passed by reference continues with the next
    /// token. Only the lowest `log2 K` bits of a code are used.
    ///
    /// # Errors
    /// `y` is not one token long (no code is then taken), or there are too few codes (the groups before are
    /// then written).
    pub fn decode_token(
        &self,
        codes: impl IntoIterator<Item = u32>,
        y: &mut [f32],
    ) -> Result<(), LengthError> {
        self.apply(Word::Write, codes, y)
    }

    /// Adds the codewords of one token to `y`, `[R]`: the second of two stages.
    ///
    /// # Errors
    /// As for [`decode_token`](Self::decode_token).
    pub fn add_token(
        &self,
        codes: impl IntoIterator<Item = u32>,
        y: &mut [f32],
    ) -> Result<(), LengthError> {
        self.apply(Word::Add, codes, y)
    }

    /// Replaces `y`, `[tokens][R]`, by the difference to the codewords of `codes`, `[tokens][G]`,
    /// and writes the squared length of each token's difference to `errors`, `[tokens]`.
    ///
    /// Only the lowest `log2 K` bits of a code are used. The squared length is summed in single precision, in
    /// an order that depends only on R.
    ///
    /// # Errors
    /// The buffers do not hold the same whole number of tokens; `y` and `errors` are then untouched.
    pub fn residual(
        &self,
        codes: &[u16],
        y: &mut [f32],
        errors: &mut [f32],
    ) -> Result<(), LengthError> {
        let tokens = self.check_tokens(y.len(), codes.len())?;
        if errors.len() != tokens {
            return Err(LengthError::Buffer {
                buffer: "errors",
                found: errors.len(),
                expected: tokens,
            });
        }
        let tokens = codes.chunks_exact(self.groups());
        for ((codes, y), error) in tokens.zip(y.chunks_exact_mut(self.rank)).zip(errors) {
            self.apply(Word::Subtract, codes.iter().map(|&code| u32::from(code)), y)?;
            *error = squared_length(y);
        }
        Ok(())
    }

    /// Writes, adds or subtracts the codewords of one token. Inlined where `how` is a constant.
    #[inline(always)]
    fn apply(
        &self,
        how: Word,
        codes: impl IntoIterator<Item = u32>,
        y: &mut [f32],
    ) -> Result<(), LengthError> {
        if y.len() != self.rank {
            return Err(LengthError::OneToken {
                found: y.len(),
                expected: self.rank,
            });
        }
        let mut codes = codes.into_iter();
        let (mut table, mut rest) = (self.word_major, y);
        for (group, &dim) in self.dims.iter().enumerate() {
            let dim = usize::from(dim);
            let code = codes.next().ok_or(LengthError::CodesEnded {
                found: group,
                expected: self.groups(),
            })?;
            let word = code as usize & (self.words - 1);
            let (words, other_words) = table.split_at(dim * self.words);
            let (axes, other_axes) = rest.split_at_mut(dim);
            if let Some(word) = words.get(word * dim..(word + 1) * dim) {
                how.apply(word, axes);
            }
            (table, rest) = (other_words, other_axes);
        }
        Ok(())
    }

    /// The number of tokens in buffers of these lengths.
    fn check_tokens(&self, y: usize, codes: usize) -> Result<usize, LengthError> {
        let whole = |buffer, found: usize, per_token: usize| {
            if found.is_multiple_of(per_token) {
                return Ok(found / per_token);
            }
            Err(LengthError::PartialToken {
                buffer,
                found,
                per_token,
            })
        };
        let y = whole("y", y, self.rank)?;
        let codes = whole("codes", codes, self.groups())?;
        if y == codes {
            Ok(y)
        } else {
            Err(LengthError::Tokens { y, codes })
        }
    }
}

/// Sum of squares, in lanes that the compiler vectorises.
#[inline]
fn squared_length(y: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (chunks, rest) = y.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, y) in sums.iter_mut().zip(chunk) {
            *sum += y * y;
        }
    }
    for (sum, y) in sums.iter_mut().zip(rest) {
        *sum += y * y;
    }
    sums.into_iter().sum()
}
