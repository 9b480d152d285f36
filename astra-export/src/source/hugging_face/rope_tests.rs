use serde_json::json;

use super::*;
use crate::family::llama::rope_frequencies;

/// Width of a head, and longest text, of the expected values.
const HEAD_DIM: usize = 16;
const LONGEST: usize = 256;

fn read(config: Json) -> Result<Rope, Mismatch> {
    match config {
        Json::Object(fields) => Rope::read(&fields, LONGEST),
        _ => panic!("no object"),
    }
}

fn refusal(config: Json) -> String {
    read(config).unwrap_err().to_string()
}

const LLAMA3: [f64; 8] = [
    1.0,
    0.079403013,
    0.00470075384,
    0.000911583134,
    0.000176776681,
    3.42810235e-05,
    6.64786967e-06,
    1.28917316e-06,
];
const THETA_500000: [f64; 8] = [
    1.0,
    0.193922758,
    0.0376060307,
    0.00729266508,
    0.00141421345,
    0.000274248188,
    5.31829573e-05,
    1.03133852e-05,
];
const QUARTERS: [f64; 8] = [
    0.25,
    0.079056941,
    0.025,
    0.00790569466,
    0.0025,
    0.000790569466,
    0.00025,
    7.90569466e-05,
];
const NINES: [f64; 8] = [
    1.0,
    0.75983566,
    0.577350259,
    0.438691318,
    0.333333343,
    0.253278583,
    0.192450091,
    0.146230444,
];
const HALVES_OF_SEVENS: [f64; 8] = [
    0.5,
    0.39204213,
    0.307394087,
    0.24102287,
    0.188982248,
    0.148177996,
    0.116184048,
    0.091098085,
];
const OF_LONGEST: [f64; 8] = [
    1.0,
    0.193922758,
    0.0105382307,
    0.000911583134,
    0.000176776681,
    3.42810235e-05,
    6.64786967e-06,
    1.28917316e-06,
];

/// `LlamaRotaryEmbedding(LlamaConfig(...)).inv_freq` of transformers 5.24, in float32.
#[test]
fn frequencies_are_those_of_transformers() {
    let factors = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0 });
    let with = |fields: Json| {
        let mut all = factors.clone();
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let length = json!({ "original_max_position_embeddings": 64 });
    let theta = json!({ "rope_theta": 500000.0 });
    let both = json!({ "rope_theta": 500000.0, "original_max_position_embeddings": 64 });
    let default = json!({ "rope_theta": 500000.0, "rope_type": "default" });
    for (config, expected) in [
        (theta.clone(), THETA_500000),
        (json!({ "rope_parameters": default }), THETA_500000),
        // Every type of layer has the same.
        (
            json!({ "rope_parameters": { "full_attention": default, "sliding_attention": default } }),
            THETA_500000,
        ),
        (
            json!({ "rope_theta": 500000.0, "rope_scaling": with(length) }),
            LLAMA3,
        ),
        (json!({ "rope_parameters": with(both) }), LLAMA3),
        (
            json!({ "original_max_position_embeddings": 64, "rope_parameters": with(theta.clone()) }),
            LLAMA3,
        ),
        (json!({ "rope_parameters": with(theta) }), OF_LONGEST),
        (
            json!({ "rope_scaling": { "type": "linear", "factor": 4.0 } }),
            QUARTERS,
        ),
        (
            json!({ "rope_parameters": { "rope_type": "linear", "factor": 4, "rope_theta": 10000 } }),
            QUARTERS,
        ),
        (
            json!({ "rope_theta": 7.0, "rope_parameters": { "rope_theta": 9.0, "rope_type": "default" } }),
            NINES,
        ),
        (
            json!({ "rope_theta": 7.0, "rope_scaling": { "rope_type": "linear", "factor": 2.0 },
                    "rope_parameters": { "rope_theta": 9.0, "rope_type": "default" } }),
            HALVES_OF_SEVENS,
        ),
    ] {
        let rope = read(config.clone()).unwrap();
        let mut found = rope_frequencies(rope.theta, HEAD_DIM);
        rope.scale(&mut found);
        for (found, expected) in found.iter().zip(expected) {
            let error = (found / expected - 1.0).abs();
            assert!(error < 1e-6, "{config}: {found}, expected {expected}");
        }
    }
}

