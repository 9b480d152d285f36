//! Self-attention, from what goes into its output projection backwards:
//! `Softmax(scale * Q Kᵀ) V` in a few nodes, or ONNX's `Attention` (opset 23).
//!
//! Exporters reshape, split and transpose in many ways; what counts is which elements of the projections come out at which
//! place, and that is compared ([`Layout`]).

use super::graph::layout::Layout;
use super::graph::{Graph, Step, Value};
use super::parts::{Projection, near};
use super::{Mismatch, attribute};
use crate::family::weights::Linear;

pub(super) struct Attention {
    pub(super) heads: usize,
    /// What queries, keys and values are projected from.
    pub(super) input: Value,
    width: usize,
    /// Of queries, keys and values, and the first output that belongs to them: one projection may make all.
    projections: [(Projection, usize); 3],
}

/// The parts of attention, before it is known how they are arranged.
struct Parts {
    query: Value,
    key: Value,
    value: Value,
    /// Factor of the scores.
    scale: f32,
    /// Whether keys are `[.., width, tokens]`, not `[.., tokens, width]`.
    turned: bool,
    /// Whether all are `[batch, tokens, heads * width]`.
    flat: Option<usize>,
}

/// Dimensions of what is attended to.
struct Sides {
    batch: usize,
    heads: usize,
    tokens: usize,
    width: usize,
}

impl Attention {
    /// The attention whose heads, joined, are `mixed`.
    pub(super) fn find(graph: &Graph<'_>, batch: usize, mixed: &Value) -> Result<Self, Mismatch> {
        let step = graph
            .step(mixed)
            .filter(|step| matches!(step.node.op_type.as_str(), "MatMul" | "Attention"));
        let Some(step) = step else {
            return Err(graph.refuse(
                mixed,
                "attention: MatMul of Softmax and values, or Attention",
            ));
        };
        let parts = match step.node.op_type.as_str() {
            "MatMul" => Parts::of_products(graph, step)?,
            _ => Parts::of_operator(graph, step)?,
        };
        let sides = Sides::of(graph, batch, mixed, parts.flat)?;
        let joined = match parts.flat {
            Some(_) => sides.joined(),
            None => Layout::strided(
                0,
                &[
                    (sides.batch, sides.heads * sides.tokens * sides.width),
                    (sides.tokens, sides.width),
                    (sides.heads, sides.tokens * sides.width),
                    (sides.width, 1),
                ],
            ),
        };
        if !mixed.layout.same_elements(&joined) {
            return Err(graph.refuse(mixed, "the heads of each token one after the other"));
        }
        let expected = (sides.width as f32).sqrt().recip();
        if !near(parts.scale, expected) {
            let found = format!("scores times {}", parts.scale);
            let expected = format!("{expected}, for heads {} wide", sides.width);
            return Err(Mismatch::new(graph.name_of(mixed), found, expected));
        }
        let [query, key, value] = [
            (&parts.query, false),
            (&parts.key, parts.turned),
            (&parts.value, false),
        ]
        .map(|(value, turned)| sides.projection(graph, value, turned, parts.flat.is_some()));
        let projections = [query?, key?, value?];
        let [(query, _), rest @ ..] = &projections;
        for (other, _) in rest {
            if !graph.same(&query.input, &other.input) {
                return Err(graph.refuse(
                    &other.input,
                    "what the queries are projected from: self-attention",
                ));
            }
        }
        Ok(Self {
            heads: sides.heads,
            input: query.input.clone(),
            width: sides.heads * sides.width,
            projections,
        })
    }

    /// Queries, keys and values.
    pub(super) fn read(&self, graph: &Graph<'_>) -> Result<[Linear; 3], Mismatch> {
        let [query, key, value] = &self.projections;
        let read =
            |(projection, first): &(Projection, usize)| projection.read(graph, *first, self.width);
        Ok([read(query)?, read(key)?, read(value)?])
    }
}

impl Parts {
    fn of_products(graph: &Graph<'_>, step: &Step<'_>) -> Result<Self, Mismatch> {
        let (shares, value) = (step.input(0)?, step.input(1)?);
        let softmax = graph.whole_step_of(shares, "Softmax");
        let softmax = softmax.ok_or_else(|| graph.refuse(shares, "Softmax of scores"))?;
        let scores = softmax.input(0)?;
        if !graph.is_last_axis(softmax.node, scores) {
            return Err(graph.refuse(shares, "Softmax along the last dimension"));
        }
        let (outer, product) = graph.unscaled(scores);
        let product = graph.whole_step_of(&product, "MatMul").ok_or_else(|| {
            graph.refuse(
                &product,
                "MatMul of queries and keys (masks and position biases are not supported)",
            )
        })?;
        let (query_scale, query) = graph.unscaled(product.input(0)?);
        let (key_scale, key) = graph.unscaled(product.input(1)?);
        Ok(Self {
            query,
            key,
            value: value.clone(),
            scale: outer * query_scale * key_scale,
            turned: true,
            flat: None,
        })
    }

