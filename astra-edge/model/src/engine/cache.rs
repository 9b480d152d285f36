//! Keys and values of a text's tokens, which grow in place.

use ort::value::Tensor;

use super::EngineError;
use super::buffers::zeros;
use super::error::{part, part_mut};

/// Room is made for a multiple of so many tokens.
const STEP: usize = 128;

/// Keys and values of every block: [1, K, C, d] each, with K heads and room for C tokens. Keys are rotated.
pub(super) struct Cache {
    pub(super) blocks: Vec<CachedBlock>,
    heads: usize,
    width: usize,
    capacity: usize,
    /// The tokens whose keys and values are there.
    tokens: Vec<u32>,
}

pub(super) struct CachedBlock {
    pub(super) keys: Tensor<f32>,
    pub(super) values: Tensor<f32>,
}

impl Cache {
    /// Without room for `blocks` blocks of `heads` heads of keys, `width` wide.
    pub(super) fn new(blocks: usize, heads: usize, width: usize) -> Result<Self, EngineError> {
        Ok(Self {
            blocks: (0..blocks)
                .map(|_| CachedBlock::new(heads, 0, width))
                .collect::<Result<_, _>>()?,
            heads,
            width,
            capacity: 0,
            tokens: Vec::new(),
        })
    }

    /// The tokens that are there.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets all but the first `length` tokens.
    pub(super) fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
    }

    /// Notes that keys and values of these tokens were written behind those there are.
    pub(super) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Makes room for `length` tokens; says whether tensors were replaced. Room at least doubles, up to `most`, so that a long
    /// generation moves its cache a few times only.
    pub(super) fn reserve(&mut self, length: usize, most: usize) -> Result<bool, EngineError> {
        if length <= self.capacity {
            return Ok(false);
        }
        let wanted = length.max((2 * self.capacity).min(most));
        let capacity = wanted.next_multiple_of(STEP);
        for block in &mut self.blocks {
            let mut larger = CachedBlock::new(self.heads, capacity, self.width)?;
            let kept = self.tokens.len() * self.width;
            for (old, new) in [
                (&block.keys, &mut larger.keys),
                (&block.values, &mut larger.values),
            ] {
                let old = old.extract_tensor().1;
                let new = new.extract_tensor_mut().1;
                let from = old.chunks_exact((self.capacity * self.width).max(1));
                for (from, to) in from.zip(new.chunks_exact_mut(capacity * self.width)) {
                    part_mut("larger cache", to, 0..kept)?.copy_from_slice(part(
                        "cache",
                        from,
                        0..kept,
                    )?);
                }
            }
            *block = larger;
        }
        self.tokens.reserve_exact(capacity - self.tokens.len());
        self.capacity = capacity;
        Ok(true)
    }

    /// Writes keys and values of a block, [rows, K * d] each, from the first token on. [`extend`](Self::extend) names the
    /// tokens once all blocks are there.
    pub(super) fn fill(
        &mut self,
        block: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), EngineError> {
        let row = self.heads * self.width;
        EngineError::length("values", values.len(), keys.len())?;
        let room = keys.len().min(self.capacity * row);
        EngineError::length("keys", keys.len(), room)?;
        let blocks = self.blocks.len();
        let cached = self.blocks.get_mut(block);
        let cached = cached.ok_or(EngineError::NoSuchBlock {
            found: block,
            blocks,
        })?;
        let head = (self.capacity * self.width).max(1);
        for (rows, place) in [(keys, &mut cached.keys), (values, &mut cached.values)] {
            let place = place.extract_tensor_mut().1;
            for (index, head) in place.chunks_exact_mut(head).enumerate() {
                let columns = index * self.width..(index + 1) * self.width;
                let rows = rows.chunks_exact(row.max(1));
                for (row, to) in rows.zip(head.chunks_exact_mut(self.width.max(1))) {
                    to.copy_from_slice(part("row of keys or values", row, columns.clone())?);
                }
            }
        }
        Ok(())
    }
}

impl CachedBlock {
    fn new(heads: usize, capacity: usize, width: usize) -> Result<Self, EngineError> {
        Ok(Self {
            keys: zeros([1, heads, capacity, width])?,
            values: zeros([1, heads, capacity, width])?,
        })
    }
}
