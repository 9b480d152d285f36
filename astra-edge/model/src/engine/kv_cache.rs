//! KV cache of a text, which grows as tokens are appended.

use ort::value::Tensor;

use super::EngineError;
use super::error::{slice, slice_mut};
use super::tensors::zeros;

/// The capacity is a multiple of this number of tokens.
const CAPACITY_STEP: usize = 128;

/// Keys and values of every block: [1, K, C, d] each, with K heads of keys and a capacity of C tokens. Keys are rotated.
pub(super) struct KvCache {
    pub(super) blocks: Vec<BlockCache>,
    heads: usize,
    width: usize,
    capacity: usize,
    /// Tokens whose keys and values are cached.
    tokens: Vec<u32>,
}

pub(super) struct BlockCache {
    pub(super) keys: Tensor<f32>,
    pub(super) values: Tensor<f32>,
}

impl KvCache {
    /// An empty cache without capacity, for `blocks` blocks of `heads` heads of keys, `width` wide.
    pub(super) fn new(blocks: usize, heads: usize, width: usize) -> Result<Self, EngineError> {
        Ok(Self {
            blocks: (0..blocks)
                .map(|_| BlockCache::new(heads, 0, width))
                .collect::<Result<_, _>>()?,
            heads,
            width,
            capacity: 0,
            tokens: Vec::new(),
        })
    }

    /// Tokens whose keys and values are cached.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Removes all but the first `length` tokens.
    pub(super) fn truncate(&mut self, length: usize) {
        self.tokens.truncate(length);
    }

    /// Appends tokens whose keys and values have been written after those in the cache.
    pub(super) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Grows the capacity to at least `length` tokens; returns whether tensors were replaced. It at least doubles, up to `limit`, so
    /// that a long generation copies its cache only a few times.
    pub(super) fn reserve(&mut self, length: usize, limit: usize) -> Result<bool, EngineError> {
        if length <= self.capacity {
            return Ok(false);
        }
        let wanted = length.max((2 * self.capacity).min(limit));
        let capacity = wanted.next_multiple_of(CAPACITY_STEP);
        for block in &mut self.blocks {
            let mut larger = BlockCache::new(self.heads, capacity, self.width)?;
            let kept = self.tokens.len() * self.width;
            for (old, new) in [
                (&block.keys, &mut larger.keys),
                (&block.values, &mut larger.values),
            ] {
                let old = old.extract_tensor().1;
                let new = new.extract_tensor_mut().1;
                let from = old.chunks_exact((self.capacity * self.width).max(1));
                for (from, to) in from.zip(new.chunks_exact_mut(capacity * self.width)) {
                    slice_mut("larger cache", to, 0..kept)?.copy_from_slice(slice(
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

    /// Writes keys and values of a block, [rows, K * d] each, from the first token on. Call [`extend`](Self::extend) with the tokens
    /// once all blocks are written.
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
        let block_cache = self.blocks.get_mut(block);
        let block_cache = block_cache.ok_or(EngineError::NoSuchBlock {
            found: block,
            blocks,
        })?;
        let head = (self.capacity * self.width).max(1);
        for (rows, tensor) in [
            (keys, &mut block_cache.keys),
            (values, &mut block_cache.values),
        ] {
            let tensor = tensor.extract_tensor_mut().1;
            for (index, head) in tensor.chunks_exact_mut(head).enumerate() {
                let columns = index * self.width..(index + 1) * self.width;
                let rows = rows.chunks_exact(row.max(1));
                for (row, to) in rows.zip(head.chunks_exact_mut(self.width.max(1))) {
                    to.copy_from_slice(slice("row of keys or values", row, columns.clone())?);
                }
            }
        }
        Ok(())
    }
}

impl BlockCache {
    fn new(heads: usize, capacity: usize, width: usize) -> Result<Self, EngineError> {
        Ok(Self {
            keys: zeros([1, heads, capacity, width])?,
            values: zeros([1, heads, capacity, width])?,
        })
    }
}