    fn of_operator(graph: &Graph<'_>, step: &Step<'_>) -> Result<Self, Mismatch> {
        let int = |name| attribute(step.node, name).and_then(|value| value.i);
        let float = |name| attribute(step.node, name).and_then(|value| value.f);
        let refuse =
            |found: String, expected: &str| Err(Mismatch::new(&step.node.name, found, expected));
        if int("is_causal").unwrap_or(0) != 0 {
            return refuse("is_causal 1".to_owned(), "attention to all tokens");
        }
        if float("softcap").unwrap_or(0.0) != 0.0 {
            return refuse("softcap".to_owned(), "none");
        }
        for mask in step.inputs.iter().skip(3).flatten() {
            if !graph.lets_all_pass(mask) {
                return Err(graph.refuse(mask, "attention to all tokens, without a mask"));
            }
            graph.pass_over(mask);
        }
        let (query, key, value) = (step.input(0)?, step.input(1)?, step.input(2)?);
        let flat = match (query.layout.rank(), int("q_num_heads"), int("kv_num_heads")) {
            (4, ..) => None,
            (3, Some(heads), Some(same)) if heads == same => usize::try_from(heads).ok(),
            _ => {
                return refuse(
                    "other numbers of heads for queries and keys".to_owned(),
                    "the same",
                );
            }
        };
        let width = match flat {
            Some(heads) => query
                .layout
                .dims()
                .last()
                .copied()
                .unwrap_or(0)
                .checked_div(heads)
                .unwrap_or(0),
            None => query.layout.dims().last().copied().unwrap_or(0),
        };
        let (query_scale, query) = graph.unscaled(query);
        let (key_scale, key) = graph.unscaled(key);
        let scale = float("scale").unwrap_or_else(|| (width as f32).sqrt().recip());
        Ok(Self {
            query,
            key,
            value: value.clone(),
            scale: scale * query_scale * key_scale,
            turned: false,
            flat,
        })
    }
}

impl Sides {
    /// From the dimensions of what attention makes: `[batch, heads, tokens, width]`, of which the first two may be one.
    fn of(
        graph: &Graph<'_>,
        batch: usize,
        mixed: &Value,
        flat: Option<usize>,
    ) -> Result<Self, Mismatch> {
        let dims = graph.dims_of_base(mixed);
        let found = match (dims, flat) {
            (&[.., tokens, wide], Some(heads)) => {
                Some((heads, tokens, wide.checked_div(heads).unwrap_or(0)))
            }
            (&[ref outer @ .., tokens, width], None) => {
                let heads = outer.iter().product::<usize>().checked_div(batch);
                heads.map(|heads| (heads, tokens, width))
            }
            _ => None,
        };
        match found {
            Some((heads @ 1.., tokens, width @ 1..)) => Ok(Self {
                batch,
                heads,
                tokens,
                width,
            }),
            _ => Err(graph.refuse(mixed, "attention of [batch, heads, tokens, width]")),
        }
    }

    /// `[batch, tokens, heads * width]`
    fn joined(&self) -> Layout {
        Layout::whole(&[self.batch, self.tokens, self.heads * self.width])
    }

    /// What makes queries, keys or values, and the first of its outputs that belongs to them.
    fn projection(
        &self,
        graph: &Graph<'_>,
        value: &Value,
        turned: bool,
        flat: bool,
    ) -> Result<(Projection, usize), Mismatch> {
        let all = graph.all_of(value);
        let projection = graph.projection(&all)?;
        let (first, stride) = (value.layout.offset(), projection.outputs);
        let token = (self.tokens, stride);
        let channel = (self.width, 1);
        let head = (self.heads, self.width);
        let batch = (self.batch, self.tokens * stride);
        let expected = match (flat, turned) {
            (true, _) => [batch, token, head, channel],
            (false, true) => [batch, head, channel, token],
            (false, false) => [batch, head, token, channel],
        };
        let expected = Layout::strided(first, &expected);
        let last = projection.dims.last() == Some(&stride);
        let count = self.batch * self.tokens * stride;
        let rows = projection.dims.iter().product::<usize>() == count;
        let arranged = flat
            || matches!(value.layout.dims().as_slice(), [.., rows, columns]
            if [*rows, *columns] == if turned { [self.width, self.tokens] } else { [self.tokens, self.width] });
        if last && rows && arranged && value.layout.same_elements(&expected) {
            return Ok((projection, first));
        }
        let expected = format!(
            "its outputs split into {} heads, {} wide",
            self.heads, self.width
        );
        Err(graph.refuse(value, expected))
    }
}
