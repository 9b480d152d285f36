//! Llama out of the tensors of any file.

use super::Mismatch;
use super::sides::{MAX_SIDE, MAX_VOCAB, check_layers, check_sides};
use super::tensors::Tensors;
use crate::family::decoder::HEAD_MULTIPLE;
use crate::family::llama::{LlamaBlock, LlamaModel, rope_frequencies};
use crate::family::weights::Linear;

/// What a file says of the dimensions.
#[derive(Debug, Clone)]
pub(super) struct Dimensions {
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) mlp: usize,
    pub(super) vocab: usize,
    pub(super) rope_base: f64,
    pub(super) epsilon: f32,
}

/// What tensors are called, without `.weight` and `.bias`.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) embedding: &'static str,
    pub(super) norm: &'static str,
    pub(super) head: &'static str,
    /// Before the number of a layer.
    pub(super) layers: &'static str,
    pub(super) norm1: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) output: &'static str,
    pub(super) norm2: &'static str,
    pub(super) gate: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

/// Which channels of a head are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairs {
    /// i and i + d / 2, as everywhere here.
    Halves,
    /// 2 i and 2 i + 1.
    Neighbours,
}

/// Reads a model.
pub(super) fn read(
    dims: &Dimensions,
    names: &Names,
    pairs: Pairs,
    tensors: &dyn Tensors,
) -> Result<LlamaModel, Mismatch> {
    dims.check()?;
    let reader = Reader {
        dims,
        names,
        pairs,
        tensors,
    };
    let blocks = (0..dims.layers).map(|number| reader.block(number));
    let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    let beyond = reader.layer(dims.layers, names.norm1);
    check_layers(tensors, dims.layers, &format!("{beyond}.weight"))?;
    let embedding = format!("{}.weight", names.embedding);
    let tied = !tensors.contains(&format!("{}.weight", names.head));
    let head = (!tied).then(|| tensors.linear(names.head, dims.hidden, dims.vocab));
    Ok(LlamaModel {
        hidden: dims.hidden,
        heads: dims.heads,
        kv_heads: dims.kv_heads,
        head_dim: dims.head_dim,
        vocab: dims.vocab,
        embedding_blocks: tensors
            .blocks(&embedding, [dims.vocab, dims.hidden])?
            .map(Box::new),
        embedding: tensors.values(&embedding, &[dims.vocab, dims.hidden])?,
        frequencies: rope_frequencies(dims.rope_base, dims.head_dim),
        blocks,
        norm: tensors.rms_norm(names.norm, dims.hidden, dims.epsilon)?,
        head: head.transpose()?,
    })
}

struct Reader<'a> {
    dims: &'a Dimensions,
    names: &'a Names,
    pairs: Pairs,
    tensors: &'a dyn Tensors,
}

impl Reader<'_> {
    fn layer(&self, number: usize, part: &str) -> String {
        format!("{}.{number}.{part}", self.names.layers)
    }

    fn block(&self, number: usize) -> Result<LlamaBlock, Mismatch> {
        let Dimensions {
            hidden,
            heads,
            kv_heads,
            head_dim,
            mlp,
            epsilon,
            ..
        } = *self.dims;
        let (queries, values) = (heads * head_dim, kv_heads * head_dim);
        let linear = |part, inputs, outputs| {
            let name = self.layer(number, part);
            self.tensors.linear(&name, inputs, outputs)
        };
        let norm = |part| {
            let name = self.layer(number, part);
            self.tensors.rms_norm(&name, hidden, epsilon)
        };
        let turned = |part, outputs| Ok(self.in_halves(linear(part, hidden, outputs)?));
        Ok(LlamaBlock {
            norm1: norm(self.names.norm1)?,
            query: turned(self.names.query, queries)?,
            key: turned(self.names.key, values)?,
            value: linear(self.names.value, hidden, values)?,
            output: linear(self.names.output, queries, hidden)?,
            norm2: norm(self.names.norm2)?,
            gate: linear(self.names.gate, hidden, mlp)?,
            up: linear(self.names.up, hidden, mlp)?,
            down: linear(self.names.down, mlp, hidden)?,
        })
    }

    /// The same map with the channels of each head in the order that halves are turned in.
    fn in_halves(&self, mut linear: Linear) -> Linear {
        if self.pairs == Pairs::Neighbours {
            let rows = linear.weight.chunks_mut(linear.outputs.max(1));
            rows.for_each(|row| halve(row, self.dims.head_dim));
            halve(&mut linear.bias, self.dims.head_dim);
            let mut order: Vec<usize> = (0..linear.outputs).collect();
            halve(&mut order, self.dims.head_dim);
            linear.blocks = linear
                .blocks
                .map(|blocks| Box::new(blocks.with_rows(&order)));
        }
        linear
    }
}

/// In each head, the even channels, then the odd ones.
fn halve<T: Copy>(row: &mut [T], head_dim: usize) {
    for head in row.chunks_mut(head_dim.max(1)) {
        let even = head.iter().step_by(2);
        let sorted: Vec<T> = even
            .chain(head.iter().skip(1).step_by(2))
            .copied()
            .collect();
        head.copy_from_slice(&sorted);
    }
}

/// Refuses heads of a width that the attention of the graphs does not take.
pub(super) fn check_head(head_dim: usize) -> Result<(), Mismatch> {
    if head_dim.is_multiple_of(HEAD_MULTIPLE) {
        return Ok(());
    }
    let expected = format!("a multiple of {HEAD_MULTIPLE}");
    Err(Mismatch::new("width of a head", head_dim, expected))
}

impl Dimensions {
    /// Refuses a model that is too large or whose heads do not fit.
    pub(super) fn check(&self) -> Result<(), Mismatch> {
        check_sides([
            ("hidden size", self.hidden, MAX_SIDE),
            ("number of layers", self.layers, MAX_SIDE),
            ("number of attention heads", self.heads, MAX_SIDE),
            ("number of key and value heads", self.kv_heads, MAX_SIDE),
            (
                "width of a head",
                self.head_dim,
                MAX_SIDE / self.heads.max(1),
            ),
            ("width of the MLP", self.mlp, MAX_SIDE),
            ("vocabulary size", self.vocab, MAX_VOCAB),
        ])?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of the {} heads", self.heads);
            let name = "number of key and value heads";
            return Err(Mismatch::new(name, self.kv_heads, expected));
        }
        check_head(self.head_dim)?;
        let base = self.rope_base;
        if !(base.is_finite() && base > 0.0) {
            return Err(Mismatch::new(
                "base of the rotary positions",
                base,
                "above 0",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_halves() {
        let mut row = [0., 1., 2., 3., 10., 11., 12., 13.];
        halve(&mut row, 4);
        assert_eq!(row, [0., 2., 1., 3., 10., 12., 11., 13.]);
    }
}
