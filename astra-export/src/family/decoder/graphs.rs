//! The graphs of a causal language model.

use super::SINK;
use super::stored::{StoredBlock, StoredDecoder, StoredMlp, StoredPositions};
use crate::family::parts::{
    CodecInputs, NamedGraph, attend_name, exact_graph, local_name, mlp_name, remote_keys_and_values,
};
use crate::graph::{Attribute, Dim, Element, GraphBuilder, Lengths, StoredNorm, Value};

/// Every graph of the bundle.
pub fn graphs(model: &StoredDecoder) -> Vec<NamedGraph> {
    let mut graphs = vec![
        ("embed".to_owned(), embed(model)),
        ("head".to_owned(), head(model)),
        ("decode".to_owned(), decode(model)),
    ];
    let following = model.blocks.iter().skip(1).map(|block| Some(&block.norm1));
    let following = following.chain([None]);
    for (number, (block, next)) in model.blocks.iter().zip(following).enumerate() {
        graphs.push((local_name(number), local(model, block, number)));
        graphs.push((attend_name(number), attend(model, block, number)));
        graphs.push((mlp_name(number), mlp(model, block, next, number)));
        if model.exact.is_empty() {
            graphs.push(exact_graph(&model.shape, &block.attention, number));
        }
    }
    graphs
}

impl StoredDecoder {
    fn hidden_rows(&self, rows: &'static str) -> [Dim; 2] {
        [Dim::Named(rows), Dim::Fixed(self.shape.hidden)]
    }

    fn query_rows(&self, rows: &'static str) -> [Dim; 2] {
        let width = self.shape.heads * self.shape.head_dim;
        [Dim::Named(rows), Dim::Fixed(width)]
    }

    fn kv_rows(&self, rows: &'static str) -> [Dim; 2] {
        [Dim::Named(rows), Dim::Fixed(self.shape.kv_width())]
    }

    /// A cache of C rows, for each K/V head.
    fn cached(&self) -> [Dim; 4] {
        let shape = &self.shape;
        let (heads, width) = (Dim::Fixed(shape.kv_heads), Dim::Fixed(shape.head_dim));
        [Dim::Fixed(1), heads, Dim::Named("C"), width]
    }

    /// Declares `ids`, and `positions` where they are learned; rows of x.
    fn add_tokens(&self, graph: &mut GraphBuilder, rows: &'static str) -> Value {
        let ids = graph.input("ids", Element::I64, &[Dim::Named(rows)]);
        let x = graph.table_rows("embedding", &self.embedding, &ids);
        let StoredPositions::Learned(places) = &self.positions else {
            return x;
        };
        let positions = graph.input("positions", Element::I64, &[Dim::Named(rows)]);
        let places = graph.stored("places", places);
        let places = graph.gather(&places, &positions);
        graph.apply("Add", &[&x, &places], &[])
    }

    /// Turns queries and keys, where that is how this model tells places. `prefix` goes before the names of the tables.
    fn rotate<const N: usize>(
        &self,
        graph: &mut GraphBuilder,
        rows: [Value; N],
        positions: &Value,
    ) -> [Value; N] {
        let StoredPositions::Rotary { cos, sin } = &self.positions else {
            return rows;
        };
        let (cos, sin) = (graph.stored("cos", cos), graph.stored("sin", sin));
        rows.map(|rows| graph.rotate(&rows, positions, [&cos, &sin]))
    }

    /// Declares i64 positions of rows; as `[1, rows]`.
    fn positions(&self, graph: &mut GraphBuilder, name: &str, rows: &'static str) -> Value {
        if !self.is_rotary() {
            return Value::none();
        }
        let positions = graph.input(name, Element::I64, &[Dim::Named(rows)]);
        let batch = graph.ints(&[0]);
        graph.apply("Unsqueeze", &[&positions, &batch], &[])
    }

    fn add_head(&self, graph: &mut GraphBuilder, features: &Value) -> Value {
        match &self.head {
            Some(head) => graph.linear("head", features, head),
            None => graph.times_table("embedding", features, &self.embedding),
        }
    }
}

