//! The graphs of a bundle: embed, then for each block local, attend and mlp, then the head; and `whole`, which is all of it for one
//! device alone.

use astra_bundle::{HeadRows, Task};

use super::stored::{StoredBlock, StoredVit};
use crate::family::parts::{
    CodecInputs, NamedGraph, attend_name, exact_graph, local_name, mlp_name, remote_keys_and_values,
};
use crate::graph::{Attribute, Dim, Element, GraphBuilder, StoredNorm, Value};

/// Every graph of the bundle.
pub fn graphs(vit: &StoredVit) -> Vec<NamedGraph> {
    let mut graphs = vec![
        ("embed".to_owned(), embed(vit)),
        ("whole".to_owned(), whole(vit)),
    ];
    if vit.task() != Task::Features {
        graphs.push(("head".to_owned(), head(vit)));
    }
    if vit.head_rows().is_some() {
        graphs.push(("head_rows".to_owned(), head_rows(vit)));
        graphs.push(("head_finish".to_owned(), head_finish(vit)));
    }
    let following = vit
        .blocks
        .iter()
        .skip(1)
        .map(|block| &block.norm1)
        .map(Some);
    let following = following.chain([None]);
    for (number, (block, next)) in vit.blocks.iter().zip(following).enumerate() {
        graphs.push((local_name(number), local(vit, block, number)));
        graphs.push((attend_name(number), attend(vit, block, number)));
        graphs.push((mlp_name(number), mlp(vit, block, next, number)));
        if vit.exact.is_empty() {
            graphs.push(exact_graph(&vit.shape, &block.attention, number));
        }
    }
    graphs
}

impl StoredVit {
    /// What the head answers.
    pub fn task(&self) -> Task {
        self.head.task()
    }

    /// How the head can be divided, if it can.
    pub fn head_rows(&self) -> Option<HeadRows> {
        self.head.rows()
    }

    fn rows(&self, rows: &'static str) -> [Dim; 2] {
        [Dim::Named(rows), Dim::Fixed(self.shape.hidden)]
    }

    fn fixed(&self, rows: usize) -> [Dim; 2] {
        [Dim::Fixed(rows), Dim::Fixed(self.shape.hidden)]
    }

    fn kv_rows(&self, rows: &'static str) -> [Dim; 2] {
        [Dim::Named(rows), Dim::Fixed(self.shape.kv_width())]
    }

    /// Bytes of pixels and the positions of their tokens to rows of x, the class token first.
    fn add_tokens(&self, graph: &mut GraphBuilder, pixels: &Value, positions: &Value) -> Value {
        let to_float = [("to", Attribute::Int(1))];
        let values = graph.apply("Cast", &[pixels], &to_float);
        let weight = graph.stored("projection.weight", &self.projection);
        let tokens = graph.apply("Gemm", &[&values, &weight, positions], &[]);
        let class = graph.stored("class_token", &self.class_token);
        graph.concat(&[&class, &tokens], 0)
    }

    fn pixels(&self, graph: &mut GraphBuilder, rows: Dim) -> Value {
        let bytes = Dim::Fixed(self.patch * self.patch * 3);
        graph.input("pixels", Element::U8, &[rows, bytes])
    }
}

fn embed(vit: &StoredVit) -> Vec<u8> {
    let mut graph = GraphBuilder::new("embed");
    let pixels = vit.pixels(&mut graph, Dim::Named("t"));
    let first = graph.input("first", Element::I64, &[Dim::Fixed(1)]);
    let codec = CodecInputs::declare(&mut graph, vit.shape.hidden);

    let only_rows = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
    let count = graph.apply("Shape", &[&pixels], &only_rows);
    let end = graph.apply("Add", &[&first, &count], &[]);
    let axis = graph.ints(&[0]);
    let table = graph.stored("positions", &vit.positions);
    let positions = graph.apply("Slice", &[&table, &first, &end, &axis], &[]);

    let x = vit.add_tokens(&mut graph, &pixels, &positions);
    let x = graph.output(&x, "x", Element::F32, &vit.rows("m"));
    if let Some(block) = vit.blocks.first() {
        let n = graph.norm("block_00.norm1", &x, &block.norm1);
        let n = graph.output(&n, "n", Element::F32, &vit.rows("m"));
        codec.project(&mut graph, &n, "y");
    }
    graph.finish()
}

