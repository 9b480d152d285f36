//! Graphs of a part of each block: some of its heads, some columns of its MLP.
//!
//! Parts are cut out of the bundle's weights by the graph itself, which ONNX Runtime does once, when it opens it.

use std::ops::Range;

use anyhow::{Result, ensure};
use astra_bundle::{Bundle, Family, Shape};
use astra_export::graph::{Attribute, Dim, Element, GraphBuilder, Grouped, StoredLinear, Value};

use crate::collective::part;
use crate::weights::Weights;

/// One device's part of every block.
pub(crate) struct Shard {
    pub(crate) heads: Range<usize>,
    devices: usize,
    me: usize,
    /// Whether its results hold the residual and the biases, which must be in one part alone.
    whole: bool,
}

/// What the graphs are made of.
pub(crate) struct Parts<'a> {
    weights: &'a Weights,
    shape: Shape,
    causal: bool,
    shard: Shard,
}

impl Shard {
    /// Part `me` of `devices`. With `whole` each part adds the residual and the biases, else the first.
    pub(crate) fn new(shape: &Shape, devices: usize, me: usize, whole: bool) -> Result<Self> {
        ensure!(
            devices <= shape.heads,
            "{devices} devices for {} heads: expected a head for each",
            shape.heads
        );
        Ok(Self {
            heads: part(shape.heads, devices, me),
            devices,
            me,
            whole: whole || me == 0,
        })
    }
}

impl<'a> Parts<'a> {
    pub(crate) fn new(bundle: &Bundle, weights: &'a Weights, shard: Shard) -> Result<Self> {
        let manifest = bundle.manifest();
        ensure!(
            matches!(manifest.family, Family::Vit | Family::Llama),
            "baselines of {:?}: expected a model that sees or a Llama",
            manifest.family
        );
        Ok(Self {
            weights,
            shape: manifest.shape,
            causal: manifest.family.is_causal(),
            shard,
        })
    }

    /// The part's attention of a block: x [m, D] to its share of the next x.
    pub(crate) fn attention(&self, block: usize) -> Result<Vec<u8>> {
        self.graph(|graph, x| self.add_attention(graph, x, block))
    }

    /// The part's MLP of a block, likewise.
    pub(crate) fn mlp(&self, block: usize) -> Result<Vec<u8>> {
        self.graph(|graph, x| self.add_mlp(graph, x, block))
    }

    /// Blocks one after another of this part alone.
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

    /// The norm of the features: of all rows, of a causal model of the last.
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
            Ok(columns(graph, &name, &n, &linear, &self.wide(heads)))
        };
        let query = project("query", std::slice::from_ref(&heads))?;
        let (key, value) = (project("key", &kv)?, project("value", &kv)?);
        let mixed = match self.causal {
            true => self.add_causal(graph, [query, key, value], kv.iter().map(Range::len).sum())?,
            false => graph.attention(heads.len(), &query, &key, &value),
        };
        self.add_back(graph, &name("output"), x, &mixed, &self.wide(&[heads]))
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
        self.add_back(graph, &name("down"), x, &wide, &own)
    }

    /// Some rows of a linear map, from the part's width to that of x.
    fn add_back(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        input: &Value,
        rows: &[Range<usize>],
    ) -> Result<Value> {
        let linear = self.weights.linear(name)?;
        let weight = graph.stored(&format!("{name}.weight"), &linear.weight);
        let weight = cut(graph, &weight, rows, 0);
        if !self.shard.whole {
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

    /// K/V heads of the part: as few as serve its query heads, or one for each where groups are cut apart.
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

    /// Columns of heads.
    fn wide(&self, heads: &[Range<usize>]) -> Vec<Range<usize>> {
        let width = self.shape.head_dim;
        let wide = heads
            .iter()
            .map(|heads| heads.start * width..heads.end * width);
        wide.collect()
    }
}

/// Some columns of a linear map.
fn columns(
    graph: &mut GraphBuilder,
    name: &str,
    input: &Value,
    linear: &StoredLinear,
    columns: &[Range<usize>],
) -> Value {
    let weight = graph.stored(&format!("{name}.weight"), &linear.weight);
    let weight = cut(graph, &weight, columns, 1);
    match &linear.bias {
        Some(bias) => {
            let bias = graph.stored(&format!("{name}.bias"), bias);
            let bias = cut(graph, &bias, columns, 0);
            graph.apply("Gemm", &[input, &weight, &bias], &[])
        }
        None => graph.apply("MatMul", &[input, &weight], &[]),
    }
}

/// Ranges of a constant along an axis, one after another.
fn cut(graph: &mut GraphBuilder, constant: &Value, ranges: &[Range<usize>], axis: i64) -> Value {
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
