//! The bytes of an ONNX file, and of the files beside it that hold its larger tensors.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use astra_bundle::Sha256Digest;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Mismatch, SourceError};
use crate::graph::proto::{EXTERNAL, GraphProto, ModelProto, TensorProto};
use crate::source::error::{not_a_model, read};

/// A file whose tensors are all inside, and the hash of all it was read from: of the file, then of those beside it in the
/// order of their names.
pub(super) fn open(path: &Path) -> Result<(ModelProto, Sha256Digest), SourceError> {
    let bytes = read(path)?;
    let not_onnx = |error: String| SourceError::Format {
        path: path.to_owned(),
        format: "an ONNX file",
        error,
    };
    if let Some(kind) = other_kind(&bytes) {
        return Err(not_onnx(format!("{kind}; {}", super::survey::READ)));
    }
    let mut model =
        ModelProto::decode(bytes.as_slice()).map_err(|error| not_onnx(error.to_string()))?;
    let beside = external_files(&model).map_err(|mismatch| mismatch.at(path))?;
    if beside.is_empty() {
        return Ok((model, Sha256Digest::of(&bytes)));
    }
    let mut hash = Sha256::new();
    hash.update(&bytes);
    drop(bytes);
    for (location, file) in beside {
        let file = path.parent().unwrap_or(Path::new("")).join(file);
        let bytes = read(&file)?;
        hash.update(&bytes);
        take_in(&mut model, &location, &bytes).map_err(|mismatch| mismatch.at(&file))?;
    }
    Ok((model, Sha256Digest(hash.finalize().into())))
}

/// What a file is by its first bytes, if that is something that people mistake for an ONNX file.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    Some(match bytes {
        [] => "it is empty",
        _ if starts(b"PK\x03\x04") => "it is a ZIP archive, as PyTorch writes checkpoints",
        _ if starts(b"GGUF") => "it is a GGUF file, which --gguf reads",
        [_, _, _, _, _, _, _, _, b'{', ..] => {
            "it is a safetensors file, whose directory --hf reads"
        }
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => "it is in ONNX Runtime's own format (.ort)",
        _ => return not_a_model(bytes),
    })
}

/// The tensors of the file.
fn tensors(graph: &mut GraphProto) -> impl Iterator<Item = &mut TensorProto> {
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    graph
        .initializer
        .iter_mut()
        .chain(attributes.filter_map(|attribute| attribute.t.as_mut()))
}

/// The files beside the model's by the name they have in it: within its directory, whatever the file says.
fn external_files(model: &ModelProto) -> Result<BTreeMap<String, PathBuf>, Mismatch> {
    let mut files = BTreeMap::new();
    let Some(graph) = &model.graph else {
        return Ok(files);
    };
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    let all = graph
        .initializer
        .iter()
        .chain(attributes.filter_map(|attribute| attribute.t.as_ref()));
    for tensor in all.filter(|tensor| tensor.data_location == EXTERNAL) {
        let location = entry(tensor, "location").unwrap_or_default();
        let file = Path::new(location);
        let mut parts = file
            .components()
            .filter(|part| *part != Component::CurDir)
            .peekable();
        let inside =
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
        if !inside || location.contains(['\\', '\0']) {
            let found = format!("data in {location:?}");
            return Err(Mismatch::new(
                &tensor.name,
                found,
                "a file in the directory of the ONNX file",
            ));
        }
        files.insert(location.to_owned(), file.to_owned());
    }
    Ok(files)
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    let entry = tensor.external_data.iter().find(|entry| entry.key == key);
    entry.map(|entry| entry.value.as_str())
}

/// Puts the data of the tensors that are in `location` into the model.
fn take_in(model: &mut ModelProto, location: &str, bytes: &[u8]) -> Result<(), Mismatch> {
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    for tensor in tensors(graph).filter(|tensor| tensor.data_location == EXTERNAL) {
        if entry(tensor, "location") != Some(location) {
            continue;
        }
        let number = |key| entry(tensor, key).map(str::parse::<usize>);
        let (offset, length) = match (
            number("offset").unwrap_or(Ok(0)),
            number("length").transpose(),
        ) {
            (Ok(offset), Ok(length)) => {
                (offset, length.unwrap_or(bytes.len().saturating_sub(offset)))
            }
            _ => {
                let found = "an offset or length that is no number";
                return Err(Mismatch::new(&tensor.name, found, "numbers"));
            }
        };
        let end = offset.checked_add(length);
        let Some(data) = end.and_then(|end| bytes.get(offset..end)) else {
            let found = format!("{} bytes", bytes.len());
            let expected = format!("{length} from {offset} on");
            return Err(Mismatch::new(&tensor.name, found, expected));
        };
        tensor.raw_data = data.to_vec();
        tensor.data_location = 0;
        tensor.external_data.clear();
    }
    Ok(())
}
