//! The graphs of small random models against the slow reference.

use std::ops::Range;
use std::path::{Path, PathBuf};

use astra_bundle::BundleWriter;
use astra_export::family::vit::{Head, Pooling, StoredVit, VitModel, graphs};
use astra_export::family::{attend_name, local_name, mlp_name};

use crate::models::{HEADS, HIDDEN, PATCH, Random, SCALE, TRAINED_SIDE};
use crate::reference::{self, Answer};
use crate::runtime::{Array, Graph, max_difference};

const TOLERANCE: f32 = 1e-4;

/// A model's graphs in a directory of their own.
pub(crate) struct Exported {
    writer: BundleWriter,
    pub(crate) vit: StoredVit,
    /// What exact mode decodes with, by block: `[D, 2 W]` and `[2 W]`.
    exact: Vec<(Vec<f32>, Vec<f32>)>,
    _folder: tempfile::TempDir,
}

impl Exported {
    pub(crate) fn new(model: &VitModel, side: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = BundleWriter::create(&folder.path().join("bundle")).unwrap();
        let vit = StoredVit::store(&mut writer, model, &SCALE, side).unwrap();
        for (name, bytes) in graphs(&vit) {
            writer.graph(&name, &bytes).unwrap();
        }
        writer.flush().unwrap();
        let weights = std::fs::read(writer.dir().join("weights.bin")).unwrap();
        let tensor = |tensor: &astra_bundle::TensorRef| {
            let start = usize::try_from(tensor.offset).unwrap();
            let bytes = &weights[start..start + tensor.elements().unwrap() * 4];
            let words = bytes
                .chunks(4)
                .map(|word| f32::from_le_bytes(word.try_into().unwrap()));
            words.collect()
        };
        let exact = vit
            .exact
            .iter()
            .map(|block| (tensor(&block.dec_w), tensor(&block.dec_b)));
        Self {
            exact: exact.collect(),
            vit,
            writer,
            _folder: folder,
        }
    }

    pub(crate) fn graph(&self, name: &str) -> Graph {
        Graph::open(&self.path(name))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.writer.dir().join(format!("{name}.onnx"))
    }

    fn whole<const N: usize>(&self, pixels: &[u8], outputs: [&str; N]) -> [Vec<f32>; N] {
        let found = self
            .graph("whole")
            .run(vec![("pixels", bytes(pixels))], outputs);
        found.map(|array| array.into_matrix().1)
    }
}

fn bytes(pixels: &[u8]) -> Array {
    Array::U8(vec![pixels.len() / PIXELS, PIXELS], pixels.to_vec())
}

pub(crate) fn matrix(columns: usize, values: &[f32]) -> Array {
    Array::F32(vec![values.len() / columns, columns], values.to_vec())
}

fn vector(values: &[f32]) -> Array {
    Array::F32(vec![values.len()], values.to_vec())
}

const PIXELS: usize = PATCH * PATCH * 3;

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    let difference = max_difference(found, expected);
    assert!(difference <= TOLERANCE, "{what} is off by {difference}");
}

/// A random model and input of `side` patches a side, and what the reference says of it.
pub(crate) fn case(
    seed: u64,
    side: usize,
    head: impl Fn(&mut Random) -> Head,
) -> (VitModel, Vec<u8>, Answer) {
    let mut random = Random::new(seed);
    let head = head(&mut random);
    let model = random.model(head);
    let pixels = random.bytes(side * side * PIXELS);
    let answer = reference::forward(&model, &SCALE, side, &pixels);
    (model, pixels, answer)
}

#[test]
fn the_reference_is_not_constant() {
    let (model, mut pixels, before) = case(1, TRAINED_SIDE, Random::saliency);
    pixels[0] ^= 0x80;
    let after = reference::forward(&model, &SCALE, TRAINED_SIDE, &pixels);
    for (before, after) in [(&before.cls, &after.cls), (&before.head, &after.head)] {
        assert!(max_difference(before, after) > 10.0 * TOLERANCE);
    }
}

#[test]
fn whole_and_head_answer_as_the_reference() {
    type MakeHead = fn(&mut Random) -> Head;
    let heads: [(&str, MakeHead); 3] = [
        ("map", Random::saliency),
        ("logits", |random| random.classifier(Pooling::Class, 7)),
        ("logits", |random| {
            random.classifier(Pooling::ClassAndMean, 1)
        }),
    ];
    for (seed, (output, head)) in heads.into_iter().enumerate() {
        for side in [TRAINED_SIDE, 5] {
            let (model, pixels, expected) = case(seed as u64, side, head);
            let exported = Exported::new(&model, side);
            let [cls, patches, answer] = exported.whole(&pixels, ["cls", "patches", output]);
            assert_close("cls", &cls, &expected.cls);
            assert_close("patches", &patches, &expected.patches);
            assert_close(output, &answer, &expected.head);
            let inputs = vec![
                ("cls", matrix(HIDDEN, &expected.cls)),
                ("patches", matrix(HIDDEN, &expected.patches)),
            ];
            let [alone] = exported.graph("head").run(inputs, [output]);
            assert_close(output, &alone.into_matrix().1, &expected.head);
        }
    }
}

