//! `preprocessor_config.json`.

use astra_bundle::{Filter, Fit};
use astra_export::package::{Draft, Request};
use astra_export::source::{PictureInput, hugging_face};
use serde_json::{Value, json};

use crate::hugging_face::{DINOV2, Directory, Names, VIT};
use crate::models::{PATCH, vit};

/// Bytes of a pixel.
const PIXEL: [u8; 3] = [10, 128, 250];

fn directory(names: &Names, config: &Value) -> Directory {
    let directory = Directory::new(names, true, 0);
    let text = config.to_string();
    directory.write("preprocessor_config.json", text.as_bytes());
    directory
}

fn read(names: &Names, config: &Value) -> PictureInput {
    let directory = directory(names, config);
    vit(hugging_face::open(directory.path()).unwrap()).input
}

/// What a model of these pixels sees.
fn seen(input: &PictureInput) -> [f32; 3] {
    [0, 1, 2].map(|channel| {
        let byte = f32::from(PIXEL[channel]);
        (byte / 255.0 - input.scale.mean[channel]) / input.scale.std[channel]
    })
}

/// Model, configuration, what a pixel becomes, and geometry: how it is fit, size, size before the crop, filter. A pixel becomes
/// `means` with the means and deviations of ImageNet, which such a configuration has besides.
const CLASSES: &str = r#"
vit {} | halves | stretch 224 224 linear
vit { "size": 32 } | halves | stretch 32 32 linear
vit { "size": [32, 32] } | halves | stretch 32 32 linear
vit { "feature_extractor_type": "ViTFeatureExtractor" } | halves | stretch 224 224 linear
vit { "image_processor_type": "ViTImageProcessor" } | halves | stretch 224 224 linear
vit { "image_processor_type": "ViTImageProcessorFast", "resample": 3, "size": { "height": 48, "width": 48 } } | means | stretch 48 48 cubic
vit { "do_center_crop": true, "crop_size": 200 } | halves | both 200 224 linear
vit { "feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "do_center_crop": true } | means | both 224 256 cubic
vit { "image_processor_type": "DeiTImageProcessor" } | halves | both 224 256 cubic
dinov2 {} | clip | crop 224 224 cubic
dinov2 { "image_processor_type": "BitImageProcessor" } | clip | crop 224 224 cubic
dinov2 { "image_processor_type": "CLIPImageProcessor" } | clip | crop 224 224 cubic
dinov2 { "image_processor_type": "BitImageProcessor", "size": { "shortest_edge": 256 }, "crop_size": { "height": 224, "width": 224 } } | means | crop 224 256 cubic
dinov2 { "size": 64, "crop_size": 56 } | clip | crop 56 64 cubic
vit { "do_rescale": false } | 19.0 255.0 499.0 | stretch 224 224 linear
vit { "rescale_factor": 0.01 } | -0.8 1.56 4.0 | stretch 224 224 linear
vit { "do_normalize": false } | 0.03922 0.50196 0.98039 | stretch 224 224 linear
vit { "do_normalize": false, "do_rescale": false } | 10.0 128.0 250.0 | stretch 224 224 linear
vit { "image_mean": 0.25, "image_std": 0.5 } | -0.42157 0.50392 1.46078 | stretch 224 224 linear
vit { "do_pad": true, "do_convert_rgb": true, "processor_class": "ViTProcessor" } | halves | stretch 224 224 linear
"#;

fn names(model: &str) -> &'static Names {
    match model {
        "vit" => &VIT,
        "dinov2" => &DINOV2,
        other => panic!("{other}"),
    }
}

fn values(said: &str) -> [f32; 3] {
    match said {
        "halves" => [-0.92157, 0.00392, 0.96078],
        "clip" => [-1.64628, 0.1689, 2.0748],
        "means" => [-1.94666, 0.20518, 2.55285],
        other => {
            let numbers: Vec<f32> = other.split(' ').map(|n| n.parse().unwrap()).collect();
            numbers.try_into().unwrap()
        }
    }
}

fn geometry(said: &str) -> (Fit, usize, usize, Filter) {
    let words: Vec<&str> = said.split(' ').collect();
    let fit = match words[0] {
        "stretch" => Fit::Stretch,
        "crop" => Fit::Crop,
        "both" => Fit::StretchCrop,
        other => panic!("{other}"),
    };
    let filter = match words[3] {
        "linear" => Filter::Triangle,
        "cubic" => Filter::CatmullRom,
        other => panic!("{other}"),
    };
    let number = |at: usize| words[at].parse().unwrap();
    (fit, number(1), number(2), filter)
}

/// Values and geometry of `AutoImageProcessor` of transformers 5.24.0 for the same files.
#[test]
fn every_class_has_its_defaults() {
    for line in CLASSES.trim().lines() {
        let (model, rest) = line.split_once(' ').unwrap();
        let parts: Vec<&str> = rest.split(" | ").collect();
        let mut config: Value = serde_json::from_str(parts[0]).unwrap();
        if parts[1] == "means" {
            config["image_mean"] = json!([0.485, 0.456, 0.406]);
            config["image_std"] = json!([0.229, 0.224, 0.225]);
        }
        let input = read(names(model), &config);
        for (found, expected) in seen(&input).into_iter().zip(values(parts[1])) {
            assert!(
                (found - expected).abs() < 2e-5 * expected.abs().max(1.0),
                "{config}: {found} instead of {expected}"
            );
        }
        let found = (input.fit, input.size, input.resize, input.filter);
        assert_eq!(found, geometry(parts[2]), "{config}");
    }
}

