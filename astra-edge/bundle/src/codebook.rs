//! The binary layout of `codebooks.bin`.
//!
//! ```text
//! 0    8         12                64
//! +----+---------+-----------------+----- rung, block 0 ---------------+----- block 1 --
//! |magic| version | zeros           | perm | dims | zeros | words | zeros | perm ...
//! +----+---------+-----------------+----------------------------------+----------------
//!                                   u16[R] u16[G] to 64   f32[R*K] to 64
//! ```

use crate::error::Invalid;
use crate::layout::{ALIGN, align_up};
use crate::manifest::Rung;

const MAGIC: &[u8; 8] = b"ASTRACB1";
const VERSION: u32 = 1;
/// Bytes before the first rung.
pub(crate) const HEADER_BYTES: usize = ALIGN as usize;

/// The codebooks of one rung in one block.
///
/// `y` is what the rung's basis makes of a token. Place i of the coded vector is axis `perm[i]` of `y`; the groups lie one
/// after another in it, group g being `dims[g]` places long. The words of a group are dimension-major, `[dims[g]][K]`, so that
/// a search runs over the words of one dimension at a time; the groups follow one another, R x K values in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodebookView<'a> {
    /// Axis of the basis at each place, R of them, all different.
    pub perm: &'a [u16],
    /// Places of each group, G of them, summing to R.
    pub dims: &'a [u16],
    /// Words, R x K.
    pub words: &'a [f32],
}

/// What decides the sizes: R, G and K. Within the ranges that a manifest is checked for (R and G at most 8,192, K at most
/// 65,536) no size overflows 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) rank: usize,
    pub(crate) groups: usize,
    pub(crate) words: usize,
}

impl Layout {
    /// That of a rung's codebooks.
    pub(crate) fn of(rung: &Rung) -> Self {
        Self {
            rank: rung.rank,
            groups: rung.groups,
            words: rung.words,
        }
    }

    fn words_offset(&self) -> u64 {
        let bytes = (self.rank as u64)
            .saturating_add(self.groups as u64)
            .saturating_mul(2);
        align_up(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes of one block.
    pub(crate) fn stride(&self) -> u64 {
        let bytes = (self.rank as u64)
            .saturating_mul(self.words as u64)
            .saturating_mul(4);
        let words = align_up(bytes).unwrap_or(u64::MAX);
        self.words_offset().saturating_add(words)
    }
}

/// The 64 bytes that every `codebooks.bin` starts with.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let fields = MAGIC.iter().copied().chain(VERSION.to_le_bytes());
    for (byte, value) in bytes.iter_mut().zip(fields) {
        *byte = value;
    }
    bytes
}

/// Checks the first 64 bytes of `codebooks.bin`.
pub(crate) fn check_header(file: &[u8]) -> Result<(), Invalid> {
    let found = file.get(..HEADER_BYTES).unwrap_or(file);
    if found == header() {
        return Ok(());
    }
    let found = found.get(..12).unwrap_or(found).escape_ascii();
    let expected = MAGIC.iter().copied().chain(VERSION.to_le_bytes());
    let expected: Vec<u8> = expected.collect();
    Err(Invalid::new(
        "header",
        format!("\"{found}\""),
        format!(
            "\"{}\" and zeros up to byte {HEADER_BYTES}",
            expected.escape_ascii()
        ),
    ))
}

impl<'a> CodebookView<'a> {
    /// Finds the parts of a block in its bytes; `None` if they are too few or not aligned in memory.
    pub(crate) fn parse(block: &'a [u8], layout: Layout) -> Option<Self> {
        let (head, words) = block.split_at_checked(usize::try_from(layout.words_offset()).ok()?)?;
        let (perm, rest) = head.split_at_checked(layout.rank.checked_mul(2)?)?;
        let dims = rest.get(..layout.groups.checked_mul(2)?)?;
        let words = words.get(..layout.rank.checked_mul(layout.words)?.checked_mul(4)?)?;
        Some(Self {
            perm: bytemuck::try_cast_slice(perm).ok()?,
            dims: bytemuck::try_cast_slice(dims).ok()?,
            words: bytemuck::try_cast_slice(words).ok()?,
        })
    }

    /// Checks that `block`, in which the view was found, holds zeros between the parts. Two layouts can have the same stride;
    /// read with the wrong one, parts of the other show up here.
    pub(crate) fn check_padding(&self, at: &str, block: &[u8]) -> Result<(), Invalid> {
        let head = size_of_val(self.perm) + size_of_val(self.dims);
        let words = head.next_multiple_of(ALIGN as usize);
        let end = words + size_of_val(self.words);
        let gaps = [block.get(head..words), block.get(end..)];
        match gaps
            .into_iter()
            .flatten()
            .flatten()
            .find(|byte| **byte != 0)
        {
            Some(byte) => Err(Invalid::new(
                format!("{at}padding"),
                format!("{byte:#04x}"),
                "zeros",
            )),
            None => Ok(()),
        }
    }

    /// R, G and K, or what makes the three slices disagree.
    pub(crate) fn layout(&self) -> Result<Layout, Invalid> {
        let (rank, groups) = (self.perm.len(), self.dims.len());
        let words = self.words.len().checked_div(rank).unwrap_or_default();
        if groups == 0 || words == 0 || !self.words.len().is_multiple_of(rank) {
            return Err(Invalid::new(
                "codebook",
                format!(
                    "{rank} axes, {groups} groups, {} word values",
                    self.words.len()
                ),
                "axes and groups, and the same number of word values an axis",
            ));
        }
        Ok(Layout {
            rank,
            groups,
            words,
        })
    }

