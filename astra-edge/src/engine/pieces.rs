//! Buffers for a member's rows piece by piece, and their bindings to the part of a block that treats each row on its own.

use core::ops::Range;

use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::buffers::{Buffers, Sizes, zeros};
use super::{Codec, EngineError, Model, bind};
use crate::plan::Pieces;

/// The pieces of one token range at one rung.
pub(super) struct MemberPieces {
    one: Pieces,
    several: Pieces,
    divided: bool,
    /// For each number of rows that a piece has: the first and the last may have others than those between.
    sets: Vec<Set>,
}

/// What `mlp` reads and writes, of so many rows.
pub(super) struct MlpRows {
    pub(super) attended: Tensor<f32>,
    pub(super) x: Tensor<f32>,
    pub(super) n: Tensor<f32>,
    pub(super) y: Tensor<f32>,
}

struct Set {
    count: usize,
    rows: MlpRows,
    /// For each block.
    bindings: Vec<IoBinding>,
}

impl MemberPieces {
    pub(super) fn new(model: &Model, codec: &Codec, sizes: &Sizes) -> Result<Self, EngineError> {
        let one = Pieces::one(sizes.class_tokens, sizes.tokens);
        let several = Pieces::new(sizes.class_tokens, sizes.tokens, codec.frame_tokens());
        let rows = (0..several.count()).map(|piece| several.rows(piece).len());
        let mut counts: Vec<usize> = rows.chain([sizes.rows()]).collect();
        counts.sort_unstable();
        counts.dedup();
        let sets = counts
            .into_iter()
            .map(|count| Set::new(model, codec, sizes, count))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            one,
            several,
            divided: false,
            sets,
        })
    }

    /// Whether to go through the rows in several pieces; in one to begin with.
    pub(super) fn divide(&mut self, divided: bool) {
        self.divided = divided;
    }

    /// Which rows they are.
    pub(super) fn pieces(&self) -> Pieces {
        if self.divided { self.several } else { self.one }
    }

    /// From x with attention's result on it to the next block's x, n and y, of one piece's rows.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        (block, piece): (usize, usize),
        buffers: &mut Buffers,
    ) -> Result<(), EngineError> {
        let pieces = self.pieces();
        let rows = pieces.rows(piece);
        let mut sets = self.sets.iter_mut();
        let set = sets.find(|set| set.count == rows.len() && piece < pieces.count());
        let set = set.ok_or(EngineError::Length {
            what: "pieces",
            found: piece + 1,
            expected: pieces.count(),
        })?;
        let binding = set.bindings.get(block).ok_or(EngineError::NoSuchBlock {
            found: block,
            blocks: set.bindings.len(),
        })?;
        let own = &mut set.rows;
        take(&mut own.attended, &buffers.attended, &rows);
        session
            .run_binding(binding)
            .map(drop)
            .map_err(EngineError::run("mlp"))?;
        put(&own.x, &mut buffers.x, &rows);
        put(&own.n, &mut buffers.n, &rows);
        put(&own.y, &mut buffers.y, &rows);
        Ok(())
    }
}

impl Set {
    fn new(model: &Model, codec: &Codec, sizes: &Sizes, count: usize) -> Result<Self, EngineError> {
        let wide = || zeros([count, sizes.hidden]);
        let mut rows = MlpRows {
            attended: wide()?,
            x: wide()?,
            n: wide()?,
            y: zeros([count, sizes.coded])?,
        };
        let following = (1..codec.blocks()).map(Some).chain([None]);
        let bindings = model.mlp.iter().zip(following).map(|(session, next)| {
            let next = next.map(|block| codec.matrices(block)).transpose()?;
            bind::mlp(session, next, &mut rows)
        });
        Ok(Self {
            bindings: bindings.collect::<Result<_, _>>()?,
            rows,
            count,
        })
    }
}

/// Copies the named rows of `all` into `own`.
fn take(own: &mut Tensor<f32>, all: &Tensor<f32>, rows: &Range<usize>) {
    let (_, own) = own.extract_tensor_mut();
    let from = values(own.len(), rows);
    if let Some(all) = all.extract_tensor().1.get(from) {
        own.copy_from_slice(all);
    }
}

/// Copies `own` to the named rows of `all`.
fn put(own: &Tensor<f32>, all: &mut Tensor<f32>, rows: &Range<usize>) {
    let (_, own) = own.extract_tensor();
    let to = values(own.len(), rows);
    if let Some(all) = all.extract_tensor_mut().1.get_mut(to) {
        all.copy_from_slice(own);
    }
}

/// Where the values of `rows` lie, which are `count` in all.
fn values(count: usize, rows: &Range<usize>) -> Range<usize> {
    let width = count / rows.len().max(1);
    rows.start * width..rows.end * width
}
