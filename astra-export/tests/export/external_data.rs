//! ONNX files whose tensors are in a file beside them.

use astra_export::graph::proto::{EXTERNAL, StringStringEntryProto};
use astra_export::source::onnx;
use prost::Message;

use crate::corrupted::{Case, case};
use crate::models::vit;

#[test]
fn tensors_are_read_from_within_the_directory_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let Case { mut file, expected } = case();
    let mut data = vec![0xa5; 3];
    for tensor in &mut file.graph.as_mut().unwrap().initializer {
        let values = tensor.float_data.drain(..).flat_map(f32::to_le_bytes);
        let bytes: Vec<u8> = tensor
            .raw_data
            .drain(..)
            .collect::<Vec<_>>()
            .into_iter()
            .chain(values)
            .collect();
        tensor.data_location = EXTERNAL;
        let entries = [
            ("location", "model.onnx_data".to_owned()),
            ("offset", data.len().to_string()),
            ("length", bytes.len().to_string()),
        ];
        tensor.external_data = entries
            .map(|(key, value)| StringStringEntryProto {
                key: key.to_owned(),
                value,
            })
            .into();
        data.extend(bytes);
    }
    std::fs::write(&path, file.encode_to_vec()).unwrap();
    let refusal = onnx::open(&path).unwrap_err().to_string();
    assert!(refusal.contains("model.onnx_data"), "{refusal}");

    std::fs::write(folder.path().join("model.onnx_data"), &data).unwrap();
    let imported = onnx::open(&path).unwrap();
    let hash = imported.sha256;
    assert_eq!(vit(imported).model, expected);
    // The hash is of the weights too.
    data[3] ^= 1;
    std::fs::write(folder.path().join("model.onnx_data"), &data).unwrap();
    assert_ne!(onnx::open(&path).unwrap().sha256, hash);

    for (entry, value, said) in [
        (0, "../model.onnx_data", "in the directory of the ONNX file"),
        (0, "/etc/passwd", "in the directory of the ONNX file"),
        (0, "a/../../b", "in the directory of the ONNX file"),
        (0, "", "in the directory of the ONNX file"),
        (1, "99999999", "from 99999999 on"),
        (1, "18446744073709551615", "from 18446744073709551615 on"),
        (1, "-1", "no number"),
        (2, "5", "a multiple of 4"),
        (2, "4", "1 values"),
    ] {
        let mut edited = file.clone();
        let tensor = &mut edited.graph.as_mut().unwrap().initializer[0];
        value.clone_into(&mut tensor.external_data[entry].value);
        std::fs::write(&path, edited.encode_to_vec()).unwrap();
        let refusal = onnx::open(&path).unwrap_err().to_string();
        assert!(refusal.contains(said), "{value}: {refusal}");
    }
}
