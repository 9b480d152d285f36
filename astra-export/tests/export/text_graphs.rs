//! The graphs of small random models that read against the slow reference.

use astra_bundle::{BundleWriter, ExactBlock, Shape, TensorRef};
use astra_export::family::bert::{self, BertModel, StoredBert};
use astra_export::family::decoder::{self, Decoder, Positions, SINK, StoredDecoder};
use astra_export::family::{NamedGraph, attend_name, local_name, mlp_name};

use crate::models::{HIDDEN, Random};
use crate::runtime::{Array, Graph, max_difference};
use crate::text_models::{POSITIONS, VOCAB};
use crate::text_reference as reference;

const TOLERANCE: f32 = 1e-4;
/// Tokens of a text.
const TOKENS: usize = 19;

/// A model's graphs in a directory of their own.
struct Exported {
    writer: BundleWriter,
    shape: Shape,
    exact: Vec<ExactBlock>,
    rotary: bool,
    learned: bool,
    _folder: tempfile::TempDir,
}

impl Exported {
    fn decoder(model: &Decoder) -> Self {
        let rotary = matches!(model.positions, Positions::Rotary(_));
        Self::new(rotary, !rotary, |writer| {
            let stored = StoredDecoder::store(writer, model, POSITIONS).unwrap();
            (decoder::graphs(&stored), stored.shape, stored.exact)
        })
    }

    fn bert(model: &BertModel) -> Self {
        Self::new(false, true, |writer| {
            let stored = StoredBert::store(writer, model, POSITIONS).unwrap();
            (bert::graphs(&stored), stored.shape, stored.exact)
        })
    }

    fn new(
        rotary: bool,
        learned: bool,
        store: impl FnOnce(&mut BundleWriter) -> (Vec<NamedGraph>, Shape, Vec<ExactBlock>),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = BundleWriter::create(&folder.path().join("bundle")).unwrap();
        let (graphs, shape, exact) = store(&mut writer);
        for (name, bytes) in graphs {
            writer.graph(&name, &bytes).unwrap();
        }
        writer.flush().unwrap();
        Self {
            writer,
            shape,
            exact,
            rotary,
            learned,
            _folder: folder,
        }
    }

    fn graph(&self, name: &str) -> Graph {
        Graph::open(&self.writer.dir().join(format!("{name}.onnx")))
    }

    fn tensor(&self, tensor: &TensorRef) -> Array {
        let weights = std::fs::read(self.writer.dir().join("weights.bin")).unwrap();
        let start = usize::try_from(tensor.offset).unwrap();
        let bytes = &weights[start..start + tensor.elements().unwrap() * 4];
        let words = bytes.chunks(4);
        let values = words.map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        Array::F32(tensor.shape.clone(), values.collect())
    }

    /// Features of a text divided among members of these numbers of tokens, n itself exchanged: sink, then all others.
    fn divided(&self, ids: &[u32], counts: &[usize]) -> Vec<f32> {
        let (sink, causal) = (self.shape.class_tokens, self.shape.class_tokens > 0);
        let mut members = Vec::new();
        let mut first = sink;
        for &count in counts {
            let positions: Vec<usize> = (0..sink).chain(first..first + count).collect();
            first += count;
            members.push(Member::new(self, ids, positions));
        }
        assert_eq!(first, ids.len());
        for block in 0..self.shape.blocks {
            let sent: Vec<(Vec<usize>, Vec<f32>)> = members.iter().map(|m| m.sends(sink)).collect();
            for (number, member) in members.iter_mut().enumerate() {
                let others = sent.iter().enumerate();
                let received = others.filter(|(other, _)| match causal {
                    true => *other < number,
                    false => *other != number,
                });
                let received: Vec<_> = received.map(|(_, sent)| sent.clone()).collect();
                member.run(self, block, &received);
            }
        }
        let mut features = members[0].n[..sink * HIDDEN].to_vec();
        for member in &members {
            features.extend(&member.n[sink * HIDDEN..]);
        }
        features
    }
}

struct Member {
    positions: Vec<usize>,
    x: Vec<f32>,
    n: Vec<f32>,
}