fn local(vit: &StoredVit, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&local_name(number));
    let n = graph.input("n", Element::F32, &vit.rows("m"));
    let [query, key, value] = block.attention.add_projections(&mut graph, &n, "");
    graph.output(&query, "q", Element::F32, &vit.rows("m"));
    graph.output(&key, "k", Element::F32, &vit.kv_rows("m"));
    graph.output(&value, "v", Element::F32, &vit.kv_rows("m"));
    graph.finish()
}

fn attend(vit: &StoredVit, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&attend_name(number));
    let x = graph.input("x", Element::F32, &vit.rows("m"));
    let q = graph.input("q", Element::F32, &vit.rows("m"));
    let k = graph.input("k", Element::F32, &vit.kv_rows("m"));
    let v = graph.input("v", Element::F32, &vit.kv_rows("m"));
    let [remote_k, remote_v] = remote_keys_and_values(&mut graph, &vit.shape);
    let keys = graph.concat(&[&k, &remote_k], 0);
    let values = graph.concat(&[&v, &remote_v], 0);
    let mixed = graph.attention(vit.shape.heads, &q, &keys, &values);
    let x = block.attention.add_output(&mut graph, &x, &mixed, "");
    graph.output(&x, "x_out", Element::F32, &vit.rows("m"));
    graph.finish()
}

/// `next` is the norm of the following block; the last block has none, and ends in the norm of the features.
fn mlp(vit: &StoredVit, block: &StoredBlock, next: Option<&StoredNorm>, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&mlp_name(number));
    let x = graph.input("x", Element::F32, &vit.rows("m"));
    let codec = next.map(|_| CodecInputs::declare(&mut graph, vit.shape.hidden));
    let x = add_mlp(&mut graph, block, &x, "");
    let x = graph.output(&x, "x_out", Element::F32, &vit.rows("m"));
    let n = graph.norm("next_norm", &x, next.unwrap_or(&vit.norm));
    let n = graph.output(&n, "n_out", Element::F32, &vit.rows("m"));
    if let Some(codec) = codec {
        codec.project(&mut graph, &n, "y_out");
    }
    graph.finish()
}

/// The rest of a block: norm, MLP, residual.
fn add_mlp(graph: &mut GraphBuilder, block: &StoredBlock, x: &Value, prefix: &str) -> Value {
    let n = graph.norm(&format!("{prefix}norm2"), x, &block.norm2);
    block.mlp.add(graph, x, &n, prefix)
}

fn head(vit: &StoredVit) -> Vec<u8> {
    let mut graph = GraphBuilder::new("head");
    let cls = graph.input("cls", Element::F32, &vit.fixed(1));
    let patches = graph.input("patches", Element::F32, &vit.fixed(vit.shape.tokens));
    vit.head.add(&mut graph, &cls, &patches, vit.side);
    graph.finish()
}

fn head_rows(vit: &StoredVit) -> Vec<u8> {
    let mut graph = GraphBuilder::new("head_rows");
    let patches = graph.input("patches", Element::F32, &vit.rows("r"));
    vit.head.add_rows(&mut graph, &patches, vit.side);
    graph.finish()
}

fn head_finish(vit: &StoredVit) -> Vec<u8> {
    let mut graph = GraphBuilder::new("head_finish");
    vit.head.add_finish(&mut graph, vit.side);
    graph.finish()
}

fn whole(vit: &StoredVit) -> Vec<u8> {
    let mut graph = GraphBuilder::new("whole");
    let pixels = vit.pixels(&mut graph, Dim::Fixed(vit.shape.tokens));
    let positions = graph.stored("positions", &vit.positions);
    let mut x = vit.add_tokens(&mut graph, &pixels, &positions);
    for (number, block) in vit.blocks.iter().enumerate() {
        let prefix = format!("block_{number:02}.");
        let n = graph.norm(&format!("{prefix}norm1"), &x, &block.norm1);
        let [q, k, v] = block.attention.add_projections(&mut graph, &n, &prefix);
        let mixed = graph.attention(vit.shape.heads, &q, &k, &v);
        x = block.attention.add_output(&mut graph, &x, &mixed, &prefix);
        x = add_mlp(&mut graph, block, &x, &prefix);
    }
    let n = graph.norm("norm", &x, &vit.norm);
    let classes = vit.shape.class_tokens;
    let cls = graph.rows_to(&n, classes);
    let cls = graph.output(&cls, "cls", Element::F32, &vit.fixed(classes));
    let patches = graph.rows_from(&n, classes);
    let patches = graph.output(
        &patches,
        "patches",
        Element::F32,
        &vit.fixed(vit.shape.tokens),
    );
    vit.head.add(&mut graph, &cls, &patches, vit.side);
    graph.finish()
}
