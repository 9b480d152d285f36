//! The encoder, read from its features backwards: the norm, then for every block `x + mlp(norm2(x))` and
//! `x + attention(norm1(x))`, until what is added are no blocks but the embeddings.

use super::attention::Attention;
use super::embeddings;
use super::graph::{Graph, Value};
use super::parts::Projection;
use super::{Image, Mismatch, parts::flat};
use crate::family::vit::{BlockWeights, Head, VitModel};
use crate::family::weights::Linear;

/// More blocks than any model has.
const MAX_BLOCKS: usize = 256;

/// The encoder, and where its features come out.
#[derive(Debug)]
pub(super) struct Encoder {
    model: VitModel,
    /// The value after the final norm: `[batch, 1 + T, D]`.
    features: Value,
    pub(super) batch: usize,
    /// Patches a side, at the size the graph is evaluated for.
    pub(super) side: usize,
    /// Whether every block has a layer scale, as DINOv2's have.
    pub(super) layer_scale: bool,
}

impl Encoder {
    pub(super) fn hidden(&self) -> usize {
        self.model.hidden
    }

    pub(super) fn blocks(&self) -> usize {
        self.model.blocks.len()
    }

    pub(super) fn features(&self) -> &Value {
        &self.features
    }

    /// 1 + T
    pub(super) fn rows(&self) -> usize {
        1 + self.side * self.side
    }

    pub(super) fn into_model(self, head: Head) -> VitModel {
        VitModel { head, ..self.model }
    }
}

/// The encoder whose features are all of `features`.
pub(super) fn read(
    graph: &Graph<'_>,
    image: &Image<'_>,
    features: &Value,
) -> Result<Encoder, Mismatch> {
    let (norm, mut x) = graph.norm(features)?;
    let mut blocks = Vec::new();
    let (mut heads, mut scales) = (None, 0);
    while let Some((block, before)) = read_block(graph, image, &x)? {
        if *heads.get_or_insert(block.heads) != block.heads {
            let found = format!("{} heads", block.heads);
            return Err(Mismatch::new(
                graph.name_of(&x),
                found,
                format!("{heads:?} as in the blocks after it"),
            ));
        }
        scales += block.scales;
        blocks.push(block.weights);
        x = before;
        if blocks.len() > MAX_BLOCKS {
            return Err(graph.refuse(&x, format!("at most {MAX_BLOCKS} blocks")));
        }
    }
    blocks.reverse();
    let Some(heads) = heads else {
        return Err(graph.refuse(&x, "the sum that ends a block of a Transformer"));
    };
    let embeddings = embeddings::read(graph, image, &x)?;
    let hidden = embeddings.projection.outputs;
    if norm.weight.len() != hidden {
        let found = format!("{} channels", norm.weight.len());
        return Err(Mismatch::new(graph.name_of(features), found, hidden));
    }
    Ok(Encoder {
        layer_scale: scales == 2 * blocks.len(),
        model: VitModel {
            hidden,
            heads,
            patch: embeddings.patch,
            projection: embeddings.projection,
            class_token: embeddings.class_token,
            positions: embeddings.positions,
            blocks,
            norm,
            head: Head::Features,
        },
        features: features.clone(),
        batch: image.batch,
        side: image.size.checked_div(embeddings.patch).unwrap_or(0),
    })
}

struct Block {
    weights: BlockWeights,
    heads: usize,
    /// How many of its two layer scales there are.
    scales: usize,
}

