//! A bundle small enough to damage byte by byte: two blocks, two bases, two rungs; and ways to damage it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by the test files, each of which is a crate of its own and uses a part"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

pub mod refined;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use astra_bundle::*;
use serde_json::{Value, json};

pub const SHAPE: Shape = Shape {
    hidden: 4,
    heads: 2,
    kv_heads: 1,
    head_dim: 3,
    blocks: 2,
    tokens: 4,
    class_tokens: 1,
};
pub const TOKENIZER: &str = "tokenizer.json";
pub const GRAPHS: [&str; 2] = ["embed", "head"];

/// A directory of its own for each test.
pub struct Place {
    root: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn bundle(&self) -> PathBuf {
        self.root().join("tiny")
    }

    /// Names in the root, hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The words of the codebook numbered `tag`, which float16 holds.
pub fn words(tag: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| tag as f32 + i as f32 / 16.0).collect()
}

/// The values of the tensor numbered `tag`, different from those of any other.
pub fn values(tag: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| tag as f32 + i as f32 / 64.0).collect()
}

fn tensor(writer: &mut BundleWriter, tag: &mut usize, shape: &[usize]) -> TensorRef {
    *tag += 1;
    writer
        .weights(&values(*tag, shape.iter().product()), shape)
        .unwrap()
}

pub fn basis(writer: &mut BundleWriter, tag: &mut usize, name: &str, rank: usize) -> Basis {
    let kv = 2 * SHAPE.kv_width();
    let blocks = (0..SHAPE.blocks).map(|_| BasisBlock {
        rank,
        enc_w: tensor(writer, tag, &[rank, SHAPE.hidden]),
        enc_b: tensor(writer, tag, &[rank]),
        dec_w: tensor(writer, tag, &[rank, kv]),
        dec_b: tensor(writer, tag, &[kv]),
    });
    Basis {
        name: name.to_owned(),
        blocks: blocks.collect(),
    }
}

pub fn exact(writer: &mut BundleWriter, tag: &mut usize) -> Vec<ExactBlock> {
    let kv = 2 * SHAPE.kv_width();
    let blocks = (0..SHAPE.blocks).map(|_| ExactBlock {
        dec_w: tensor(writer, tag, &[SHAPE.hidden, kv]),
        dec_b: tensor(writer, tag, &[kv]),
    });
    blocks.collect()
}

/// Codebooks of one stage.
pub fn one_stage<'a>(perm: &'a [u16], dims: &'a [u16], words: &'a [f32]) -> CodebookView<'a> {
    CodebookView {
        perm,
        first: stage(dims, words),
        second: None,
        mean: None,
    }
}

pub fn stage<'a>(dims: &'a [u16], words: &'a [f32]) -> StageView<'a> {
    StageView {
        dims,
        words: words.into(),
    }
}

/// Writes the codebooks of a block; words have numbers of `tag`.
pub fn rung_block(writer: &mut BundleWriter, tag: usize, perm: &[u16], dims: &[u16]) -> RungBlock {
    let words = words(tag, perm.len() * 4);
    RungBlock {
        rank: perm.len(),
        groups: dims.len(),
        refined_groups: 0,
        frame_mean_bits: 0,
        codebooks: writer.codebook(&one_stage(perm, dims, &words)).unwrap(),
    }
}

/// Writes both rungs, with other words in each block.
pub fn rungs(writer: &mut BundleWriter) -> Vec<Rung> {
    let mut rung =
        |bits: u32, basis: &str, perm: &[u16], dims: &[u16], agreement: Vec<Agreement>| {
            let block = |b| rung_block(writer, bits as usize * 10 + b, perm, dims);
            Rung {
                bits,
                basis: basis.to_owned(),
                code_bits: 2,
                words: 4,
                refinement: None,
                blocks: (0..SHAPE.blocks).map(block).collect(),
                prediction: vec![],
                mean_bits: None,
                agreement,
                calibration_note: None,
            }
        };
    let measured = Agreement {
        devices: 4,
        inputs: 20,
        cls_cosine: Some(0.9881),
        patch_cosine: Some(0.987),
        map_mae: Some(0.022),
        ..Agreement::default()
    };
    vec![
        rung(2, "plain", &[1, 0], &[2], vec![]),
        rung(4, "attention", &[2, 0, 1], &[1, 2], vec![measured]),
    ]
}

/// A manifest without tensors, files and rungs.
pub fn empty_manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        model: "tiny".to_owned(),
        family: Family::Vit,
        task: Task::Saliency,
        source: Source {
            file: "tiny.onnx".to_owned(),
            sha256: Sha256Digest::of(b"tiny"),
        },
        seed: 7,
        software: "astra-export 0.1.0".to_owned(),
        shape: SHAPE,
        image: Some(ImageInput {
            size: 4,
            patch: 2,
            fit: Fit::Pad,
            filter: Filter::Triangle,
            resize: None,
            map_size: Some([8, 8]),
            head_rows: None,
        }),
        text: None,
        bases: vec![],
        matrices: vec![],
        exact: vec![],
        rungs: vec![],
        calibration: Calibration {
            source: "photographs".to_owned(),
            inputs: 2,
            tokens: 8,
            held_out: 1,
        },
        files: BTreeMap::new(),
    }
}

