//! The MLP of a block over all of a member's rows at once, or chunk by chunk so that codes of one chunk are sent while the next is
//! computed.

use core::ops::Range;

use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::buffers::{Buffers, MlpBuffers, Sizes, encoder_input};
use super::error::{slice, slice_mut};
use super::per_block::PerBlock;
use super::tensors::zeros;
use super::{Codec, EngineError, Model, bind};
use crate::partition::RowChunks;

/// `mlp` for one token range at one rung.
pub(super) struct Mlp {
    single: RowChunks,
    /// Of the member's buffers, for each block.
    bindings: Vec<IoBinding>,
    several: RowChunks,
    is_chunked: bool,
    /// For each size a chunk has: the first and the last may differ from those between.
    chunks: Vec<ChunkBuffers>,
}

/// Buffers of a chunk, which its rows are copied to and from.
struct ChunkBuffers {
    rows: usize,
    attended: Tensor<f32>,
    x: Tensor<f32>,
    n: Tensor<f32>,
    y: PerBlock,
    /// For each block.
    bindings: Vec<IoBinding>,
}

impl Mlp {
    pub(super) fn new(
        model: &Model,
        codec: &Codec,
        sizes: &Sizes,
        buffers: &mut Buffers,
    ) -> Result<Self, EngineError> {
        let single = RowChunks::single(sizes.class_tokens, sizes.tokens);
        let several = RowChunks::new(sizes.class_tokens, sizes.tokens, codec.frame_tokens());
        let mut lengths = Vec::new();
        if several.count() > 1 {
            lengths.extend((0..several.count()).map(|chunk| several.rows(chunk).len()));
            lengths.sort_unstable();
            lengths.dedup();
        }
        let chunks = lengths
            .into_iter()
            .map(|rows| ChunkBuffers::new(model, codec, sizes, rows))
            .collect::<Result<_, _>>()?;
        let mut buffers = MlpBuffers {
            attended: &buffers.attended,
            x: &mut buffers.x,
            n: &mut buffers.n,
            y: &mut buffers.y,
        };
        Ok(Self {
            bindings: bindings(&mut buffers, model, codec)?,
            single,
            several,
            is_chunked: false,
            chunks,
        })
    }

    /// Sets whether the rows are computed in several chunks, where there are rows enough; at first they are not.
    pub(super) fn set_chunked(&mut self, chunked: bool) {
        self.is_chunked = chunked && self.several.count() > 1;
    }

    /// The chunks in which the rows are computed.
    pub(super) fn chunks(&self) -> RowChunks {
        if self.is_chunked {
            self.several
        } else {
            self.single
        }
    }

    /// Computes the next block's x, n and y for the rows of one chunk, from x after attention.
    pub(super) fn run(
        &mut self,
        sessions: &mut [Session],
        (block, chunk): (usize, usize),
        buffers: &mut Buffers,
    ) -> Result<(), EngineError> {
        if !self.is_chunked {
            EngineError::length("chunk", chunk, 0)?;
            return bind::run_block(sessions, &self.bindings, block, "mlp");
        }
        let rows = self.several.rows(chunk);
        let copy = self.chunks.iter_mut().find(|copy| copy.rows == rows.len());
        let copy = copy.ok_or(EngineError::Length {
            what: "chunks",
            found: chunk + 1,
            expected: self.several.count(),
        })?;
        copy_in(&mut copy.attended, &buffers.attended, &rows)?;
        bind::run_block(sessions, &copy.bindings, block, "mlp")?;
        copy_out(&copy.x, &mut buffers.x, &rows)?;
        copy_out(&copy.n, &mut buffers.n, &rows)?;
        // After the last block nothing is encoded.
        match block + 1 < self.bindings.len() {
            true => copy_out(copy.y.get(block + 1)?, buffers.y.get_mut(block + 1)?, &rows),
            false => Ok(()),
        }
    }
}

/// A binding of the same buffers for each block.
fn bindings(
    buffers: &mut MlpBuffers<'_>,
    model: &Model,
    codec: &Codec,
) -> Result<Vec<IoBinding>, EngineError> {
    let following = (1..codec.blocks()).map(Some).chain([None]);
    let bindings = model.mlp.iter().zip(following).map(|(session, next)| {
        let next = next.map(|block| Ok::<_, EngineError>((block, codec.matrices(block)?)));
        let next = next.transpose()?;
        bind::mlp(session, next, buffers)
    });
    bindings.collect()
}

impl ChunkBuffers {
    fn new(model: &Model, codec: &Codec, sizes: &Sizes, rows: usize) -> Result<Self, EngineError> {
        let hidden = || zeros([rows, sizes.hidden]);
        let mut chunk = Self {
            rows,
            attended: hidden()?,
            x: hidden()?,
            n: hidden()?,
            y: encoder_input(codec, rows)?,
            bindings: Vec::new(),
        };
        let mut buffers = MlpBuffers {
            attended: &chunk.attended,
            x: &mut chunk.x,
            n: &mut chunk.n,
            y: &mut chunk.y,
        };
        chunk.bindings = bindings(&mut buffers, model, codec)?;
        Ok(chunk)
    }
}

/// Copies `rows` of `all` to `chunk`.
fn copy_in(
    chunk: &mut Tensor<f32>,
    all: &Tensor<f32>,
    rows: &Range<usize>,
) -> Result<(), EngineError> {
    let (_, chunk) = chunk.extract_tensor_mut();
    let from = entries(chunk.len(), rows)?;
    chunk.copy_from_slice(slice("rows", all.extract_tensor().1, from)?);
    Ok(())
}

/// Copies `chunk` to `rows` of `all`.
fn copy_out(
    chunk: &Tensor<f32>,
    all: &mut Tensor<f32>,
    rows: &Range<usize>,
) -> Result<(), EngineError> {
    let (_, chunk) = chunk.extract_tensor();
    let to = entries(chunk.len(), rows)?;
    slice_mut("rows", all.extract_tensor_mut().1, to)?.copy_from_slice(chunk);
    Ok(())
}

/// Entries of the full buffer that `rows` occupy, of which there are `count`.
fn entries(count: usize, rows: &Range<usize>) -> Result<Range<usize>, EngineError> {
    let width = count / rows.len().max(1);
    EngineError::length("values of a chunk", count, width * rows.len())?;
    Ok(rows.start * width..rows.end * width)
}
