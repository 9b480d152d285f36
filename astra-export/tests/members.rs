//! Members of models in blocks of integers answer in exact mode as one device does.
//!
//! The tests need ONNX Runtime and models; `cargo xtask test` brings them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "export/cache.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod cache;

use std::path::Path;
use std::sync::OnceLock;

use astra_bundle::Bundle;
use astra_export::narrow::{Bits, Storage};
use astra_export::package::{Draft, Request};
use astra_export::source::{Imported, gguf, hugging_face, onnx};
use astra_model::engine::{Codec, Input, Modality, Model, Runtime};
use astra_model::partition::TokenRange;
use astra_model::simulate::{Features, Simulation};
use ort::value::Tensor;

/// Side of pictures.
const SIZE: usize = 112;
const TOKENS: u16 = 60;

fn runtime() -> Runtime {
    // A process has one.
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let load = || Runtime::load(Some(&cache::runtime()), 1).unwrap();
    RUNTIME.get_or_init(load).clone()
}

fn export(mut imported: Imported, storage: Storage, folder: &Path) -> Bundle {
    imported.content.store_as(storage);
    let request = Request {
        name: "model",
        size: SIZE,
        max_tokens: Some(128),
        seed: 0,
    };
    let draft = Draft::write(&folder.join("bundle"), &imported, &request).unwrap();
    draft.finish().unwrap()
}

/// Features of one member and of three, exact.
fn features(bundle: &Bundle, input: Input<'_>, tokens: u16) -> [Features; 2] {
    let manifest = bundle.manifest();
    assert!(manifest.exact.is_empty() && !manifest.matrices.is_empty());
    let modality = Modality::of(manifest);
    let mut model = Model::open(&runtime(), bundle.dir(), &manifest.shape, modality).unwrap();
    let codec = Codec::load(bundle, 0).unwrap();
    let range = |first, tokens| TokenRange { first, tokens };
    let third = tokens / 3;
    let whole = vec![range(0, tokens)];
    let divided = vec![
        range(0, third),
        range(third, third + 1),
        range(2 * third + 1, tokens - 2 * third - 1),
    ];
    [whole, divided].map(|ranges| {
        let mut simulation = Simulation::new(&model, &codec, &ranges).unwrap();
        simulation.run(&mut model, &codec, input).unwrap()
    })
}

/// Root of the mean square of the differences, in parts of that of the features.
fn difference([one, three]: &[Features; 2]) -> f32 {
    let both = |features: &Features| [features.cls.as_slice(), &features.patches].concat();
    let (one, three) = (both(one), both(three));
    assert_eq!(one.len(), three.len());
    let squares: f32 = one.iter().map(|value| value * value).sum();
    let pairs = one.iter().zip(&three);
    let differences: f32 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
    (differences / squares).sqrt()
}

/// Attention sums in another order, which changes how some values are rounded to 8 bits, and more in every block after: up to the
/// error of that rounding itself. Keys of the wrong position or values of other rows would be off by more than 0.3.
const TOLERANCE: f32 = 0.05;

#[test]
fn a_language_model_of_the_integers_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let imported = gguf::open(&cache::language_model()).unwrap();
    let bundle = export(imported, Storage::Source, folder.path());
    let ids: Vec<u32> = (0..u32::from(TOKENS) + 4).map(|i| 100 + 37 * i).collect();
    let found = difference(&features(&bundle, Input::Ids(&ids), TOKENS));
    assert!(found <= TOLERANCE, "off by {found}");
}

/// Rows by `exact_00` are those by `local_00`, to the last bit.
fn assert_same_keys_and_values(bundle: &Bundle) {
    const ROWS: usize = 6;
    let hidden = bundle.manifest().shape.hidden;
    let n: Vec<f32> = (0..ROWS * hidden).map(|i| (i as f32 * 0.7).sin()).collect();
    let run = |name: &str, outputs: &[&str]| {
        let graph = bundle.graph(name).unwrap();
        let mut session = runtime().session(&graph).unwrap();
        let rows = Tensor::from_array(([ROWS, hidden], n.clone())).unwrap();
        let found = session.run(ort::inputs!["n" => rows]).unwrap();
        let values = outputs.iter().map(|output| {
            let (_, values) = found[*output].try_extract_tensor::<f32>().unwrap();
            values.to_vec()
        });
        values.collect::<Vec<_>>()
    };
    let exact = run("exact_00", &["kv"]);
    let local = run("local_00", &["k", "v"]);
    let pairs = local[0].chunks(hidden).zip(local[1].chunks(hidden));
    let both: Vec<f32> = pairs.flat_map(|(k, v)| [k, v].concat()).collect();
    assert_eq!(exact[0], both);
}

#[test]
fn a_text_encoder_of_8_bits() {
    let folder = tempfile::tempdir().unwrap();
    let imported = hugging_face::open(&cache::sentence_model()).unwrap();
    let bundle = export(imported, Storage::Quantized(Bits::Eight), folder.path());
    assert_same_keys_and_values(&bundle);
    let ids: Vec<u32> = (0..u32::from(TOKENS)).map(|i| 2000 + 37 * i).collect();
    let found = difference(&features(&bundle, Input::Ids(&ids), TOKENS));
    assert!(found <= TOLERANCE, "off by {found}");
}

#[test]
fn a_vision_transformer_of_4_bits() {
    let folder = tempfile::tempdir().unwrap();
    let imported = onnx::open(&cache::model()).unwrap();
    let bundle = export(imported, Storage::Quantized(Bits::Four), folder.path());
    let manifest = bundle.manifest();
    let (tokens, patch) = (manifest.shape.tokens, manifest.image.unwrap().patch);
    let pixels: Vec<u8> = (0..tokens * patch * patch * 3)
        .map(|i| (i * i / 7 % 251) as u8)
        .collect();
    let tokens = u16::try_from(tokens).unwrap();
    let found = difference(&features(&bundle, Input::Pixels(&pixels), tokens));
    assert!(found <= TOLERANCE, "off by {found}");
}