/// The manifest of a language model: one of the four tokens is computed by every member, so three are divided.
pub fn as_language_model(manifest: Manifest) -> Manifest {
    Manifest {
        family: Family::Llama,
        task: Task::Generation,
        shape: Shape { tokens: 3, ..SHAPE },
        image: None,
        text: Some(TextInput {
            tokenizer: TOKENIZER.to_owned(),
            vocab: 10,
            max_tokens: 4,
            bos: Some(1),
            eos: vec![2, 9],
            add_bos: true,
            chat_template: Some("{% for message in messages %}".to_owned()),
            bos_token: Some("<s>".to_owned()),
            eos_token: Some("</s>".to_owned()),
            rotary: true,
            learned_positions: false,
        }),
        ..manifest
    }
}

/// Writes everything but the manifest.
pub fn write_parts(writer: &mut BundleWriter) -> Manifest {
    let mut tag = 0;
    for name in GRAPHS {
        writer
            .graph(name, format!("graph {name}").as_bytes())
            .unwrap();
    }
    Manifest {
        exact: exact(writer, &mut tag),
        bases: vec![
            basis(writer, &mut tag, "attention", 3),
            basis(writer, &mut tag, "plain", 4),
        ],
        rungs: rungs(writer),
        ..empty_manifest()
    }
}

/// A language model of the same size.
pub fn write_text(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let mut manifest = text_parts(&mut writer);
    manifest.rungs[1].agreement = vec![Agreement {
        devices: 4,
        inputs: 20,
        perplexity: Some(30.31),
        perplexity_exact: Some(30.02),
        ..Agreement::default()
    }];
    writer.finish(manifest).unwrap()
}

/// Its parts, to be finished.
pub fn text_parts(writer: &mut BundleWriter) -> Manifest {
    let manifest = as_language_model(write_parts(writer));
    writer.file(TOKENIZER, b"{}").unwrap();
    manifest
}

/// Tensors that `write` writes.
pub const TENSORS: usize = 20;

/// What `write` writes, and after it a rung of six bits that predicts its second block.
pub fn write_predicting(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let mut manifest = write_parts(&mut writer);
    let mut tag = TENSORS;
    let basis = basis(&mut writer, &mut tag, "predicted-6", 3);
    let block = |b| rung_block(&mut writer, 60 + b, &[1, 2, 0], &[1, 1, 1]);
    let blocks = (0..SHAPE.blocks).map(block).collect();
    let prediction = (1..SHAPE.blocks).map(|_| PredictionBlock {
        w: tensor(&mut writer, &mut tag, &[3, 3]),
        b: tensor(&mut writer, &mut tag, &[3]),
    });
    manifest.rungs.push(Rung {
        bits: 6,
        basis: basis.name.clone(),
        code_bits: 2,
        words: 4,
        refinement: None,
        blocks,
        prediction: prediction.collect(),
        mean_bits: None,
        agreement: vec![],
        calibration_note: None,
    });
    manifest.bases.push(basis);
    writer.finish(manifest).unwrap()
}

pub fn write(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let manifest = write_parts(&mut writer);
    writer.finish(manifest).unwrap()
}

/// What opening says after `damage`, with the directory written as DIR.
pub fn refusal(damage: impl FnOnce(&Path)) -> String {
    refusal_of(write, damage)
}

/// What opening the bundle that `write` makes says after `damage`.
pub fn refusal_of(write: impl FnOnce(&Path) -> Bundle, damage: impl FnOnce(&Path)) -> String {
    let place = Place::new();
    let dir = place.bundle();
    drop(write(&dir));
    damage(&dir);
    let error = Bundle::open(&dir).expect_err("a damaged bundle was opened");
    error.to_string().replace(dir.to_str().unwrap(), "DIR")
}

/// Changes the manifest as JSON.
pub fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join(MANIFEST_FILE);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Overwrites a file without truncating it first, which some file systems answer with a flush to the disk.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

/// Damage that puts another text in place of the manifest.
pub fn manifest_of(text: &'static str) -> impl FnOnce(&Path) {
    move |dir| fs::write(dir.join(MANIFEST_FILE), text).unwrap()
}

/// What opening the bundle that `write` makes says after one value of its manifest, given by its JSON pointer, was edited; without
/// the file's name.
pub fn edited_of(write: impl FnOnce(&Path) -> Bundle, pointer: &str, value: Value) -> String {
    let damage = |dir: &Path| {
        edit(dir, |manifest| {
            *manifest.pointer_mut(pointer).expect("pointer") = value
        });
    };
    let text = refusal_of(write, damage);
    text.strip_prefix("DIR/manifest.json: ")
        .expect("names the manifest")
        .to_owned()
}

/// The cases of a table: `POINTER = VALUE | REFUSAL` a line.
pub fn cases(table: &'static str) -> impl Iterator<Item = (&'static str, Value, &'static str)> {
    table.trim().lines().map(|line| {
        let (pointer, rest) = line.split_once(" = ").expect("a pointer");
        let (value, refusal) = rest.split_once(" | ").expect("a value");
        (pointer, serde_json::from_str(value).expect("JSON"), refusal)
    })
}

/// Puts `bytes` in place of a file, and makes the manifest agree: damage that no hash shows.
pub fn substitute(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).unwrap();
    let entry = json!({ "bytes": bytes.len(), "sha256": Sha256Digest::of(bytes).to_string() });
    edit(dir, |manifest| manifest["files"][name] = entry);
}