fn embed(model: &StoredDecoder) -> Vec<u8> {
    let mut graph = GraphBuilder::new("embed");
    let x = model.add_tokens(&mut graph, "m");
    let codec = CodecInputs::declare(&mut graph, model.shape.hidden);
    let x = graph.output(&x, "x", Element::F32, &model.hidden_rows("m"));
    if let Some(block) = model.blocks.first() {
        let n = graph.norm("block_00.norm1", &x, &block.norm1);
        let n = graph.output(&n, "n", Element::F32, &model.hidden_rows("m"));
        codec.project(&mut graph, &n, "y");
    }
    graph.finish()
}

fn local(model: &StoredDecoder, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&local_name(number));
    let n = graph.input("n", Element::F32, &model.hidden_rows("m"));
    let positions = model.positions(&mut graph, "positions", "m");
    let [query, key, value] = block.attention.add_projections(&mut graph, &n, "");
    let [query, key] = model.rotate(&mut graph, [query, key], &positions);
    graph.output(&query, "q", Element::F32, &model.query_rows("m"));
    graph.output(&key, "k", Element::F32, &model.kv_rows("m"));
    graph.output(&value, "v", Element::F32, &model.kv_rows("m"));
    graph.finish()
}

fn attend(model: &StoredDecoder, block: &StoredBlock, number: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&attend_name(number));
    let x = graph.input("x", Element::F32, &model.hidden_rows("m"));
    let q = graph.input("q", Element::F32, &model.query_rows("m"));
    let k = graph.input("k", Element::F32, &model.kv_rows("m"));
    let v = graph.input("v", Element::F32, &model.kv_rows("m"));
    let [remote_k, remote_v] = remote_keys_and_values(&mut graph, &model.shape);
    let positions = model.positions(&mut graph, "remote_positions", "r");
    let [remote_k] = model.rotate(&mut graph, [remote_k], &positions);
    let mixed = add_attention(&mut graph, model, [&q, &k, &v], [&remote_k, &remote_v]);
    let x = block.attention.add_output(&mut graph, &x, &mixed, "");
    graph.output(&x, "x_out", Element::F32, &model.hidden_rows("m"));
    graph.finish()
}

/// `next` is the norm of the following block; the last block has none, and ends in the norm of the features.
fn mlp(
    model: &StoredDecoder,
    block: &StoredBlock,
    next: Option<&StoredNorm>,
    number: usize,
) -> Vec<u8> {
    let mut graph = GraphBuilder::new(&mlp_name(number));
    let x = graph.input("x", Element::F32, &model.hidden_rows("m"));
    let codec = next.map(|_| CodecInputs::declare(&mut graph, model.shape.hidden));
    let x = add_mlp(&mut graph, block, &x, "");
    let x = graph.output(&x, "x_out", Element::F32, &model.hidden_rows("m"));
    let n = graph.norm("next_norm", &x, next.unwrap_or(&model.norm));
    let n = graph.output(&n, "n_out", Element::F32, &model.hidden_rows("m"));
    if let Some(codec) = codec {
        codec.project(&mut graph, &n, "y_out");
    }
    graph.finish()
}

/// Attention of the sink's rows to themselves, then of the own rows to the sink, to what came and to themselves: twice an
/// ordinary causal attention, once with a past. Adds the outputs `keys` and `values`.
fn add_attention(
    graph: &mut GraphBuilder,
    model: &StoredDecoder,
    own: [&Value; 3],
    remote: [&Value; 2],
) -> Value {
    let shape = model.grouped();
    let sink = own.map(|rows| graph.rows_to(rows, SINK));
    let own = own.map(|rows| graph.rows_from(rows, SINK));
    let [_, sink_k, sink_v] = &sink;
    let [_, own_k, own_v] = &own;
    let [remote_k, remote_v] = remote;
    let keys = graph.concat(&[sink_k, remote_k, own_k], 0);
    let values = graph.concat(&[sink_v, remote_v, own_v], 0);
    let keys = graph.output(&keys, "keys", Element::F32, &model.kv_rows("s"));
    graph.output(&values, "values", Element::F32, &model.kv_rows("s"));

    let lengths = graph.lengths_of(sink_k);
    let [sink_mixed, past_k, past_v] =
        graph.grouped_attention(shape, sink.each_ref(), None, &lengths);
    let remote = remote.map(|rows| graph.by_head(rows, shape));
    let [remote_k, remote_v] = &remote;
    let past_k = graph.concat(&[&past_k, remote_k], 2);
    let past_v = graph.concat(&[&past_v, remote_v], 2);
    let lengths = graph.lengths_of(&keys);
    let past = Some([&past_k, &past_v]);
    let [own_mixed, _, _] = graph.grouped_attention(shape, own.each_ref(), past, &lengths);
    graph.concat(&[&sink_mixed, &own_mixed], 0)
}

