//! ONNX files as they come and as they should not: whole, torn, edited, with parts missing or changed.

use astra_export::family::vit::{Head, VitModel};
use astra_export::graph::proto::{
    AttributeProto, EXTERNAL, ModelProto, NodeProto, TensorProto, data_type,
};
use astra_export::source::{Mismatch, SourceError, onnx};
use prost::Message;

use crate::exporter::Exporter;
use crate::models::{HIDDEN, Random, vit};

pub(crate) struct Case {
    pub(crate) file: ModelProto,
    pub(crate) expected: VitModel,
}

pub(crate) fn case() -> Case {
    let mut random = Random::new(11);
    let head = random.saliency();
    let model = random.model(head);
    let scales: Vec<_> = model
        .blocks
        .iter()
        .map(|_| {
            [
                random.around(0.5, 0.4, HIDDEN),
                random.around(0.5, 0.4, HIDDEN),
            ]
        })
        .collect();
    Case {
        file: Exporter::export(&model, &scales),
        expected: folded(model, &scales),
    }
}

/// `model` as it has to be read from [`Exporter::export`]: scales and batch normalizations folded in.
fn folded(mut model: VitModel, scales: &[[Vec<f32>; 2]]) -> VitModel {
    for (block, [after_attention, after_mlp]) in model.blocks.iter_mut().zip(scales) {
        block.output.scale_outputs(after_attention);
        block.down.scale_outputs(after_mlp);
    }
    if let Head::Saliency(saliency) = &mut model.head {
        for stage in &mut saliency.stages {
            // 2 / sqrt(variance + epsilon) is 2; the mean takes 2 * 0.25 off what the shift adds.
            stage.weight.iter_mut().for_each(|weight| *weight *= 2.0);
            stage.bias.iter_mut().for_each(|bias| *bias *= 2.0);
        }
    }
    model
}

/// The file of [`case`] after an edit.
fn refusal(edit: impl FnOnce(&mut ModelProto)) -> Mismatch {
    let mut file = case().file;
    edit(&mut file);
    onnx::import(&file).expect_err("an edited file")
}

#[test]
fn a_whole_file_is_read_to_the_last_bit() {
    let Case { file, expected } = case();
    assert_eq!(onnx::import(&file).unwrap(), expected);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some model.onnx");
    std::fs::write(&path, file.encode_to_vec()).unwrap();
    let imported = onnx::open(&path).unwrap();
    assert_eq!(imported.file, "some model.onnx");
    assert_eq!(vit(imported).model, expected);
}

#[test]
fn halves_are_read() {
    let mut file = case().file;
    let tensor = &mut file.graph.as_mut().unwrap().initializer[0];
    let count = tensor.raw_data.len() / 4;
    tensor.data_type = data_type::FLOAT16;
    tensor.raw_data = [0x00, 0x3c].repeat(count);
    let model = onnx::import(&file).unwrap();
    assert!(model.projection.weight.iter().all(|&weight| weight == 1.0));
}

#[test]
fn every_missing_tensor_is_named() {
    let tensors = case().file.graph.unwrap().initializer;
    for (number, tensor) in tensors.iter().enumerate() {
        let refusal = refusal(|file| {
            file.graph.as_mut().unwrap().initializer.remove(number);
        });
        assert_eq!(refusal.name, tensor.name, "{refusal}");
    }
}

#[test]
fn every_tensor_of_another_shape_is_named() {
    let tensors = case().file.graph.unwrap().initializer;
    for (number, tensor) in tensors.iter().enumerate() {
        // A dimension more changes nothing about a scalar, nor about a table that is reshaped.
        if tensor.dims.iter().all(|&dim| dim == 1) || tensor.dims == [1, 16, HIDDEN as i64] {
            continue;
        }
        let refusal = refusal(|file| {
            file.graph.as_mut().unwrap().initializer[number]
                .dims
                .push(1);
        });
        // Products of matrices take three dimensions too; what comes of them fits nothing.
        if tensor.dims.len() != 2 {
            assert_eq!(refusal.name, tensor.name, "{refusal}");
            let dims = format!("{:?}", [&tensor.dims[..], &[1]].concat());
            assert!(refusal.found.contains(&dims), "{refusal}");
        }
    }
}

#[test]
fn no_missing_node_goes_unnoticed() {
    let nodes = case().file.graph.unwrap().node;
    for number in 0..nodes.len() {
        let mut file = case().file;
        let node = file.graph.as_mut().unwrap().node.remove(number);
        assert!(onnx::import(&file).is_err(), "{}", node.name);
    }
}

