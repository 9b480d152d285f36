//! A bundle's model in candle, as its graphs compute it.
//!
//! - `reader`: weights by the names that graphs give them
//! - `embedding`: inputs to rows
//! - `division`: which rows a member computes and attends to
//! - `attention`: softmax attention over own and remote rows

mod attention;
mod division;
mod embedding;
mod reader;

use astra_bundle::{Bundle, Family, Shape};
use candle_core::{Result, Tensor};

use super::TuneError;
use super::ops::{Activation, Linear, Norm};
use crate::family::{attend_name, local_name, mlp_name};
use embedding::Embedding;
use reader::GraphWeights;

pub(super) use attention::Remote;
pub(super) use division::Division;

/// A bundle's model, its weights constant.
#[derive(Debug)]
pub(super) struct Transformer {
    pub(super) shape: Shape,
    pub(super) causal: bool,
    embedding: Embedding,
    pub(super) blocks: Vec<Block>,
    /// Of the features, in models that normalize before each step.
    norm: Option<Norm>,
    rotary: Option<Rotary>,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Block {
    norm1: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm2: Norm,
    mlp: Mlp,
    /// Norms come after each step, not before.
    post_norm: bool,
}

#[derive(Debug)]
struct Mlp {
    gate: Option<Linear>,
    up: Linear,
    down: Linear,
    activation: Activation,
}

/// Tables of rotary positions, `[positions, head_dim / 2]`.
#[derive(Debug)]
struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Transformer {
    /// # Errors
    /// A graph or weight is missing or of another kind.
    pub(super) fn read(bundle: &Bundle) -> core::result::Result<Self, TuneError> {
        let manifest = bundle.manifest();
        if !manifest.matrices.is_empty() {
            let found = "some stored in blocks of 8 or 4 bits";
            let path = bundle.dir().join("manifest.json");
            let expected = "a bundle whose matrices are all float32";
            return Err(TuneError::mismatch(&path, "matrices", found, expected));
        }
        let (shape, family) = (manifest.shape, manifest.family);
        let embed = GraphWeights::open(bundle, "embed")?;
        let mut blocks = Vec::with_capacity(shape.blocks);
        let post_norm = family == Family::Bert;
        let mut next = match post_norm {
            true => None,
            false => Some(embed.norm("block_00.norm1")?),
        };
        for number in 0..shape.blocks {
            let local = GraphWeights::open(bundle, &local_name(number))?;
            let attend = GraphWeights::open(bundle, &attend_name(number))?;
            let mlp = GraphWeights::open(bundle, &mlp_name(number))?;
            let following = match post_norm {
                true => None,
                false => Some(mlp.norm("next_norm")?),
            };
            let before = std::mem::replace(&mut next, following);
            blocks.push(Block {
                norm1: match before {
                    Some(norm) => norm,
                    None => attend.norm("norm1")?,
                },
                query: local.linear("query")?,
                key: local.linear("key")?,
                value: local.linear("value")?,
                output: attend.linear("output")?,
                norm2: mlp.norm("norm2")?,
                mlp: Mlp::read(&mlp, family)?,
                post_norm,
            });
        }
        let local = GraphWeights::open(bundle, &local_name(0))?;
        let rotary = local.has("cos").then(|| {
            Ok::<_, TuneError>(Rotary {
                cos: local.tensor("cos")?,
                sin: local.tensor("sin")?,
            })
        });
        Ok(Self {
            shape,
            causal: family.is_causal(),
            embedding: Embedding::read(&embed, family)?,
            blocks,
            norm: next,
            rotary: rotary.transpose()?,
        })
    }

    /// Features of the rows after the last block.
    pub(super) fn features(&self, x: &Tensor) -> Result<Tensor> {
        match &self.norm {
            Some(norm) => norm.apply(x),
            None => Ok(x.clone()),
        }
    }
}

impl Mlp {
    fn read(graph: &GraphWeights<'_>, family: Family) -> core::result::Result<Self, TuneError> {
        let activation = match family {
            Family::Llama => Activation::Silu,
            Family::Gpt2 => Activation::TanhGelu,
            Family::Vit | Family::Bert => Activation::Gelu,
        };
        let gate = (family == Family::Llama).then(|| graph.linear("gate"));
        Ok(Self {
            gate: gate.transpose()?,
            up: graph.linear("up")?,
            down: graph.linear("down")?,
            activation,
        })
    }

    fn apply(&self, n: &Tensor) -> Result<Tensor> {
        let up = self.up.apply(n)?;
        let wide = match &self.gate {
            Some(gate) => (self.activation.apply(&gate.apply(n)?)? * up)?,
            None => self.activation.apply(&up)?,
        };
        self.down.apply(&wide)
    }
}

impl Block {
    /// Input of attention and of the codec, `[m, D]`.
    pub(super) fn normalized(&self, x: &Tensor) -> Result<Tensor> {
        match self.post_norm {
            true => Ok(x.clone()),
            false => self.norm1.apply(x),
        }
    }

    /// The rest of the block from what attention mixed, `[m, heads * head_dim]`.
    fn finish(&self, x: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let x = (x + self.output.apply(mixed)?)?;
        if self.post_norm {
            let x = self.norm1.apply(&x)?;
            return self.norm2.apply(&(&x + self.mlp.apply(&x)?)?);
        }
        &x + self.mlp.apply(&self.norm2.apply(&x)?)?
    }
}
