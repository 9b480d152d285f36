//! The graphs of a BERT.

use super::stored::{StoredBert, StoredBlock};
use crate::family::parts::{
    CodecInputs, NamedGraph, attend_name, exact_graph, local_name, mlp_name, remote_keys_and_values,
};
use crate::graph::{Dim, Element, GraphBuilder, Value};

/// Every graph of the bundle.
pub fn graphs(model: &StoredBert) -> Vec<NamedGraph> {
    let mut graphs = vec![
        ("embed".to_owned(), embed(model)),
        ("whole".to_owned(), whole(model)),
    ];
    for (number, block) in model.blocks.iter().enumerate() {
        let is_last = number + 1 == model.blocks.len();
        graphs.push((local_name(number), local(model, block, number)));
        graphs.push((attend_name(number), attend(model, block, number)));
        graphs.push((mlp_name(number), mlp(model, block, is_last, number)));
        if model.exact.is_empty() {
            graphs.push(exact_graph(&model.shape, &block.attention, number));
        }
    }
    graphs
}

impl StoredBert {
    /// Width of a token, of q, of k and of v alike.
    fn rows(&self, rows: &'static str) -> [Dim; 2] {
        [Dim::Named(rows), Dim::Fixed(self.shape.hidden)]
    }

    /// Normalized sum of what a token and its place are. `places` are rows of the table of positions.
    fn add_tokens(&self, graph: &mut GraphBuilder, ids: &Value, places: &Value) -> Value {
        let table = graph.stored("embedding", &self.embedding);
        let tokens = graph.gather(&table, ids);
        let sum = graph.apply("Add", &[&tokens, places], &[]);
        graph.norm("norm", &sum, &self.norm)
    }
}

fn embed(model: &StoredBert) -> Vec<u8> {
    let mut graph = GraphBuilder::new("embed");
    let ids = graph.input("ids", Element::I64, &[Dim::Named("m")]);
    let positions = graph.input("positions", Element::I64, &[Dim::Named("m")]);
    let codec = CodecInputs::declare(&mut graph, model.shape.hidden);
    let places = graph.stored("places", &model.positions);
    let places = graph.gather(&places, &positions);
    let x = model.add_tokens(&mut graph, &ids, &places);
    let n = add_both(&mut graph, model, &x, ["x", "n"]);
    codec.project(&mut graph, &n, "y");
    graph.finish()
}

/// Declares x and n, which are the same here, as two outputs; n.
fn add_both(graph: &mut GraphBuilder, model: &StoredBert, x: &Value, names: [&str; 2]) -> Value {
    let [x_name, n_name] = names;
    let x = graph.output(x, x_name, Element::F32, &model.rows("m"));
    let n = graph.apply("Identity", &[&x], &[]);
    graph.output(&n, n_name, Element::F32, &model.rows("m"))
}

fn local(model: &StoredBert, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&local_name(number));
    let n = graph.input("n", Element::F32, &model.rows("m"));
    let rows = block.attention.add_projections(&mut graph, &n, "");
    for (rows, name) in rows.iter().zip(["q", "k", "v"]) {
        graph.output(rows, name, Element::F32, &model.rows("m"));
    }
    graph.finish()
}

fn attend(model: &StoredBert, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&attend_name(number));
    let [x, q, k, v] =
        ["x", "q", "k", "v"].map(|name| graph.input(name, Element::F32, &model.rows("m")));
    let [remote_k, remote_v] = remote_keys_and_values(&mut graph, &model.shape);
    let keys = graph.concat(&[&k, &remote_k], 0);
    let values = graph.concat(&[&v, &remote_v], 0);
    let mixed = graph.attention(model.shape.heads, &q, &keys, &values);
    let x = add_attended(&mut graph, block, &x, &mixed, "");
    graph.output(&x, "x_out", Element::F32, &model.rows("m"));
    graph.finish()
}

fn mlp(model: &StoredBert, block: &StoredBlock, is_last: bool, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&mlp_name(number));
    let x = graph.input("x", Element::F32, &model.rows("m"));
    let codec = (!is_last).then(|| CodecInputs::declare(&mut graph, model.shape.hidden));
    let x = add_mlp(&mut graph, block, &x, "");
    let n = add_both(&mut graph, model, &x, ["x_out", "n_out"]);
    if let Some(codec) = codec {
        codec.project(&mut graph, &n, "y_out");
    }
    graph.finish()
}

/// Attention's result onto x: output projection, residual, norm. `prefix` goes before the names of the weights.
fn add_attended(
    graph: &mut GraphBuilder,
    block: &StoredBlock,
    x: &Value,
    mixed: &Value,
    prefix: &str,
) -> Value {
    let sum = block.attention.add_output(graph, x, mixed, prefix);
    graph.norm(&format!("{prefix}norm1"), &sum, &block.norm1)
}

/// The rest of a block: MLP, residual, norm.
fn add_mlp(graph: &mut GraphBuilder, block: &StoredBlock, x: &Value, prefix: &str) -> Value {
    let sum = block.mlp.add(graph, x, x, prefix);
    graph.norm(&format!("{prefix}norm2"), &sum, &block.norm2)
}

fn whole(model: &StoredBert) -> Vec<u8> {
    let mut graph = GraphBuilder::new("whole");
    let ids = graph.input("ids", Element::I64, &[Dim::Named("l")]);
    let table = graph.stored("places", &model.positions);
    let (first, axis) = (graph.ints(&[0]), graph.ints(&[0]));
    let count = graph.count_rows(&ids);
    let places = graph.apply("Slice", &[&table, &first, &count, &axis], &[]);
    let mut x = model.add_tokens(&mut graph, &ids, &places);
    for (number, block) in model.blocks.iter().enumerate() {
        let prefix = format!("block_{number:02}.");
        let [q, k, v] = block.attention.add_projections(&mut graph, &x, &prefix);
        let mixed = graph.attention(model.shape.heads, &q, &k, &v);
        x = add_attended(&mut graph, block, &x, &mixed, &prefix);
        x = add_mlp(&mut graph, block, &x, &prefix);
    }
    graph.output(&x, "features", Element::F32, &model.rows("l"));
    graph.finish()
}
