//! Photographs that are cropped and texts that become vectors: what of it a manifest says, and what is refused.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers are tests too, but stand outside functions marked as such"
)]

mod common;

use astra_bundle::*;
use common::{Place, edit};
use serde_json::{Value, json};

fn task(json: &Value) -> Result<Task, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

fn dense(weight: TensorRef, bias: Option<TensorRef>) -> EmbeddingStep {
    EmbeddingStep::Dense {
        weight,
        bias,
        activation: Activation::Tanh,
    }
}

/// Readers from before there were steps know `normalize` alone, and need it.
#[test]
fn plain_embeddings_have_the_field_that_old_readers_need() {
    for normalize in [true, false] {
        let json = json!({ "kind": "embedding", "pooling": "mean", "normalize": normalize });
        let plain = Task::Embedding(Embedding::plain(TextPooling::Mean, normalize));
        assert_eq!(task(&json), Ok(plain.clone()));
        assert_eq!(serde_json::to_value(&plain).unwrap(), json);
    }
    let embedding = Embedding {
        prompt: "query: ".to_owned(),
        skip: 3,
        ..Embedding::plain(TextPooling::Weightedmean, true)
    };
    let json = json!({
        "kind": "embedding", "pooling": "weightedmean", "prompt": "query: ", "skip": 3,
        "steps": ["normalize"],
    });
    let prompted = Task::Embedding(embedding);
    assert_eq!(serde_json::to_value(&prompted).unwrap(), json);
    assert_eq!(task(&json), Ok(prompted));
}

#[test]
fn half_an_embedding_is_refused() {
    for (json, said) in [
        (
            json!({ "kind": "embedding", "pooling": "mean" }),
            "missing field `normalize` or `steps`",
        ),
        (
            json!({ "kind": "embedding", "pooling": "mean", "normalize": true, "steps": [] }),
            "`normalize` beside `steps`",
        ),
        (
            json!({ "kind": "embedding", "pooling": "mean", "normalize": true, "prompt": "q" }),
            "`prompt` or `skip` without `steps`",
        ),
        (
            json!({ "kind": "embedding", "pooling": "mean", "steps": ["whiten"] }),
            "unknown variant `whiten`",
        ),
    ] {
        let error = task(&json).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

/// Writes a language model whose answer is a vector, with a dense layer from 4 to 6 channels and back to 2.
fn write(dir: &std::path::Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let mut manifest = common::text_parts(&mut writer);
    let mut tensor = |shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        writer.weights(&values, shape).unwrap()
    };
    let steps = vec![
        dense(tensor(&[6, 4]), Some(tensor(&[6]))),
        EmbeddingStep::Normalize,
        EmbeddingStep::Truncate { width: 5 },
        dense(tensor(&[2, 5]), None),
    ];
    manifest.task = Task::Embedding(Embedding {
        steps,
        ..Embedding::plain(TextPooling::Max, false)
    });
    writer.finish(manifest).unwrap()
}

#[test]
fn steps_are_read_and_their_width_is_known() {
    let place = Place::new();
    let written = write(&place.bundle());
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!(read.manifest(), written.manifest());
    let Task::Embedding(embedding) = &read.manifest().task else {
        panic!("another task");
    };
    assert_eq!(embedding.width(4), 2);
    assert_eq!(Embedding::plain(TextPooling::Cls, true).width(4), 4);
    let EmbeddingStep::Dense { weight, .. } = &embedding.steps[0] else {
        panic!("another step");
    };
    assert_eq!(*read.tensor(weight).unwrap(), [0.5; 24]);
}

#[test]
fn edited_steps_are_refused() {
    for (pointer, value, said) in [
        (
            "/task/skip",
            json!(99),
            "task.skip: found 99, expected 0 to",
        ),
        (
            "/task/steps/0/dense/weight/shape",
            json!([6, 3]),
            "task.steps[0].weight.shape: found [6, 3], expected [6, 4]",
        ),
        (
            "/task/steps/0/dense/bias/shape",
            json!([5]),
            "task.steps[0].bias.shape: found [5], expected [6]",
        ),
        (
            "/task/steps/0/dense/weight/shape/0",
            json!(0),
            "task.steps[0].weight.shape[0]: found 0, expected 1 to 8192",
        ),
        (
            "/task/steps/2/truncate/width",
            json!(7),
            "task.steps[2].width: found 7, expected 1 to 6",
        ),
        (
            "/task/steps/3/dense/weight/offset",
            json!(1 << 20),
            "tensor [2, 5]: found it at byte 1048576, expected it to end within",
        ),
    ] {
        let text = common::refusal_of(write, |dir| {
            edit(dir, |manifest| {
                manifest["task"]["skip"] = json!(0);
                *manifest.pointer_mut(pointer).expect("pointer") = value;
            });
        });
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_crop_needs_the_side_before_it() {
    let edited = |image: Value| {
        common::refusal_of(common::write, |dir| {
            edit(dir, |manifest| {
                for (name, value) in image.as_object().unwrap() {
                    manifest["image"][name] = value.clone();
                }
                manifest["task"] = json!({ "kind": "features" });
            });
        })
    };
    for (image, said) in [
        (
            json!({ "fit": "crop", "map_size": null }),
            "image.resize: found missing, expected the side before the middle is cut out",
        ),
        (
            json!({ "fit": "stretch_crop", "map_size": null, "resize": 3 }),
            "image.resize: found 3, expected 4 to 8192",
        ),
        (
            json!({ "fit": "pad", "resize": 8 }),
            "image.resize: found 8, expected nothing for the fit Pad",
        ),
        (
            json!({ "fit": "crop", "resize": 8 }),
            "image.fit: found Crop, expected one that keeps the whole photograph, for a model that answers a map",
        ),
    ] {
        let text = edited(image);
        assert_eq!(text, format!("DIR/manifest.json: {said}"));
    }
    let place = Place::new();
    common::write(&place.bundle());
    edit(&place.bundle(), |manifest| {
        manifest["image"]["fit"] = json!("crop");
        manifest["image"]["resize"] = json!(8);
        manifest["image"]["map_size"] = Value::Null;
        manifest["image"]["filter"] = json!("hamming");
        manifest["task"] = json!({ "kind": "features" });
    });
    let image = Bundle::open(&place.bundle())
        .unwrap()
        .manifest()
        .image
        .unwrap();
    assert_eq!(
        (image.fit, image.resize, image.filter),
        (Fit::Crop, Some(8), Filter::Hamming)
    );
}