impl Member {
    fn new(exported: &Exported, ids: &[u32], positions: Vec<usize>) -> Self {
        let own: Vec<u32> = positions.iter().map(|&at| ids[at]).collect();
        let mut inputs = vec![("ids", tokens(&own))];
        if exported.learned {
            inputs.push(("positions", places(&positions)));
        }
        inputs.extend(no_codec());
        let found = exported.graph("embed").run(inputs, ["x", "n"]);
        let [x, n] = found.map(|array| array.into_matrix().1);
        Self { positions, x, n }
    }

    fn sends(&self, sink: usize) -> (Vec<usize>, Vec<f32>) {
        (
            self.positions[sink..].to_vec(),
            self.n[sink * HIDDEN..].to_vec(),
        )
    }

    fn run(&mut self, exported: &Exported, block: usize, received: &[(Vec<usize>, Vec<f32>)]) {
        let mut inputs = vec![("n", matrix(HIDDEN, &self.n))];
        if exported.rotary {
            inputs.push(("positions", places(&self.positions)));
        }
        let [q, k, v] = exported
            .graph(&local_name(block))
            .run(inputs, ["q", "k", "v"]);
        let remote: Vec<f32> = received.iter().flat_map(|(_, n)| n.clone()).collect();
        let from: Vec<usize> = received.iter().flat_map(|(at, _)| at.clone()).collect();
        let exact = &exported.exact[block];
        let mut inputs = vec![
            ("x", matrix(HIDDEN, &self.x)),
            ("q", q),
            ("k", k),
            ("v", v),
            ("remote", matrix(HIDDEN, &remote)),
            ("dec_w", exported.tensor(&exact.dec_w)),
            ("dec_b", exported.tensor(&exact.dec_b)),
        ];
        if exported.rotary {
            inputs.push(("remote_positions", places(&from)));
        }
        let [x] = exported.graph(&attend_name(block)).run(inputs, ["x_out"]);
        let mut inputs = vec![("x", x)];
        if block + 1 < exported.shape.blocks {
            inputs.extend(no_codec());
        }
        let found = exported
            .graph(&mlp_name(block))
            .run(inputs, ["x_out", "n_out"]);
        let [x, n] = found.map(|array| array.into_matrix().1);
        (self.x, self.n) = (x, n);
    }
}

/// A transform to no axes at all: in exact mode n itself travels.
fn no_codec() -> [(&'static str, Array); 2] {
    [
        ("enc_w", Array::F32(vec![0, HIDDEN], Vec::new())),
        ("enc_b", Array::F32(vec![0], Vec::new())),
    ]
}

fn tokens(ids: &[u32]) -> Array {
    Array::I64(vec![ids.len()], ids.iter().map(|&id| id.into()).collect())
}

fn places(positions: &[usize]) -> Array {
    let values = positions.iter().map(|&at| i64::try_from(at).unwrap());
    Array::I64(vec![positions.len()], values.collect())
}

fn matrix(columns: usize, values: &[f32]) -> Array {
    Array::F32(vec![values.len() / columns, columns], values.to_vec())
}

/// A cache of [`POSITIONS`] rows for every block, keys and values in turn.
type Cache = Vec<Array>;

/// Runs rows after `past` ones; scores of the last, features, and the cache with them in it.
fn step(
    exported: &Exported,
    ids: &[u32],
    past: usize,
    cache: &Cache,
) -> (Vec<f32>, Vec<f32>, Cache) {
    let total = i32::try_from(past + ids.len()).unwrap();
    let sides: Vec<(String, String)> = (0..exported.shape.blocks)
        .flat_map(|block| ["k", "v"].map(|of| (of, block)))
        .map(|(of, block)| {
            (
                format!("past_{of}_{block:02}"),
                format!("present_{of}_{block:02}"),
            )
        })
        .collect();
    let mut inputs = vec![
        ("ids", tokens(ids)),
        ("seqlens_k", Array::I32(vec![1], vec![total - 1])),
        ("total_length", Array::I32(vec![1], vec![total])),
    ];
    if exported.learned {
        let positions: Vec<usize> = (past..past + ids.len()).collect();
        inputs.push(("positions", places(&positions)));
    }
    for ((past, _), cached) in sides.iter().zip(cache) {
        inputs.push((past.as_str(), cached.clone()));
    }
    let mut outputs = ["logits", "features", "", "", "", "", "", ""];
    for (place, (_, present)) in outputs[2..].iter_mut().zip(&sides) {
        *place = present;
    }
    let [logits, features, cached @ ..] = exported.graph("decode").run(inputs, outputs);
    (
        logits.into_matrix().1,
        features.into_matrix().1,
        cached.to_vec(),
    )
}

fn empty(exported: &Exported) -> Cache {
    let shape = &exported.shape;
    let dims = vec![1, shape.kv_heads, POSITIONS, shape.head_dim];
    let values = vec![0.0; dims.iter().product()];
    vec![Array::F32(dims, values); 2 * shape.blocks]
}

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    let difference = max_difference(found, expected);
    assert!(difference <= TOLERANCE, "{what} is off by {difference}");
}

