//! ONNX files as they come and as they should not: whole, torn, edited, with parts missing or changed.

use astra_export::family::vit::VitModel;
use astra_export::graph::proto::{EXTERNAL, ModelProto, data_type};
use astra_export::source::{Mismatch, SourceError, onnx};
use prost::Message;

use crate::exporter::{Exporter, folded};
use crate::models::{HIDDEN, Random, vit};

struct Case {
    file: ModelProto,
    expected: VitModel,
}

fn case() -> Case {
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
        // A dimension more changes nothing about a scalar.
        if tensor.dims.iter().all(|&dim| dim == 1) {
            continue;
        }
        let refusal = refusal(|file| {
            file.graph.as_mut().unwrap().initializer[number]
                .dims
                .push(1);
        });
        assert_eq!(refusal.name, tensor.name, "{refusal}");
        assert!(
            refusal
                .found
                .contains(&format!("{:?}", [&tensor.dims[..], &[1]].concat())),
            "{refusal}"
        );
    }
}

#[test]
fn no_missing_node_goes_unnoticed() {
    let nodes = case().file.graph.unwrap().node;
    for (number, node) in nodes.iter().enumerate() {
        let name = &node.name;
        let mut file = case().file;
        file.graph.as_mut().unwrap().node.remove(number);
        let found = onnx::import(&file);
        // These compute from values what has no weights; agreement with the original file is what shows them.
        let unseen = [
            "/ReduceMean",
            "/Div",
            "/MatMul_",
            "/Add_",
            "/Transpose",
            "/Concat",
            "/Reshape",
        ];
        if !unseen.iter().any(|part| name.starts_with(part)) {
            let refusal = found.expect_err(name).to_string();
            assert!(!refusal.is_empty());
        }
    }
}

#[test]
fn parts_that_are_not_known_are_refused() {
    type Edit = fn(&mut ModelProto);
    let edits: [(&str, &str, Edit); 9] = [
        (
            "/trunk/encoder/layer.0/attention/attention/Softmax",
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
            "Tanh",
            |file| {
                retype(file, "/trunk/encoder/layer.0/mlp/activation/Erf", "Tanh");
            },
        ),
        ("/decoder/up0", "Conv,", |file| {
            retype(file, "/decoder/up0", "Conv")
        }),
        ("/decoder/last/Conv", "strides [2, 2]", |file| {
            set_ints(file, "/decoder/last/Conv", "strides", &[2, 2]);
        }),
        ("/decoder/up1", "output_padding [1, 1]", |file| {
            set_ints(file, "/decoder/up1", "output_padding", &[1, 1]);
        }),
        ("/trunk/embeddings/Resize", "mode \"linear\"", |file| {
            let node = file.graph.as_mut().unwrap().node.iter_mut();
            let node = node.filter(|node| node.name == "/trunk/embeddings/Resize");
            for node in node {
                node.attribute[0].s = Some(b"linear".to_vec());
            }
        }),
        ("cls_token", "another file", |file| {
            for tensor in &mut file.graph.as_mut().unwrap().initializer {
                if tensor.name == "cls_token" {
                    tensor.data_location = EXTERNAL;
                }
            }
        }),
        ("register_tokens", "no known part", |file| {
            let graph = file.graph.as_mut().unwrap();
            let mut tensor = graph.initializer[0].clone();
            tensor.name = "register_tokens".to_owned();
            graph.initializer.push(tensor);
        }),
        ("graph", "2 outputs", |file| {
            let graph = file.graph.as_mut().unwrap();
            graph.output.push(graph.output[0].clone());
        }),
    ];
    for (name, found, edit) in edits {
        let refusal = refusal(edit);
        let said = refusal.to_string();
        assert!(
            refusal.name == name && said.contains(found),
            "{name}, {found}: {said}"
        );
    }
}

fn retype(file: &mut ModelProto, name: &str, operator: &str) {
    for node in &mut file.graph.as_mut().unwrap().node {
        if node.name == name {
            operator.clone_into(&mut node.op_type);
        }
    }
}

fn set_ints(file: &mut ModelProto, name: &str, attribute: &str, ints: &[i64]) {
    for node in &mut file.graph.as_mut().unwrap().node {
        if node.name == name {
            node.attribute.retain(|known| known.name != attribute);
            node.attribute
                .push(astra_export::graph::proto::AttributeProto {
                    name: attribute.to_owned(),
                    ints: ints.to_vec(),
                    ..Default::default()
                });
        }
    }
}

#[test]
fn torn_and_edited_bytes_never_panic() {
    let bytes = case().file.encode_to_vec();
    let try_import = |bytes: &[u8]| ModelProto::decode(bytes).map(|file| onnx::import(&file));
    // A file that ends between two fields is a smaller valid message, so it is not always refused in decoding.
    for end in (0..bytes.len()).step_by(61) {
        if let Ok(found) = try_import(&bytes[..end]) {
            assert!(found.is_err(), "the first {end} bytes were read as a model");
        }
    }
    let changes = [0x01, 0x80, 0xff].into_iter().cycle();
    for (at, change) in (0..bytes.len()).step_by(53).zip(changes) {
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
    std::fs::write(&path, b"\x89PNG\r\n\x1a\n").unwrap();
    let refusal = onnx::open(&path).unwrap_err();
    assert!(matches!(refusal, SourceError::Format { .. }));
    assert!(refusal.to_string().contains("photo.onnx"), "{refusal}");
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(
        onnx::open(&path),
        Err(SourceError::Mismatch { .. })
    ));
}
