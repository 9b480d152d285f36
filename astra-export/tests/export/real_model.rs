//! The demo's model: what is exported against the original file.

use std::path::Path;

use astra_bundle::BundleWriter;
use astra_export::family::vit::{Head, ImageScale, StoredVit, graphs};
use astra_export::graph::proto::{ModelProto, ValueInfoProto};
use astra_export::source::onnx;
use image::imageops::FilterType;
use prost::Message;

use crate::cache;
use crate::runtime::{Array, Graph, max_difference};

const SIZE: usize = 224;
const SIDE: usize = 16;
const PATCH: usize = 14;
/// Of the map and the class token; of the patches, which are more and reach further from zero, three times that.
const TOLERANCE: f32 = 1e-4;
/// The original's value after the final norm: `[1, 1 + T, D]`.
const FEATURES: &str = "/backbone/layernorm/Add_1_output_0";

/// A photograph stretched to the input's size, `[row, column, channel]`.
fn photo(path: &Path) -> Vec<u8> {
    let photo = image::open(path).unwrap().into_rgb8();
    let side = u32::try_from(SIZE).unwrap();
    image::imageops::resize(&photo, side, side, FilterType::Triangle).into_raw()
}

/// What the original takes: `[1, 3, size, size]`, normalized.
fn planes(photo: &[u8]) -> Array {
    let ImageScale { mean, std } = ImageScale::IMAGENET;
    let values = (0..3).flat_map(|channel| {
        let bytes = photo.iter().skip(channel).step_by(3);
        bytes.map(move |&byte| (f32::from(byte) / 255.0 - mean[channel]) / std[channel])
    });
    Array::F32(vec![1, 3, SIZE, SIZE], values.collect())
}

/// What the exported graphs take: patch by patch.
fn patches(photo: &[u8]) -> Array {
    let mut pixels = Vec::with_capacity(photo.len());
    for token in 0..SIDE * SIDE {
        for row in 0..PATCH {
            let start = ((token / SIDE * PATCH + row) * SIZE + token % SIDE * PATCH) * 3;
            pixels.extend_from_slice(&photo[start..start + PATCH * 3]);
        }
    }
    Array::U8(vec![SIDE * SIDE, PATCH * PATCH * 3], pixels)
}

/// The original, which answers with the map alone, made to show the features it is drawn from.
fn original_with_features(path: &Path) -> Graph {
    let mut model = ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    model.graph.as_mut().unwrap().output.push(ValueInfoProto {
        name: FEATURES.to_owned(),
        r#type: None,
    });
    Graph::from_bytes(&model.encode_to_vec())
}

#[test]
fn the_whole_graph_answers_as_the_original() {
    let path = cache::model();
    let imported = crate::models::vit(onnx::open(&path).unwrap());
    let model = &imported.model;
    assert_eq!(
        (model.hidden, model.heads, model.patch, model.blocks.len()),
        (384, 6, PATCH, 12)
    );
    assert!(matches!(&model.head, Head::Saliency(saliency) if saliency.stages.len() == 3));

    let folder = tempfile::tempdir().unwrap();
    let mut writer = BundleWriter::create(&folder.path().join("bundle")).unwrap();
    let vit = StoredVit::store(&mut writer, model, &imported.input.scale, SIDE).unwrap();
    for (name, bytes) in graphs(&vit) {
        writer.graph(&name, &bytes).unwrap();
    }
    writer.flush().unwrap();

    let mut original = original_with_features(&path);
    let mut whole = Graph::open(&writer.dir().join("whole.onnx"));
    let mut head = Graph::open(&writer.dir().join("head.onnx"));
    // Of every kind some: all of them would take minutes.
    for path in cache::photos().into_iter().step_by(5) {
        let photo = photo(&path);
        let inputs = vec![("input_image", planes(&photo))];
        let expected = original.run(inputs, ["output_importance", FEATURES]);
        let [expected_map, features] = expected.map(|array| array.into_matrix().1);
        let inputs = vec![("pixels", patches(&photo))];
        let [cls, rows, map] = whole.run(inputs, ["cls", "patches", "map"]);
        let inputs = vec![("cls", cls.clone()), ("patches", rows.clone())];
        let [by_head] = head.run(inputs, ["map"]);
        let (expected_cls, expected_rows) = features.split_at(model.hidden);
        for (what, found, expected, tolerance) in [
            ("cls", cls, expected_cls, TOLERANCE),
            ("patches", rows, expected_rows, 3.0 * TOLERANCE),
            ("map", map, &expected_map, TOLERANCE),
            ("map of the head alone", by_head, &expected_map, TOLERANCE),
        ] {
            let difference = max_difference(&found.into_matrix().1, expected);
            let report = format!("{}: {what} off by {difference:e}", path.display());
            assert!(difference <= tolerance, "{report}");
        }
    }
}