#[test]
fn a_model_without_head_has_no_head_graph() {
    let (model, pixels, expected) = case(3, TRAINED_SIDE, |_| Head::Features);
    let exported = Exported::new(&model, TRAINED_SIDE);
    assert!(!Path::exists(&exported.path("head")));
    let [cls, patches] = exported.whole(&pixels, ["cls", "patches"]);
    assert_close("cls", &cls, &expected.cls);
    assert_close("patches", &patches, &expected.patches);
}

/// Rows and values of a member between two graphs.
struct Member {
    x: Array,
    n: Vec<f32>,
}

/// Token ranges of the members between these tokens.
fn ranges(cuts: &[usize]) -> impl Iterator<Item = Range<usize>> {
    cuts.windows(2).map(|ends| ends[0]..ends[1])
}

/// How members code n: as y, made with an identity, or not at all.
struct Coding {
    enc_w: Vec<f32>,
    enc_b: Vec<f32>,
}

impl Coding {
    fn new(by_y: bool) -> Self {
        let (enc_w, enc_b) = if by_y {
            identity()
        } else {
            (Vec::new(), Vec::new())
        };
        Self { enc_w, enc_b }
    }

    fn inputs(&self) -> [(&'static str, Array); 2] {
        let enc_w = Array::F32(vec![self.enc_b.len(), HIDDEN], self.enc_w.clone());
        [("enc_w", enc_w), ("enc_b", vector(&self.enc_b))]
    }

    fn check(&self, y: Array, n: &[f32]) {
        let Array::F32(dims, y) = y else {
            panic!("{y:?}")
        };
        let rank = self.enc_b.len();
        assert_eq!(dims, [n.len() / HIDDEN, rank]);
        assert_close("y", &y, if rank > 0 { n } else { &[] });
    }
}

/// The members before the first block.
fn embedded(exported: &Exported, pixels: &[u8], cuts: &[usize], coding: &Coding) -> Vec<Member> {
    let mut embed = exported.graph("embed");
    let members = ranges(cuts).map(|range| {
        let own = &pixels[range.start * PIXELS..range.end * PIXELS];
        let first = i64::try_from(range.start).unwrap();
        let mut inputs = vec![
            ("pixels", bytes(own)),
            ("first", Array::I64(vec![1], vec![first])),
        ];
        inputs.extend(coding.inputs());
        let [x, n, y] = embed.run(inputs, ["x", "n", "y"]);
        let n = n.into_matrix().1;
        coding.check(y, &n);
        Member { x, n }
    });
    members.collect()
}

/// Runs embed, local, attend and mlp for every member of the ranges between `cuts`; they exchange n itself or y made with an identity,
/// both exact. mlp runs on two pieces of the rows.
fn chain(exported: &Exported, pixels: &[u8], cuts: &[usize], by_y: bool) -> Vec<Member> {
    let coding = Coding::new(by_y);
    let mut members = embedded(exported, pixels, cuts, &coding);
    for (block, (dec_w, dec_b)) in exported.exact.iter().enumerate() {
        let mut local = exported.graph(&local_name(block));
        let mut attend = exported.graph(&attend_name(block));
        let mut mlp = exported.graph(&mlp_name(block));
        let last = block + 1 == exported.exact.len();
        let sent: Vec<Vec<f32>> = members
            .iter()
            .map(|member| member.n[HIDDEN..].to_vec())
            .collect();
        for (me, member) in members.iter_mut().enumerate() {
            let others = sent.iter().enumerate().filter(|(other, _)| *other != me);
            let remote = others
                .flat_map(|(_, n)| n.iter().copied())
                .collect::<Vec<f32>>();
            let [q, k, v] = local.run(vec![("n", matrix(HIDDEN, &member.n))], ["q", "k", "v"]);
            let inputs = vec![
                ("x", member.x.clone()),
                ("q", q),
                ("k", k),
                ("v", v),
                ("remote", matrix(HIDDEN, &remote)),
                ("dec_w", matrix(2 * HIDDEN, dec_w)),
                ("dec_b", vector(dec_b)),
            ];
            let [attended] = attend.run(inputs, ["x_out"]);
            let attended = attended.into_matrix().1;
            let (one, others) = attended.split_at(HIDDEN);
            let (mut x, mut n) = (Vec::new(), Vec::new());
            for piece in [one, others] {
                let mut inputs = vec![("x", matrix(HIDDEN, piece))];
                let found = if last {
                    mlp.run(inputs, ["x_out", "n_out"])
                } else {
                    inputs.extend(coding.inputs());
                    let [x, n, y] = mlp.run(inputs, ["x_out", "n_out", "y_out"]);
                    coding.check(y, &n.clone().into_matrix().1);
                    [x, n]
                };
                let [own_x, own_n] = found.map(|array| array.into_matrix().1);
                x.extend(own_x);
                n.extend(own_n);
            }
            member.x = matrix(HIDDEN, &x);
            member.n = n;
        }
    }
    members
}

fn identity() -> (Vec<f32>, Vec<f32>) {
    let ones = (0..HIDDEN * HIDDEN).map(|i| f32::from(u8::from(i / HIDDEN == i % HIDDEN)));
    (ones.collect(), vec![0.0; HIDDEN])
}

#[test]
fn members_together_answer_as_the_reference() {
    let (model, pixels, expected) = case(4, TRAINED_SIDE, Random::saliency);
    let exported = Exported::new(&model, TRAINED_SIDE);
    let splits: [&[usize]; 4] = [&[0, 16], &[0, 8, 16], &[0, 1, 16], &[0, 5, 6, 13, 16]];
    for cuts in splits {
        for by_y in [false, true] {
            let members = chain(&exported, &pixels, cuts, by_y);
            for (range, member) in ranges(cuts).zip(members) {
                let (cls, patches) = member.n.split_at(HIDDEN);
                assert_close("cls", cls, &expected.cls);
                let own = &expected.patches[range.start * HIDDEN..range.end * HIDDEN];
                assert_close("patches", patches, own);
            }
        }
    }
}

/// The sizes of a request are those of its rung, not of the graph.
#[test]
fn ranks_and_rows_are_those_of_the_inputs() {
    let (model, pixels, _) = case(5, TRAINED_SIDE, |_| Head::Features);
    let exported = Exported::new(&model, TRAINED_SIDE);
    let member = &chain(&exported, &pixels, &[0, 16], false)[0];
    let n = &member.n;
    let [q, k, v] = exported
        .graph("local_00")
        .run(vec![("n", matrix(HIDDEN, n))], ["q", "k", "v"]);
    for (remote, rank) in [(3, 5), (0, 5), (1, 1)] {
        let inputs = vec![
            ("x", member.x.clone()),
            ("q", q.clone()),
            ("k", k.clone()),
            ("v", v.clone()),
            (
                "remote",
                Array::F32(vec![remote, rank], vec![0.5; remote * rank]),
            ),
            ("dec_w", matrix(2 * HIDDEN, &vec![0.1; rank * 2 * HIDDEN])),
            ("dec_b", vector(&[0.0; 2 * HIDDEN])),
        ];
        let [x] = exported.graph("attend_00").run(inputs, ["x_out"]);
        assert_eq!(x.into_matrix().0, 17);
    }
    for (rows, sent) in [(17, 7), (5, 1), (1, 0)] {
        let inputs = vec![
            ("x", matrix(HIDDEN, &vec![0.5; rows * HIDDEN])),
            (
                "enc_w",
                Array::F32(vec![sent, HIDDEN], vec![0.1; sent * HIDDEN]),
            ),
            ("enc_b", vector(&vec![0.0; sent])),
        ];
        let [y] = exported.graph("mlp_00").run(inputs, ["y_out"]);
        let Array::F32(dims, _) = y else {
            panic!("{y:?}")
        };
        assert_eq!(dims, [rows, sent]);
    }
}

#[test]
fn shape_is_that_of_the_grid() {
    let (model, ..) = case(6, 2, Random::saliency);
    let shape = Exported::new(&model, 7).vit.shape;
    assert_eq!((shape.tokens, shape.class_tokens), (49, 1));
    assert_eq!(
        (shape.heads, shape.kv_heads, shape.head_dim),
        (HEADS, HEADS, HIDDEN / HEADS)
    );
}

#[test]
fn weights_are_stored_once() {
    let (model, ..) = case(7, TRAINED_SIDE, |_| Head::Features);
    let exported = Exported::new(&model, TRAINED_SIDE);
    let stored = std::fs::metadata(exported.writer.dir().join("weights.bin"))
        .unwrap()
        .len();
    let per_block = model.blocks.iter().map(|block| {
        let linears = [
            &block.query,
            &block.key,
            &block.value,
            &block.output,
            &block.up,
            &block.down,
        ];
        // Keys and values a second time, side by side, for exact mode.
        let again = [&block.key, &block.value];
        let linear: usize = linears
            .iter()
            .chain(&again)
            .map(|l| l.weight.len() + l.bias.len())
            .sum();
        linear + 4 * HIDDEN
    });
    let tokens = TRAINED_SIDE * TRAINED_SIDE;
    let values = per_block.sum::<usize>() + (PIXELS + tokens + 1 + 2) * HIDDEN;
    // Every tensor starts at a multiple of 64 bytes.
    let tensors = 5 + 18 * model.blocks.len();
    let most = values * 4 + tensors * 63;
    assert!(
        (values * 4..=most).contains(&usize::try_from(stored).unwrap()),
        "{stored} of {most}"
    );
}