#[test]
fn filters_have_the_numbers_of_pillow() {
    let filters = [
        Filter::Nearest,
        Filter::Lanczos3,
        Filter::Triangle,
        Filter::CatmullRom,
        Filter::Box,
        Filter::Hamming,
    ];
    for (number, filter) in filters.into_iter().enumerate() {
        assert_eq!(read(&VIT, &json!({ "resample": number })).filter, filter);
    }
}

#[test]
fn a_file_for_several_kinds_of_input_has_one_within() {
    let directory = directory(&VIT, &json!({ "size": 48 }));
    directory.write(
        "processor_config.json",
        br#"{"image_processor": {"size": 64}}"#,
    );
    let input = vit(hugging_face::open(directory.path()).unwrap()).input;
    assert_eq!(input.size, 64);
    directory.write(
        "processor_config.json",
        br#"{"processor_class": "Something"}"#,
    );
    let input = vit(hugging_face::open(directory.path()).unwrap()).input;
    assert_eq!(input.size, 48);
}

const REFUSED: &str = r#"
vit { "image_processor_type": "ConvNextImageProcessor" } | image_processor_type: found "ConvNextImageProcessor", expected ViT-, DeiT-
vit { "feature_extractor_type": "BeitFeatureExtractor" } | feature_extractor_type: found "BeitFeatureExtractor"
vit { "do_resize": false } | do_resize: found false, expected true
vit { "do_pad": true, "pad_size": 256 } | pad_size: found 256, expected nothing
vit { "size": { "height": 224, "width": 256 } } | size: found {"height":224,"width":256}, expected a number
vit { "size": { "shortest_edge": 224, "longest_edge": 500 } } | size: found
vit { "size": { "max_height": 224, "max_width": 224 } } | size: found
vit { "size": 0 } | size: found 0
vit { "size": { "shortest_edge": 224 } } | do_center_crop: found false, expected true
vit { "do_center_crop": true } | crop_size: found null
dinov2 { "do_center_crop": false } | do_center_crop: found false, expected true
dinov2 { "size": 32 } | crop_size: found 224, expected at most size, 32
dinov2 { "crop_size": { "height": 224, "width": 200 } } | crop_size: found
vit { "resample": 6 } | resample: found 6, expected 0 to 5
vit { "resample": "bicubic" } | resample: found "bicubic", expected 0 to 5
vit { "image_mean": [0.5] } | image_mean: found [0.5], expected a number, or three
vit { "image_std": [1, 0, 1] } | image_std: found [1.0,0.0,1.0], expected numbers other than zero
vit { "rescale_factor": 0 } | rescale_factor: found 0.0
vit { "crop_pct": 0.875 } | crop_pct: found 0.875, expected no such field
"#;

#[test]
fn fields_that_are_not_followed_are_named() {
    for line in REFUSED.trim().lines() {
        let (model, rest) = line.split_once(' ').unwrap();
        let (config, said) = rest.split_once(" | ").unwrap();
        let config = serde_json::from_str(config).unwrap();
        let refusal = directory(names(model), &config).refusal();
        assert!(
            refusal.contains(&format!("preprocessor_config.json: {said}")),
            "{refusal}"
        );
    }
}

/// Without the file: what `google/vit-base-patch16-224` and `facebook/dinov2-base` were published with.
#[test]
fn without_a_file_it_is_what_the_first_models_had() {
    for (names, fit, resize, mean) in [
        (&VIT, Fit::Stretch, 224, 0.5),
        (&DINOV2, Fit::Crop, 256, 0.485),
    ] {
        let input = vit(hugging_face::open(Directory::new(names, true, 0).path()).unwrap()).input;
        assert_eq!((input.fit, input.size, input.resize), (fit, 224, resize));
        assert_eq!(input.scale.mean[0], mean);
    }
}

/// Another size of the input sees the same part of a photograph.
#[test]
fn the_crop_keeps_its_share_at_other_sizes() {
    let config = json!({ "size": { "shortest_edge": 256 }, "crop_size": 224 });
    let directory = directory(&DINOV2, &config);
    let imported = hugging_face::open(directory.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let request = Request {
        name: "small",
        size: 4 * PATCH,
        max_tokens: None,
        seed: 0,
    };
    let bundle = Draft::write(&folder.path().join("bundle"), &imported, &request).unwrap();
    let bundle = bundle.finish().unwrap();
    let image = bundle.manifest().image.unwrap();
    let expected = (4.0 * PATCH as f64 * 256.0 / 224.0).round() as usize;
    assert_eq!((image.fit, image.resize), (Fit::Crop, Some(expected)));
}
