//! What the graphs of all families have in common.

use astra_bundle::{Shape, exact_name};

use super::stored::StoredAttention;
use crate::graph::{Dim, Element, GraphBuilder, Value};

/// A graph's name, without extension, and its bytes.
pub type NamedGraph = (String, Vec<u8>);

/// Name of a block's first graph.
pub fn local_name(block: usize) -> String {
    format!("local_{block:02}")
}

/// Name of a block's second graph.
pub fn attend_name(block: usize) -> String {
    format!("attend_{block:02}")
}

/// Name of a block's third graph.
pub fn mlp_name(block: usize) -> String {
    format!("mlp_{block:02}")
}

/// Keys and values `[r, 2 W]` of the tokens that other members sent in exact mode, before rotation, with the matrices of `local`.
pub(super) fn exact_graph(shape: &Shape, attention: &StoredAttention, block: usize) -> NamedGraph {
    let name = exact_name(block);
    let mut graph = GraphBuilder::new(&name);
    let rows = Dim::Named("r");
    let n = graph.input("n", Element::F32, &[rows, Dim::Fixed(shape.hidden)]);
    let both = attention.add_keys_and_values(&mut graph, &n);
    let dims = [rows, Dim::Fixed(2 * shape.kv_width())];
    graph.output(&both, "kv", Element::F32, &dims);
    (name, graph.finish())
}

/// Keys and values `[r, W]` decoded from what other members sent. Declares the inputs `remote`, `dec_w` and `dec_b`.
pub(super) fn remote_keys_and_values(graph: &mut GraphBuilder, shape: &Shape) -> [Value; 2] {
    let (rank, width) = (Dim::Named("R"), shape.kv_width());
    let both = Dim::Fixed(2 * width);
    let remote = graph.input("remote", Element::F32, &[Dim::Named("r"), rank]);
    let dec_w = graph.input("dec_w", Element::F32, &[rank, both]);
    let dec_b = graph.input("dec_b", Element::F32, &[both]);
    let decoded = graph.apply("Gemm", &[&remote, &dec_w, &dec_b], &[]);
    graph.split_columns(&decoded, width)
}

/// `predict`, of any model: what is expected of a block's tokens, `[n, R]`, from their decoded states in the block before, of
/// another rank.
pub fn predict_graph() -> NamedGraph {
    let name = "predict";
    let (rows, before, rank) = (Dim::Named("n"), Dim::Named("R_before"), Dim::Named("R"));
    let mut graph = GraphBuilder::new(name);
    let state = graph.input("state", Element::F32, &[rows, before]);
    let w = graph.input("w", Element::F32, &[before, rank]);
    let b = graph.input("b", Element::F32, &[rank]);
    let predicted = graph.apply("Gemm", &[&state, &w, &b], &[]);
    graph.output(&predicted, "predicted", Element::F32, &[rows, rank]);
    (name.to_owned(), graph.finish())
}

/// The transform into the codec's space, which is an input because every rung has its own.
pub(super) struct CodecInputs {
    weight: Value,
    bias: Value,
}

impl CodecInputs {
    /// For tokens of `hidden` channels.
    pub(super) fn declare(graph: &mut GraphBuilder, hidden: usize) -> Self {
        let rank = Dim::Named("R");
        let hidden = Dim::Fixed(hidden);
        Self {
            weight: graph.input("enc_w", Element::F32, &[rank, hidden]),
            bias: graph.input("enc_b", Element::F32, &[rank]),
        }
    }

    /// Adds the output `name`: the rows of n as they are coded.
    pub(super) fn project(&self, graph: &mut GraphBuilder, n: &Value, name: &str) {
        let y = graph.project(n, &self.weight, &self.bias);
        let dims = [Dim::Named("m"), Dim::Named("R")];
        graph.output(&y, name, Element::F32, &dims);
    }
}
