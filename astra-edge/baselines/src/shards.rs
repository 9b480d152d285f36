//! Graphs of a part of each block: some of its heads, some columns of its MLP.
//!
//! The graphs slice the bundle's weights; ONNX Runtime folds these slices when it opens the graph.

use std::ops::Range;

use anyhow::{Result, ensure};
use astra_bundle::{Bundle, Family, Shape};
use astra_export::graph::{Attribute, Dim, Element, GraphBuilder, Grouped, Value};

use crate::collective::part;
use crate::weights::{Linear, Weights};

/// One device's part of every block.
pub(crate) struct Shard {
    pub(crate) heads: Range<usize>,
    devices: usize,
    me: usize,
    /// Whether its outputs include the residual and the biases, which only one part may add to a sum.
    adds_residual: bool,
}

/// Builds the graphs of one device.
pub(crate) struct Parts<'a> {
    weights: &'a Weights,
    shape: Shape,
    causal: bool,
    shard: Shard,
}

impl Shard {
    /// Part `me` of `devices`. Each part adds the residual and the biases if `all_residuals`, else only the first.
    pub(crate) fn new(
        shape: &Shape,
        devices: usize,
        me: usize,
        all_residuals: bool,
    ) -> Result<Self> {
        ensure!(
            devices <= shape.heads,
            "{devices} devices for {} heads: expected a head for each",
            shape.heads
        );
        Ok(Self {
            heads: part(shape.heads, devices, me),
            devices,
            me,
            adds_residual: all_residuals || me == 0,
        })
    }
}

impl<'a> Parts<'a> {
    pub(crate) fn new(bundle: &Bundle, weights: &'a Weights, shard: Shard) -> Result<Self> {
        let manifest = bundle.manifest();
        ensure!(
            matches!(manifest.family, Family::Vit | Family::Llama),
            "baselines of {:?}: expected a ViT or a Llama",
            manifest.family
        );
        Ok(Self {
            weights,
            shape: manifest.shape,
            causal: manifest.family.is_causal(),
            shard,
        })
    }

    /// The part's attention of a block: from x [m, D] to its term of the next x.
    pub(crate) fn attention(&self, block: usize) -> Result<Vec<u8>> {
        self.graph(|graph, x| self.add_attention(graph, x, block))
    }

    /// The part's MLP of a block, likewise.
    pub(crate) fn mlp(&self, block: usize) -> Result<Vec<u8>> {
        self.graph(|graph, x| self.add_mlp(graph, x, block))
    }

    /// Several blocks without exchange.
    pub(crate) fn blocks(&self, blocks: Range<usize>) -> Result<Vec<u8>> {
        self.graph(|graph, x| {
            let mut x = x.clone();
            for block in blocks {
                x = self.add_attention(graph, &x, block)?;
                x = self.add_mlp(graph, &x, block)?;
            }
            Ok(x)
        })
    }

    /// The final norm of all rows, or of the last row of a causal model.
    pub(crate) fn features(&self) -> Result<Vec<u8>> {
        let norm = self.weights.norm("norm")?;
        self.graph(|graph, x| {
            let rows = match self.causal {
                true => graph.last_row(x),
                false => x.clone(),
            };
            Ok(graph.norm("norm", &rows, &norm))
        })
    }

    fn graph(
        &self,
        add: impl FnOnce(&mut GraphBuilder, &Value) -> Result<Value>,
    ) -> Result<Vec<u8>> {
        let mut graph = GraphBuilder::new("part");
        let width = Dim::Fixed(self.shape.hidden);
        let x = graph.input("x", Element::F32, &[Dim::Named("m"), width]);
        let out = add(&mut graph, &x)?;
        graph.output(&out, "out", Element::F32, &[Dim::Named("n"), width]);
        Ok(graph.finish())
    }

    fn add_attention(&self, graph: &mut GraphBuilder, x: &Value, block: usize) -> Result<Value> {
        let name = |part: &str| format!("block_{block:02}.{part}");
        let n = graph.norm(&name("norm1"), x, &self.weights.norm(&name("norm1"))?);
        let (heads, kv) = (self.shard.heads.clone(), self.kv_heads());
        let mut project = |part: &str, heads: &[Range<usize>]| -> Result<Value> {
            let name = name(part);
            let linear = self.weights.linear(&name)?;
            Ok(columns(
                graph,
                &name,
                &n,
                &linear,
                &self.head_columns(heads),
            ))
        };
        let query = project("query", std::slice::from_ref(&heads))?;
        let (key, value) = (project("key", &kv)?, project("value", &kv)?);
        let mixed = match self.causal {
            true => self.add_causal(graph, [query, key, value], kv.iter().map(Range::len).sum())?,
            false => graph.attention(heads.len(), &query, &key, &value),
        };
        self.add_output_projection(
            graph,
            &name("output"),
            x,
            &mixed,
            &self.head_columns(&[heads]),
        )
    }