/// A node of another operator computes something else, with weights that all fit. Every one is seen.
#[test]
fn no_other_node_goes_unnoticed() {
    let nodes = case().file.graph.unwrap().node;
    for (number, node) in nodes.iter().enumerate() {
        let other = match node.op_type.as_str() {
            "Add" => "Sub",
            "Sub" | "Mul" | "Pow" => "Add",
            "Div" => "Mul",
            "Sqrt" | "Erf" | "Sigmoid" | "Relu" => "Tanh",
            "Softmax" => "Sigmoid",
            "ReduceMean" => "ReduceMax",
            "Resize" => "Upsample",
            _ => continue,
        };
        let mut file = case().file;
        other.clone_into(&mut file.graph.as_mut().unwrap().node[number].op_type);
        assert!(onnx::import(&file).is_err(), "{} as {other}", node.name);
    }
}

/// The same for two inputs that have changed places, where that makes a difference.
#[test]
fn no_other_order_goes_unnoticed() {
    let nodes = case().file.graph.unwrap().node;
    for (number, node) in nodes.iter().enumerate() {
        if !matches!(
            node.op_type.as_str(),
            "Sub" | "Div" | "MatMul" | "Concat" | "Pow"
        ) {
            continue;
        }
        let mut file = case().file;
        file.graph.as_mut().unwrap().node[number].input.reverse();
        assert!(onnx::import(&file).is_err(), "{}", node.name);
    }
}

type Edit = fn(&mut ModelProto);

/// What is named, a part of what is said of it, and the edit.
const UNKNOWN_PARTS: [(&str, &str, Edit); 13] = [
    (
        // The last layer is read first.
        "/trunk/encoder/layer.2/attention/attention/Mixed",
        "scores times",
        |file| {
            let width = 8f32.powf(-0.25);
            for tensor in &mut file.graph.as_mut().unwrap().initializer {
                if tensor.float_data == [width] || tensor.raw_data == width.to_le_bytes() {
                    tensor.float_data = vec![0.5];
                    tensor.raw_data.clear();
                }
            }
        },
    ),
    (
        "/trunk/encoder/layer.0/mlp/activation/Erf",
        "Tanh as activation",
        |file| {
            retype(file, "/trunk/encoder/layer.0/mlp/activation/Erf", "Tanh");
        },
    ),
    (
        "/trunk/encoder/layer.0/attention/attention/Softmax",
        "Softmax along the last",
        |file| {
            set_int(
                file,
                "/trunk/encoder/layer.0/attention/attention/Softmax",
                "axis",
                2,
            );
        },
    ),
    ("/decoder/up0", "ConvTranspose", |file| {
        retype(file, "/decoder/up0", "Conv")
    }),
    ("/decoder/last/Conv", "strides [2, 2]", |file| {
        set_ints(file, "/decoder/last/Conv", "strides", &[2, 2]);
    }),
    ("/decoder/up1", "output_padding [1, 1]", |file| {
        set_ints(file, "/decoder/up1", "output_padding", &[1, 1]);
    }),
    ("/trunk/embeddings/Resize", "mode \"linear\"", |file| {
        let node = node(file, "/trunk/embeddings/Resize");
        node.attribute[0].s = Some(b"linear".to_vec());
    }),
    ("/trunk/embeddings/Resize", "antialias 1", |file| {
        set_int(file, "/trunk/embeddings/Resize", "antialias", 1);
    }),
    ("cls_token", "0 values", |file| {
        for tensor in &mut file.graph.as_mut().unwrap().initializer {
            if tensor.name == "cls_token" {
                tensor.data_location = EXTERNAL;
                tensor.raw_data.clear();
                tensor.float_data.clear();
            }
        }
    }),
    (
        "register_tokens",
        "register tokens are not supported",
        |file| {
            // A patch less, so that there are as many tokens as before.
            let graph = file.graph.as_mut().unwrap();
            for (name, value) in [("zero", 0), ("one", 1), ("eight", 8)] {
                graph.initializer.push(TensorProto {
                    dims: vec![1],
                    data_type: data_type::INT64,
                    int64_data: vec![value],
                    name: name.to_owned(),
                    ..TensorProto::default()
                });
            }
            let mut tensor = graph.initializer[2].clone();
            tensor.name = "register_tokens".to_owned();
            graph.initializer.push(tensor);
            let mut nodes = graph.node.iter();
            let concat = nodes.position(|node| node.op_type == "Concat").unwrap();
            let patches = graph.node[concat].input[1].clone();
            graph.node[concat].input[1] = "register_tokens".to_owned();
            graph.node[concat].input.push("eight patches".to_owned());
            let slice = NodeProto {
                op_type: "Slice".to_owned(),
                input: [&patches, "zero", "eight", "one"].map(str::to_owned).into(),
                output: vec!["eight patches".to_owned()],
                ..NodeProto::default()
            };
            graph.node.insert(concat, slice);
        },
    ),
    ("other.weight", "no known part", |file| {
        let graph = file.graph.as_mut().unwrap();
        let mut tensor = graph.initializer[0].clone();
        tensor.name = "other.weight".to_owned();
        graph.initializer.push(tensor);
        let mut node = graph.node[0].clone();
        node.name = "/other/Conv".to_owned();
        node.input[1] = "other.weight".to_owned();
        node.output = vec!["other".to_owned()];
        graph.node.push(node);
        let mut output = graph.output[0].clone();
        output.name = "other".to_owned();
        graph.output.push(output);
    }),
    ("graph", "quantized weights (DequantizeLinear)", |file| {
        retype(file, "/decoder/up0", "DequantizeLinear");
    }),
    (
        "graph",
        "inputs input_ids: a model that reads text",
        |file| {
            file.graph.as_mut().unwrap().input[0].name = "input_ids".to_owned();
        },
    ),
];