    /// Checks everything that a kernel relies on. `at` names the place for the error.
    pub(crate) fn check(&self, at: &str, basis_rank: usize) -> Result<(), Invalid> {
        let mut seen = vec![false; basis_rank];
        for (i, axis) in self.perm.iter().enumerate() {
            match seen.get_mut(usize::from(*axis)) {
                Some(seen) if !*seen => *seen = true,
                taken => {
                    let again = if taken.is_some() { " again" } else { "" };
                    return Err(Invalid::new(
                        format!("{at}perm[{i}]"),
                        format!("{axis}{again}"),
                        format!("another axis for every place, below {basis_rank}"),
                    ));
                }
            }
        }
        let sum: usize = self.dims.iter().map(|dim| usize::from(*dim)).sum();
        if self.dims.contains(&0) || sum != self.perm.len() {
            return Err(Invalid::new(
                format!("{at}dims"),
                format!("{:?}", self.dims),
                format!("numbers above 0 with the sum {}", self.perm.len()),
            ));
        }
        if let Some(word) = self.words.iter().find(|word| !word.is_finite()) {
            return Err(Invalid::new(format!("{at}words"), word, "finite numbers"));
        }
        Ok(())
    }

    /// The bytes of the block, padding included.
    pub(crate) fn to_bytes(self, layout: Layout) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(bytemuck::cast_slice(self.perm));
        bytes.extend_from_slice(bytemuck::cast_slice(self.dims));
        pad(&mut bytes);
        bytes.extend_from_slice(bytemuck::cast_slice(self.words));
        pad(&mut bytes);
        debug_assert_eq!(bytes.len() as u64, layout.stride());
        bytes
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: CodebookView<'_> = CodebookView {
        perm: &[2, 0, 3],
        dims: &[1, 2],
        words: &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0],
    };

    #[test]
    fn bytes_of_a_block() {
        let layout = VIEW.layout().unwrap();
        assert_eq!(
            layout,
            Layout {
                rank: 3,
                groups: 2,
                words: 2
            }
        );
        let bytes = VIEW.to_bytes(layout);
        assert_eq!(bytes.len(), 128);
        assert_eq!(bytes[..6], [2, 0, 0, 0, 3, 0], "perm");
        assert_eq!(bytes[6..10], [1, 0, 2, 0], "dims");
        assert_eq!(bytes[10..64], [0; 54], "padding");
        assert_eq!(
            bytes[64..72],
            [0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xbf],
            "words 1, -1"
        );
        assert_eq!(bytes[88..], [0; 40], "padding");
        assert_eq!(layout.stride(), 128);
    }

    #[test]
    fn stride_is_what_is_written_at_every_border() {
        for (rank, groups, words) in [
            (1, 1, 2),
            (30, 2, 16),
            (31, 2, 16),
            (64, 64, 4),
            (192, 40, 256),
        ] {
            let layout = Layout {
                rank,
                groups,
                words,
            };
            let (perm, dims, words) = (vec![0; rank], vec![0; groups], vec![0.0; rank * words]);
            let view = CodebookView {
                perm: &perm,
                dims: &dims,
                words: &words,
            };
            assert_eq!(
                view.to_bytes(layout).len() as u64,
                layout.stride(),
                "{layout:?}"
            );
        }
    }

    #[test]
    fn refuses_what_a_kernel_could_not_use() {
        assert_eq!(VIEW.check("", 4), Ok(()));
        let found = |view: CodebookView<'_>, rank| {
            let invalid = view.check("", rank).unwrap_err();
            (invalid.field, invalid.found)
        };
        let pair = |field: &str, found: &str| (field.to_owned(), found.to_owned());
        assert_eq!(found(VIEW, 3), pair("perm[2]", "3"));
        assert_eq!(
            found(
                CodebookView {
                    perm: &[1, 0, 1],
                    ..VIEW
                },
                4
            ),
            pair("perm[2]", "1 again")
        );
        assert_eq!(
            found(
                CodebookView {
                    dims: &[3, 0],
                    ..VIEW
                },
                4
            ),
            pair("dims", "[3, 0]")
        );
        assert_eq!(
            found(
                CodebookView {
                    dims: &[2, 2],
                    ..VIEW
                },
                4
            ),
            pair("dims", "[2, 2]")
        );
        let words = &[0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(
            found(CodebookView { words, ..VIEW }, 4),
            pair("words", "NaN")
        );
    }

    #[test]
    fn padding_is_zero() {
        let layout = VIEW.layout().unwrap();
        let mut bytes = VIEW.to_bytes(layout);
        assert_eq!(VIEW.check_padding("", &bytes), Ok(()));
        for i in 0..bytes.len() {
            bytes[i] ^= 0x10;
            let padding = (10..64).contains(&i) || i >= 88;
            assert_eq!(VIEW.check_padding("", &bytes).is_err(), padding, "byte {i}");
            bytes[i] ^= 0x10;
        }
    }

    #[test]
    fn header_is_fixed() {
        let good = header();
        assert_eq!(&good[..12], b"ASTRACB1\x01\0\0\0");
        assert_eq!(check_header(&good), Ok(()));
        for i in 0..good.len() {
            let mut bad = good;
            bad[i] ^= 1;
            assert!(check_header(&bad).is_err(), "byte {i}");
            assert!(check_header(&good[..i]).is_err(), "{i} bytes");
        }
    }
}
