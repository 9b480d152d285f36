//! The parts of a block as they lie in the file.

use super::{CodebookView, Layout, MeanView, StageLayout, StageView};
use crate::checks::require;
use crate::error::Invalid;
use crate::float16;
use crate::layout::ALIGN;

/// Most bits of an axis of a mean.
const MAX_MEAN_BITS: u16 = 8;

/// A block in its stored types: words are bits of float16. Without a second stage, its parts are empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredBlock<'a> {
    pub(super) perm: &'a [u16],
    pub(super) dims: &'a [u16],
    pub(super) words: &'a [u16],
    pub(super) dims2: &'a [u16],
    pub(super) mean_bits: &'a [u16],
    pub(super) mean_steps: &'a [u16],
    pub(super) words2: &'a [u16],
}

impl<'a> StoredBlock<'a> {
    /// Finds the parts of a block in its bytes; `None` if they are too few or not aligned in memory.
    pub(crate) fn parse(block: &'a [u8], layout: Layout) -> Option<Self> {
        let second = layout.second.unwrap_or(StageLayout {
            groups: 0,
            words: 0,
        });
        let mut rest = Parts(block);
        let perm = rest.next(layout.rank)?;
        let dims = rest.next(layout.first.groups)?;
        let dims2 = rest.next(second.groups)?;
        let axes = if layout.mean { layout.rank } else { 0 };
        let (mean_bits, mean_steps) = (rest.next(axes)?, rest.next(axes)?);
        rest.skip_padding(layout.head_bytes())?;
        let words = rest.next(layout.rank.checked_mul(layout.first.words)?)?;
        rest.skip_padding(layout.word_bytes(layout.first))?;
        let words2 = rest.next(layout.rank.checked_mul(second.words)?)?;
        Some(Self {
            perm,
            dims,
            words,
            dims2,
            mean_bits,
            mean_steps,
            words2,
        })
    }

    /// Checks everything that a kernel relies on. `at` names the place for the error.
    pub(crate) fn check(&self, at: &str, basis_rank: usize) -> Result<(), Invalid> {
        self.check_perm(at, basis_rank)?;
        self.check_dims(&format!("{at}dims"), self.dims)?;
        if !self.words2.is_empty() || !self.dims2.is_empty() {
            self.check_dims(&format!("{at}dims2"), self.dims2)?;
        }
        self.check_mean(at)?;
        for (name, words) in [("words", self.words), ("words2", self.words2)] {
            if let Some(word) = float16::first_infinite(words) {
                return Err(Invalid::new(format!("{at}{name}"), word, "finite numbers"));
            }
        }
        Ok(())
    }

    fn check_perm(&self, at: &str, basis_rank: usize) -> Result<(), Invalid> {
        let mut seen = vec![false; basis_rank];
        for (i, axis) in self.perm.iter().enumerate() {
            match seen.get_mut(usize::from(*axis)) {
                Some(seen) if !*seen => *seen = true,
                taken => {
                    let again = if taken.is_some() { " again" } else { "" };
                    return Err(Invalid::new(
                        format!("{at}perm[{i}]"),
                        format!("{axis}{again}"),
                        format!("another axis for every position, below {basis_rank}"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_mean(&self, at: &str) -> Result<(), Invalid> {
        let axes = self.mean_bits.iter().zip(self.mean_steps);
        for (axis, (&bits, &step)) in axes.enumerate() {
            if bits > MAX_MEAN_BITS {
                let expected = format!("at most {MAX_MEAN_BITS}");
                return Err(Invalid::new(
                    format!("{at}mean_bits[{axis}]"),
                    bits,
                    expected,
                ));
            }
            // Of float16, positive finite numbers are those of bits 1 to 0x7bff.
            if bits > 0 && !(1..0x7c00).contains(&step) {
                let found = float16::decode(&[step]);
                let field = format!("{at}mean_steps[{axis}]");
                return Err(Invalid::new(
                    field,
                    format!("{found:?}"),
                    "a positive number",
                ));
            }
        }
        Ok(())
    }

    /// Checks that the bits of a frame's mean are those of the manifest.
    pub(crate) fn check_mean_bits(&self, at: &str, expected: usize) -> Result<(), Invalid> {
        let found: usize = self.mean_bits.iter().map(|&bits| usize::from(bits)).sum();
        require(found == expected, format!("{at}mean_bits"), found, expected)
    }

    fn check_dims(&self, field: &str, dims: &[u16]) -> Result<(), Invalid> {
        let sum: usize = dims.iter().map(|dim| usize::from(*dim)).sum();
        if !dims.contains(&0) && sum == self.perm.len() {
            return Ok(());
        }
        Err(Invalid::new(
            field,
            format!("{dims:?}"),
            format!("numbers above 0 with the sum {}", self.perm.len()),
        ))
    }

    /// Checks that `block`, in which the parts were found, holds zeros between them. Two layouts can have the same size; read
    /// with the wrong one, parts of the other show up here.
    pub(crate) fn check_padding(&self, at: &str, block: &[u8]) -> Result<(), Invalid> {
        let align = |bytes: usize| bytes.next_multiple_of(ALIGN as usize);
        let parts = [
            self.perm,
            self.dims,
            self.dims2,
            self.mean_bits,
            self.mean_steps,
        ];
        let head = parts.map(size_of_val).into_iter().sum();
        let words = align(head) + size_of_val(self.words);
        let words2 = align(words) + size_of_val(self.words2);
        let gaps = [
            block.get(head..align(head)),
            block.get(words..align(words)),
            block.get(words2..),
        ];
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

    /// With words as float32.
    pub(crate) fn view(&self) -> CodebookView<'a> {
        let stage = |dims, words: &[u16]| StageView {
            dims,
            words: float16::decode(words).into(),
        };
        CodebookView {
            perm: self.perm,
            first: stage(self.dims, self.words),
            second: (!self.dims2.is_empty()).then(|| stage(self.dims2, self.words2)),
            mean: (!self.mean_bits.is_empty()).then(|| MeanView {
                // Checked to be at most 8.
                bits: self.mean_bits.iter().map(|&bits| bits as u8).collect(),
                steps: float16::decode(self.mean_steps).into(),
            }),
        }
    }

    /// The bytes of the block, padding included.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let parts = [
            &[
                self.perm,
                self.dims,
                self.dims2,
                self.mean_bits,
                self.mean_steps,
            ][..],
            &[self.words],
            &[self.words2],
        ];
        for part in parts {
            for values in part {
                bytes.extend_from_slice(bytemuck::cast_slice(values));
            }
            bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
        }
        bytes
    }
}

/// What is left of a block to be read.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self, values: usize) -> Option<&'a [u16]> {
        let (part, rest) = self.0.split_at_checked(values.checked_mul(2)?)?;
        self.0 = rest;
        bytemuck::try_cast_slice(part).ok()
    }

    /// Skips what lies between the `read` bytes of a part and the next multiple of [`ALIGN`].
    fn skip_padding(&mut self, read: u64) -> Option<()> {
        let padding = read.checked_next_multiple_of(ALIGN)?.checked_sub(read)?;
        self.0 = self.0.get(usize::try_from(padding).ok()?..)?;
        Some(())
    }
}