/// The block that ends in `x`, and what goes into it; `None` where no block ends.
fn read_block(
    graph: &Graph<'_>,
    image: &Image<'_>,
    x: &Value,
) -> Result<Option<(Block, Value)>, Mismatch> {
    let Some((after_mlp, middle)) = residual(graph, x)? else {
        return Ok(None);
    };
    let (down, mlp_scale) = after_mlp.read(graph)?;
    let up = graph.projection(&graph.gelu(&after_mlp.projection.input)?)?;
    let (norm2, normalized) = graph.norm(&up.input)?;
    expect_same(graph, &normalized, &middle, "the MLP")?;
    let up = up.read_all(graph)?;
    check_width(graph, &after_mlp, down.inputs, up.outputs)?;

    let Some((after_attention, before)) = residual(graph, &middle)? else {
        return Err(graph.refuse(&middle, "the sum of a block's input and its attention"));
    };
    let (output, attention_scale) = after_attention.read(graph)?;
    let attention = Attention::find(graph, image.batch, &after_attention.projection.input)?;
    let (norm1, normalized) = graph.norm(&attention.input)?;
    expect_same(graph, &normalized, &before, "attention")?;
    let [query, key, value] = attention.read(graph)?;
    check_width(graph, &after_attention, output.inputs, value.outputs)?;
    let weights = BlockWeights {
        norm1,
        query,
        key,
        value,
        output,
        norm2,
        up,
        down,
    };
    check_hidden(graph, x, &weights)?;
    let block = Block {
        weights,
        heads: attention.heads,
        scales: usize::from(mlp_scale) + usize::from(attention_scale),
    };
    Ok(Some((block, before)))
}

/// What a block adds to its input: a projection, perhaps times a layer scale.
struct Branch {
    scale: Option<Value>,
    projection: Projection,
}

impl Branch {
    fn find(graph: &Graph<'_>, value: &Value) -> Option<Self> {
        if let Some(projection) = graph.try_projection(value) {
            return Some(Self {
                scale: None,
                projection,
            });
        }
        let (scale, inner) = graph.constant_and_other(graph.whole_step_of(value, "Mul")?)?;
        let projection = graph.try_projection(inner)?;
        let scale = flat(scale, projection.outputs)?;
        Some(Self {
            scale: Some(scale),
            projection,
        })
    }

    /// The weights with the layer scale folded in, and whether there is one.
    fn read(&self, graph: &Graph<'_>) -> Result<(Linear, bool), Mismatch> {
        let mut linear = self.projection.read_all(graph)?;
        if let Some(scale) = &self.scale {
            linear.scale_outputs(&graph.weights(scale)?.into_values(&[linear.outputs])?);
        }
        Ok((linear, self.scale.is_some()))
    }
}

/// The branch and the input whose sum is `x`; `None` if it is no such sum.
fn residual(graph: &Graph<'_>, x: &Value) -> Result<Option<(Branch, Value)>, Mismatch> {
    let Some(step) = graph.whole_step_of(x, "Add") else {
        return Ok(None);
    };
    let (a, b) = (step.input(0)?, step.input(1)?);
    match (Branch::find(graph, a), Branch::find(graph, b)) {
        (Some(branch), None) => Ok(Some((branch, b.clone()))),
        (None, Some(branch)) => Ok(Some((branch, a.clone()))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(graph.refuse(x, "the sum of a block's input and one projection")),
    }
}

fn expect_same(
    graph: &Graph<'_>,
    found: &Value,
    expected: &Value,
    part: &str,
) -> Result<(), Mismatch> {
    if graph.same(found, expected) {
        return Ok(());
    }
    let expected = format!(
        "{}, which {part} is added to, normalized before it",
        graph.name_of(expected)
    );
    Err(Mismatch::new(graph.name_of(found), "normalized", expected))
}

fn check_width(
    graph: &Graph<'_>,
    branch: &Branch,
    inputs: usize,
    outputs: usize,
) -> Result<(), Mismatch> {
    if inputs == outputs {
        return Ok(());
    }
    let found = format!("{inputs} inputs");
    Err(Mismatch::new(
        graph.name_of(&branch.projection.input),
        found,
        outputs,
    ))
}

fn check_hidden(graph: &Graph<'_>, x: &Value, block: &BlockWeights) -> Result<(), Mismatch> {
    let hidden = block.norm1.weight.len();
    let sides = [
        block.query.inputs,
        block.query.outputs,
        block.key.inputs,
        block.value.inputs,
        block.output.outputs,
        block.norm2.weight.len(),
        block.up.inputs,
        block.down.outputs,
    ];
    if sides.iter().all(|&side| side == hidden) {
        return Ok(());
    }
    let found = format!("sides {sides:?}");
    Err(Mismatch::new(
        graph.name_of(x),
        found,
        format!("{hidden} channels throughout"),
    ))
}