#[test]
fn parts_that_are_not_known_are_refused() {
    for (name, found, edit) in UNKNOWN_PARTS {
        let refusal = refusal(edit);
        let said = refusal.to_string();
        assert!(
            refusal.name == name && said.contains(found),
            "{name}, {found}: {said}"
        );
        assert!(
            said.contains("read are ONNX exports of DINOv2 and ViT"),
            "{said}"
        );
        assert!(said.contains("--hf"), "{said}");
    }
}

fn node<'f>(file: &'f mut ModelProto, name: &str) -> &'f mut NodeProto {
    let nodes = &mut file.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.name == name).unwrap()
}

fn retype(file: &mut ModelProto, name: &str, operator: &str) {
    operator.clone_into(&mut node(file, name).op_type);
}

fn set_ints(file: &mut ModelProto, name: &str, attribute: &str, ints: &[i64]) {
    let node = node(file, name);
    node.attribute.retain(|known| known.name != attribute);
    node.attribute.push(AttributeProto {
        name: attribute.to_owned(),
        ints: ints.to_vec(),
        ..AttributeProto::default()
    });
}

fn set_int(file: &mut ModelProto, name: &str, attribute: &str, int: i64) {
    let node = node(file, name);
    node.attribute.retain(|known| known.name != attribute);
    node.attribute.push(AttributeProto {
        name: attribute.to_owned(),
        i: Some(int),
        ..AttributeProto::default()
    });
}

#[test]
fn torn_and_edited_bytes_never_panic() {
    let bytes = case().file.encode_to_vec();
    let try_import = |bytes: &[u8]| ModelProto::decode(bytes).map(|file| onnx::import(&file));
    // A file that ends between two fields is a smaller valid message, so it is not always refused in decoding.
    for end in (0..bytes.len()).step_by(127) {
        if let Ok(found) = try_import(&bytes[..end]) {
            assert!(found.is_err(), "the first {end} bytes were read as a model");
        }
    }
    let changes = [0x01, 0x80, 0xff].into_iter().cycle();
    for (at, change) in (0..bytes.len()).step_by(149).zip(changes) {
        let mut edited = bytes.clone();
        edited[at] ^= change;
        // A changed weight is a model too.
        let _ = try_import(&edited);
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.onnx");
    assert!(matches!(onnx::open(&path), Err(SourceError::Io { .. })));
    for (bytes, found) in [
        (&b"\x89PNG\r\n\x1a\n"[..], "not an ONNX file"),
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "Git LFS",
        ),
        (b"PK\x03\x04abcdef", "PyTorch"),
        (b"GGUF\x03\0\0\0\0\0", "--gguf"),
        (b"\x40\0\0\0\0\0\0\0{\"a\":", "safetensors"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let refusal = onnx::open(&path).unwrap_err();
        assert!(matches!(refusal, SourceError::Format { .. }));
        let said = refusal.to_string();
        assert!(
            said.contains("photo.onnx") && said.contains(found),
            "{said}"
        );
    }
}