#[test]
fn decode_answers_as_the_reference_at_once_and_in_steps() {
    let mut random = Random::new(31);
    let ids = random.ids(TOKENS);
    for (kind, model) in random.decoders() {
        let exported = Exported::decoder(&model);
        let (features, logits) = reference::decode(&model, &ids);
        let last = &logits[(TOKENS - 1) * VOCAB..];
        let (found, all, _) = step(&exported, &ids, 0, &empty(&exported));
        assert_close(&format!("{kind}: logits"), &found, last);
        assert_close(&format!("{kind}: features"), &all, &features);

        let (mut cache, mut rows, mut past) = (empty(&exported), Vec::new(), 0);
        for count in [7, 1, 1, 10] {
            let (found, some, cached) = step(&exported, &ids[past..past + count], past, &cache);
            past += count;
            let expected = &logits[(past - 1) * VOCAB..past * VOCAB];
            assert_close(&format!("{kind}: logits of {past}"), &found, expected);
            rows.extend(some);
            cache = cached;
        }
        assert_close(&format!("{kind}: features in steps"), &rows, &features);
    }
}

#[test]
fn the_head_answers_as_the_reference() {
    let mut random = Random::new(32);
    let ids = random.ids(TOKENS);
    for (kind, model) in random.decoders() {
        let (features, logits) = reference::decode(&model, &ids);
        let inputs = vec![("features", matrix(HIDDEN, &features))];
        let [found] = Exported::decoder(&model)
            .graph("head")
            .run(inputs, ["logits"]);
        assert_close(kind, &found.into_matrix().1, &logits);
    }
}

#[test]
fn divided_among_members_exact_mode_answers_as_the_reference() {
    let mut random = Random::new(33);
    let ids = random.ids(TOKENS);
    for (kind, model) in random.decoders() {
        let exported = Exported::decoder(&model);
        let (features, _) = reference::decode(&model, &ids);
        for counts in [&[TOKENS - SINK][..], &[8, 7], &[1, 6, 8]] {
            let found = exported.divided(&ids, counts);
            assert_close(&format!("{kind} {counts:?}"), &found, &features);
        }
    }
    let model = random.bert();
    let exported = Exported::bert(&model);
    let features = reference::encode(&model, &ids);
    for counts in [&[TOKENS][..], &[10, 9], &[1, 9, 9]] {
        let found = exported.divided(&ids, counts);
        assert_close(&format!("bert {counts:?}"), &found, &features);
    }
}

#[test]
fn the_whole_encoder_answers_as_the_reference() {
    let mut random = Random::new(34);
    let model = random.bert();
    let mut whole = Exported::bert(&model).graph("whole");
    for count in [1, 2, POSITIONS] {
        let ids = random.ids(count);
        let [found] = whole.run(vec![("ids", tokens(&ids))], ["features"]);
        assert_close(
            "features",
            &found.into_matrix().1,
            &reference::encode(&model, &ids),
        );
    }
}

/// A token that did not arrive is as if the text had been without it, but for the places of the others.
#[test]
fn what_did_not_arrive_is_not_seen() {
    let mut random = Random::new(35);
    let ids = random.ids(TOKENS);
    let model: Decoder = random.gpt2().into();
    let exported = Exported::decoder(&model);
    let positions: Vec<usize> = (0..SINK).chain(12..TOKENS).collect();
    let (mut all, mut none) = (
        Member::new(&exported, &ids, positions.clone()),
        Member::new(&exported, &ids, positions.clone()),
    );
    let others = Member::new(&exported, &ids, (0..12).collect());
    all.run(&exported, 0, &[others.sends(SINK)]);
    none.run(&exported, 0, &[]);
    let sinks = ..SINK * HIDDEN;
    assert_close("the sink", &all.n[sinks], &none.n[sinks]);
    assert!(max_difference(&all.n, &none.n) > 100.0 * TOLERANCE);
}