    /// Rotation and causal attention of queries, keys and values.
    fn add_causal(
        &self,
        graph: &mut GraphBuilder,
        [query, key, value]: [Value; 3],
        kv_heads: usize,
    ) -> Result<Value> {
        let cos = graph.stored("cos", self.weights.tensor("cos")?);
        let sin = graph.stored("sin", self.weights.tensor("sin")?);
        let first = graph.ints(&[0]);
        let [query, key] = [query, key].map(|rows| graph.rotate(&rows, &first, [&cos, &sin]));
        let lengths = graph.lengths_of(&query);
        let shape = Grouped {
            heads: self.shard.heads.len(),
            kv_heads,
            head_dim: self.shape.head_dim,
        };
        let [mixed, _, _] = graph.grouped_attention(shape, [&query, &key, &value], None, &lengths);
        Ok(mixed)
    }

    fn add_mlp(&self, graph: &mut GraphBuilder, x: &Value, block: usize) -> Result<Value> {
        let name = |part: &str| format!("block_{block:02}.{part}");
        let n = graph.norm(&name("norm2"), x, &self.weights.norm(&name("norm2"))?);
        let up = self.weights.linear(&name("up"))?;
        let width = up.weight.shape.last().copied().unwrap_or_default();
        let own = [part(width, self.shard.devices, self.shard.me)];
        let wide = columns(graph, &name("up"), &n, &up, &own);
        let wide = match self.weights.has(&name("gate.weight")) {
            false => graph.apply("Gelu", &[&wide], &[]),
            true => {
                let gate = self.weights.linear(&name("gate"))?;
                let gate = columns(graph, &name("gate"), &n, &gate, &own);
                let silu = [("alpha", Attribute::Float(1.0))];
                let gate = graph.apply_microsoft("QuickGelu", &[&gate], &silu);
                graph.apply("Mul", &[&gate, &wide], &[])
            }
        };
        self.add_output_projection(graph, &name("down"), x, &wide, &own)
    }

    /// The output projection: the part's rows of a linear layer, from the part's width to that of x.
    fn add_output_projection(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        input: &Value,
        rows: &[Range<usize>],
    ) -> Result<Value> {
        let linear = self.weights.linear(name)?;
        let weight = graph.stored(&format!("{name}.weight"), &linear.weight);
        let weight = slice(graph, &weight, rows, 0);
        if !self.shard.adds_residual {
            return Ok(graph.apply("MatMul", &[input, &weight], &[]));
        }
        let out = match &linear.bias {
            Some(bias) => {
                let bias = graph.stored(&format!("{name}.bias"), bias);
                graph.apply("Gemm", &[input, &weight, &bias], &[])
            }
            None => graph.apply("MatMul", &[input, &weight], &[]),
        };
        Ok(graph.apply("Add", &[x, &out], &[]))
    }

    /// K/V heads of the part: one for each group of its query heads, or one for each query head if the part splits a group.
    fn kv_heads(&self) -> Vec<Range<usize>> {
        let group = self.shape.heads / self.shape.kv_heads;
        let heads = self.shard.heads.clone();
        let of = |head: usize| head / group;
        let (first, last) = (of(heads.start), of(heads.end.saturating_sub(1)));
        let aligned = heads.start.is_multiple_of(group) && heads.end.is_multiple_of(group);
        if aligned || first == last {
            return std::iter::once(first..last + 1).collect();
        }
        heads.map(|head| of(head)..of(head) + 1).collect()
    }

    /// Columns of ranges of heads.
    fn head_columns(&self, heads: &[Range<usize>]) -> Vec<Range<usize>> {
        let width = self.shape.head_dim;
        let wide = heads
            .iter()
            .map(|heads| heads.start * width..heads.end * width);
        wide.collect()
    }
}

/// A linear layer of some columns.
fn columns(
    graph: &mut GraphBuilder,
    name: &str,
    input: &Value,
    linear: &Linear,
    columns: &[Range<usize>],
) -> Value {
    let weight = graph.stored(&format!("{name}.weight"), &linear.weight);
    let weight = slice(graph, &weight, columns, 1);
    match &linear.bias {
        Some(bias) => {
            let bias = graph.stored(&format!("{name}.bias"), bias);
            let bias = slice(graph, &bias, columns, 0);
            graph.apply("Gemm", &[input, &weight, &bias], &[])
        }
        None => graph.apply("MatMul", &[input, &weight], &[]),
    }
}

/// Concatenated ranges of a constant along an axis.
fn slice(graph: &mut GraphBuilder, constant: &Value, ranges: &[Range<usize>], axis: i64) -> Value {
    let pieces: Vec<Value> = ranges
        .iter()
        .map(|range| {
            // No dimension of a tensor is beyond i64.
            let [start, end] = [range.start, range.end].map(|at| at as i64);
            let [start, end, axes] = [start, end, axis].map(|value| graph.ints(&[value]));
            graph.apply("Slice", &[constant, &start, &end, &axes], &[])
        })
        .collect();
    match pieces.as_slice() {
        [piece] => piece.clone(),
        pieces => graph.concat(&pieces.iter().collect::<Vec<_>>(), axis),
    }
}