/// The rest of a block: norm, MLP, residual.
fn add_mlp(graph: &mut GraphBuilder, block: &StoredBlock, x: &Value, prefix: &str) -> Value {
    let name = |part: &str| format!("{prefix}{part}");
    let n = graph.norm(&name("norm2"), x, &block.norm2);
    let (wide, down) = match &block.mlp {
        StoredMlp::Gated { gate, up, down } => {
            let gate = graph.linear(&name("gate"), &n, gate);
            // x * sigmoid(alpha x), which is SiLU for alpha 1.
            let alpha = [("alpha", Attribute::Float(1.0))];
            let gate = graph.apply_microsoft("QuickGelu", &[&gate], &alpha);
            let up = graph.linear(&name("up"), &n, up);
            (graph.apply("Mul", &[&gate, &up], &[]), down)
        }
        StoredMlp::Plain { up, down } => {
            let up = graph.linear(&name("up"), &n, up);
            let tanh = [("approximate", Attribute::Text("tanh"))];
            (graph.apply("Gelu", &[&up], &tanh), down)
        }
    };
    let narrow = graph.linear(&name("down"), &wide, down);
    graph.apply("Add", &[x, &narrow], &[])
}

fn head(model: &StoredDecoder) -> Vec<u8> {
    let mut graph = GraphBuilder::new("head");
    let features = graph.input("features", Element::F32, &model.hidden_rows("s"));
    let logits = model.add_head(&mut graph, &features);
    let dims = [Dim::Named("s"), Dim::Fixed(model.vocab)];
    graph.output(&logits, "logits", Element::F32, &dims);
    graph.finish()
}

fn decode(model: &StoredDecoder) -> Vec<u8> {
    let mut graph = GraphBuilder::new("decode");
    let mut x = model.add_tokens(&mut graph, "l");
    let lengths = Lengths {
        last: graph.input("seqlens_k", Element::I32, &[Dim::Fixed(1)]),
        total: graph.input("total_length", Element::I32, &[Dim::Fixed(1)]),
    };
    let first = match model.is_rotary() {
        true => first_position(&mut graph, &x, &lengths),
        false => Value::none(),
    };
    for (number, block) in model.blocks.iter().enumerate() {
        let prefix = format!("block_{number:02}.");
        let n = graph.norm(&format!("{prefix}norm1"), &x, &block.norm1);
        let [q, k, v] = block.attention.add_projections(&mut graph, &n, &prefix);
        let [q, k] = model.rotate(&mut graph, [q, k], &first);
        let past = ["k", "v"].map(|of| {
            let name = format!("past_{of}_{number:02}");
            graph.input(&name, Element::F32, &model.cached())
        });
        let rows = [&q, &k, &v];
        let [mixed, keys, values] =
            graph.grouped_attention(model.grouped(), rows, Some(past.each_ref()), &lengths);
        for (of, present) in [("k", keys), ("v", values)] {
            let name = format!("present_{of}_{number:02}");
            graph.output(&present, &name, Element::F32, &model.cached());
        }
        x = block.attention.add_output(&mut graph, &x, &mixed, &prefix);
        x = add_mlp(&mut graph, block, &x, &prefix);
    }
    let features = graph.norm("norm", &x, &model.norm);
    let features = graph.output(&features, "features", Element::F32, &model.hidden_rows("l"));
    let last = graph.last_row(&features);
    let logits = model.add_head(&mut graph, &last);
    let dims = [Dim::Fixed(1), Dim::Fixed(model.vocab)];
    graph.output(&logits, "logits", Element::F32, &dims);
    graph.finish()
}

/// i64 `[1]`: where the first of the rows stands.
fn first_position(graph: &mut GraphBuilder, rows: &Value, lengths: &Lengths) -> Value {
    let count = graph.count_rows(rows);
    let total = graph.cast(&lengths.total, Element::I64);
    graph.apply("Sub", &[&total, &count], &[])
}
