//! Files that PyTorch's exporters wrote (`onnx_exports/make.py`), against what PyTorch answers for the same models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use astra_bundle::BundleWriter;
use astra_export::family::vit::{Head, ImageScale, Pooling, StoredVit, graphs};
use astra_export::position::Resizing;
use astra_export::source::{ImportedVit, onnx};
use serde::Deserialize;

use crate::models::vit;
use crate::runtime::{Array, Graph, max_difference};

const PATCH: usize = 4;
/// Of values of about 1, with weights of float32.
const TOLERANCE: f32 = 2e-5;
/// With weights that were rounded to halves.
const HALF_TOLERANCE: f32 = 2e-2;

/// What PyTorch answers, by the side of the image in pixels.
type Expected = BTreeMap<String, BTreeMap<usize, Answer>>;

#[derive(Deserialize)]
struct Answer {
    cls: Vec<f32>,
    /// `[T, D]`
    patches: Vec<f32>,
    logits: Option<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/onnx_exports")
}

fn open(name: &str) -> ImportedVit {
    vit(onnx::open(&folder().join(name)).unwrap())
}

/// The pixels of make.py, patch by patch.
fn pixels(size: usize) -> Array {
    let side = size / PATCH;
    let mut pixels = Vec::with_capacity(size * size * 3);
    for token in 0..side * side {
        for row in 0..PATCH {
            let start = ((token / side * PATCH + row) * size + token % side * PATCH) * 3;
            pixels.extend((start..start + PATCH * 3).map(|place| ((place * 83 + 17) % 256) as u8));
        }
    }
    Array::U8(vec![side * side, PATCH * PATCH * 3], pixels)
}

/// What the bundle's graph answers: class token, patches, and the head's.
fn answer(imported: &ImportedVit, size: usize) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::create(&folder.path().join("bundle")).unwrap();
    let stored = StoredVit::store(
        &mut writer,
        &imported.model,
        &imported.input.scale,
        size / PATCH,
    )
    .unwrap();
    let whole = graphs(&stored)
        .into_iter()
        .find(|(name, _)| name == "whole")
        .unwrap();
    writer.graph(&whole.0, &whole.1).unwrap();
    writer.flush().unwrap();
    let mut whole = Graph::open(&writer.dir().join("whole.onnx"));
    let inputs = || vec![("pixels", pixels(size))];
    let [cls, patches] = whole
        .run(inputs(), ["cls", "patches"])
        .map(|array| array.into_matrix().1);
    let logits = matches!(imported.model.head, Head::Classification(_)).then(|| {
        let [logits] = whole.run(inputs(), ["logits"]);
        logits.into_matrix().1
    });
    (cls, patches, logits)
}

#[test]
fn exports_answer_as_pytorch_does() {
    let expected = std::fs::read(folder().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.len(), 8);
    for (name, answers) in &expected {
        let mut imported = match name.as_str() {
            // Without this a ViT is refused; see below.
            "vit-script-17-pooler" => vit_beside_preprocessor(),
            name => open(&format!("{name}.onnx")),
        };
        let tolerance = if name.ends_with("half") {
            HALF_TOLERANCE
        } else {
            TOLERANCE
        };
        for (&size, expected) in answers {
            assert!(
                imported.model.positions.reaches(size / PATCH),
                "{name} at {size}"
            );
            let (cls, patches, logits) = answer(&imported, size);
            let mut pairs = vec![
                ("cls", cls, &expected.cls),
                ("patches", patches, &expected.patches),
            ];
            match (logits, &expected.logits) {
                (Some(found), Some(expected)) => pairs.push(("logits", found, expected)),
                (None, None) => {}
                (found, expected) => panic!("{name}: {found:?} and {expected:?}"),
            }
            for (part, found, expected) in pairs {
                let difference = max_difference(&found, expected);
                assert!(
                    difference <= tolerance,
                    "{name} at {size}: {part} off by {difference:e}"
                );
            }
        }
        // The comparison can fail: with the layers in another order, the answer is another.
        imported.model.blocks.reverse();
        let (&size, expected) = answers.first_key_value().unwrap();
        let (cls, ..) = answer(&imported, size);
        assert!(
            max_difference(&cls, &expected.cls) > HALF_TOLERANCE,
            "{name}"
        );
    }
}

/// A ViT's file in a directory with the `preprocessor_config.json` that optimum writes.
fn vit_beside_preprocessor() -> ImportedVit {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    std::fs::copy(folder().join("vit-script-17-pooler.onnx"), &path).unwrap();
    let refusal = onnx::open(&path).unwrap_err().to_string();
    assert!(
        refusal.contains("preprocessor_config.json") && refusal.contains("--hf"),
        "{refusal}"
    );
    let config = r#"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 16, "width": 16}}"#;
    std::fs::write(directory.path().join("preprocessor_config.json"), config).unwrap();
    let imported = onnx::open(&path).unwrap();
    let warnings = imported.warnings.concat();
    assert!(warnings.contains("is left out"), "{warnings}");
    vit(imported)
}

#[test]
fn how_a_vit_is_normalized_is_beside_its_file() {
    let scale = vit_beside_preprocessor().input.scale;
    assert_eq!((scale.mean, scale.std), ([0.5; 3], [0.5; 3]));
    assert_eq!(open("hub-script-17.onnx").input.scale, ImageScale::IMAGENET);
}

/// Where the graph resizes its table of positions, the table is there for any size; where the exporter resized it, for one.
#[test]
fn tables_that_were_resized_are_for_one_size() {
    for (name, side, resizing) in [
        ("hf-script-14-dynamic", 4, Resizing::Offset(0.0)),
        ("hub-script-17", 4, Resizing::Offset(0.1)),
        ("hf-dynamo-18-classes", 3, Resizing::None),
        ("hub-dynamo-23", 4, Resizing::None),
    ] {
        let positions = open(&format!("{name}.onnx")).model.positions;
        assert_eq!(positions.side(), side, "{name}");
        assert_eq!(positions.reaches(5), resizing != Resizing::None, "{name}");
        assert_eq!(
            positions.clone().with_resizing(resizing),
            positions,
            "{name}"
        );
    }
}

#[test]
fn a_classifier_is_read() {
    let Head::Classification(classifier) = open("hf-dynamo-18-classes.onnx").model.head else {
        panic!("no classifier");
    };
    assert_eq!(
        (classifier.pooling, classifier.linear.outputs),
        (Pooling::ClassAndMean, 3)
    );
}
