//! Buffers for a member's rows piece by piece, and their bindings to the part of a block that treats each row on its own.

use core::ops::Range;

use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::buffers::{Buffers, Sizes, zeros};
use super::error::{part, part_mut};
use super::{Codec, EngineError, Model, bind};
use crate::partition::Pieces;

/// The pieces of one token range at one rung.
pub(super) struct MemberPieces {
    one: Pieces,
    /// All rows where they lie, for each block.
    whole: Vec<IoBinding>,
    several: Pieces,
    divided: bool,
    /// For each number of rows that one of several pieces has: the first and the last may have others than those between.
    sets: Vec<Set>,
}

/// What `mlp` reads and writes.
pub(super) struct MlpRows<'a> {
    pub(super) attended: &'a Tensor<f32>,
    pub(super) x: &'a mut Tensor<f32>,
    pub(super) n: &'a mut Tensor<f32>,
    pub(super) y: &'a mut Tensor<f32>,
}

/// Copies of so many rows.
struct Set {
    count: usize,
    attended: Tensor<f32>,
    x: Tensor<f32>,
    n: Tensor<f32>,
    y: Tensor<f32>,
    /// For each block.
    bindings: Vec<IoBinding>,
}

impl MemberPieces {
    pub(super) fn new(
        model: &Model,
        codec: &Codec,
        sizes: &Sizes,
        buffers: &mut Buffers,
    ) -> Result<Self, EngineError> {
        let one = Pieces::one(sizes.class_tokens, sizes.tokens);
        let several = Pieces::new(sizes.class_tokens, sizes.tokens, codec.frame_tokens());
        let mut counts = Vec::new();
        if several.count() > 1 {
            counts.extend((0..several.count()).map(|piece| several.rows(piece).len()));
            counts.sort_unstable();
            counts.dedup();
        }
        let sets = counts
            .into_iter()
            .map(|count| Set::new(model, codec, sizes, count))
            .collect::<Result<_, _>>()?;
        let mut whole = MlpRows {
            attended: &buffers.attended,
            x: &mut buffers.x,
            n: &mut buffers.n,
            y: &mut buffers.y,
        };
        Ok(Self {
            whole: whole.bindings(model, codec)?,
            one,
            several,
            divided: false,
            sets,
        })
    }

    /// Whether to go through the rows in several pieces; in one to begin with.
    pub(super) fn divide(&mut self, divided: bool) {
        self.divided = divided && self.several.count() > 1;
    }

    /// Which rows they are.
    pub(super) fn pieces(&self) -> Pieces {
        if self.divided { self.several } else { self.one }
    }

    /// From x with attention's result on it to the next block's x, n and y, of one piece's rows.
    pub(super) fn run(
        &mut self,
        sessions: &mut [Session],
        (block, piece): (usize, usize),
        buffers: &mut Buffers,
    ) -> Result<(), EngineError> {
        if !self.divided {
            EngineError::length("piece", piece, 0)?;
            return bind::run_block(sessions, &self.whole, block, "mlp");
        }
        let rows = self.several.rows(piece);
        let set = self.sets.iter_mut().find(|set| set.count == rows.len());
        let set = set.ok_or(EngineError::Length {
            what: "pieces",
            found: piece + 1,
            expected: self.several.count(),
        })?;
        take(&mut set.attended, &buffers.attended, &rows)?;
        bind::run_block(sessions, &set.bindings, block, "mlp")?;
        put(&set.x, &mut buffers.x, &rows)?;
        put(&set.n, &mut buffers.n, &rows)?;
        put(&set.y, &mut buffers.y, &rows)?;
        Ok(())
    }
}

impl MlpRows<'_> {
    fn bindings(&mut self, model: &Model, codec: &Codec) -> Result<Vec<IoBinding>, EngineError> {
        let following = (1..codec.blocks()).map(Some).chain([None]);
        let bindings = model.mlp.iter().zip(following).map(|(session, next)| {
            let next = next.map(|block| codec.matrices(block)).transpose()?;
            bind::mlp(session, next, self)
        });
        bindings.collect()
    }
}

impl Set {
    fn new(model: &Model, codec: &Codec, sizes: &Sizes, count: usize) -> Result<Self, EngineError> {
        let wide = || zeros([count, sizes.hidden]);
        let mut set = Self {
            count,
            attended: wide()?,
            x: wide()?,
            n: wide()?,
            y: zeros([count, sizes.coded])?,
            bindings: Vec::new(),
        };
        let mut rows = MlpRows {
            attended: &set.attended,
            x: &mut set.x,
            n: &mut set.n,
            y: &mut set.y,
        };
        set.bindings = rows.bindings(model, codec)?;
        Ok(set)
    }
}

/// Copies the named rows of `all` into `own`.
fn take(own: &mut Tensor<f32>, all: &Tensor<f32>, rows: &Range<usize>) -> Result<(), EngineError> {
    let (_, own) = own.extract_tensor_mut();
    let from = values(own.len(), rows)?;
    own.copy_from_slice(part("rows", all.extract_tensor().1, from)?);
    Ok(())
}

/// Copies `own` to the named rows of `all`.
fn put(own: &Tensor<f32>, all: &mut Tensor<f32>, rows: &Range<usize>) -> Result<(), EngineError> {
    let (_, own) = own.extract_tensor();
    let to = values(own.len(), rows)?;
    part_mut("rows", all.extract_tensor_mut().1, to)?.copy_from_slice(own);
    Ok(())
}

/// Where the values of `rows` lie, which are `count` in all.
fn values(count: usize, rows: &Range<usize>) -> Result<Range<usize>, EngineError> {
    let width = count / rows.len().max(1);
    EngineError::length("values of a piece", count, width * rows.len())?;
    Ok(rows.start * width..rows.end * width)
}