#[test]
fn scalings_that_change_nothing_are_taken() {
    let plain = read(json!({})).unwrap();
    assert_eq!(plain.theta, 10_000.0);
    for config in [
        json!({ "rope_scaling": null, "rope_parameters": {} }),
        json!({ "rope_scaling": { "rope_type": "default" }, "partial_rotary_factor": 1.0 }),
        json!({ "rope_parameters": { "type": "default", "rope_type": "default", "attention_factor": null } }),
    ] {
        assert_eq!(read(config.clone()).unwrap(), plain, "{config}");
    }
    let linear = read(json!({ "rope_scaling": { "type": "linear", "factor": 1.0 } })).unwrap();
    let mut frequencies = [0.5];
    linear.scale(&mut frequencies);
    assert_eq!(frequencies, [0.5]);
}

#[test]
fn scalings_that_are_not_computed_are_refused_by_name() {
    for kind in ["yarn", "dynamic", "longrope", "su", "proportional", "mrope"] {
        for (field, name) in [("rope_scaling", "type"), ("rope_parameters", "rope_type")] {
            let said = refusal(json!({ field: { name: kind, "factor": 4.0 } }));
            let expected = format!("{field}.rope_type: found {kind:?}, expected \"default\"");
            assert!(said.starts_with(&expected), "{said}");
        }
    }
}

#[test]
fn scalings_that_contradict_themselves_are_refused_by_name() {
    let default = json!({ "rope_type": "default", "rope_theta": 1e6 });
    let local = json!({ "rope_type": "default", "rope_theta": 1e4 });
    for (config, said) in [
        (
            json!({ "rope_parameters": { "full_attention": default, "sliding_attention": local } }),
            "expected the same parameters for every type of layer",
        ),
        (
            json!({ "partial_rotary_factor": 0.5 }),
            "partial_rotary_factor: found 0.5, expected 1",
        ),
        (
            json!({ "rope_parameters": { "rope_type": "default", "partial_rotary_factor": 0.25 } }),
            "rope_parameters.partial_rotary_factor: found 0.25, expected 1",
        ),
        (
            json!({ "rope_scaling": { "rope_type": "default", "mrope_section": [16, 24] } }),
            "rope_scaling.mrope_section: found [16,24], expected one of rope_theta",
        ),
        (
            json!({ "rope_scaling": { "rope_type": "llama3", "type": "linear", "factor": 2.0 } }),
            "rope_scaling.rope_type: found \"llama3\", expected \"linear\"",
        ),
        (
            json!({ "rope_scaling": { "factor": 2.0 } }),
            "rope_scaling.rope_type: found nothing",
        ),
        (
            json!({ "rope_scaling": { "type": "linear" } }),
            "rope_scaling.factor: found nothing, expected a number above 0",
        ),
        (
            json!({ "rope_scaling": { "type": "linear", "factor": 0 } }),
            "rope_scaling.factor: found 0, expected a number above 0",
        ),
        (
            json!({ "rope_scaling": "linear" }),
            "rope_scaling: found \"linear\", expected null or an object",
        ),
        (
            json!({ "rope_parameters": { "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 } }),
            "high_freq_factor: found 4, expected above low_freq_factor, 4",
        ),
        (
            json!({ "original_max_position_embeddings": 64, "rope_scaling":
                    { "rope_type": "linear", "factor": 2, "original_max_position_embeddings": 32 } }),
            "rope_scaling.original_max_position_embeddings: found 32, expected 64",
        ),
    ] {
        let found = refusal(config.clone());
        assert!(found.contains(said), "{config}: {found}");
    }
}
