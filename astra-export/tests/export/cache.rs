//! What `cargo xtask test` puts into the cache.

use std::path::{Path, PathBuf};

const HINT: &str = "run the tests with `cargo xtask test`, which brings what they need";

/// `$ASTRA_EDGE_CACHE`, else the folder in the user's cache.
pub(crate) fn folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("ASTRA_EDGE_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("astra-edge")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/astra-edge")))
        .expect(HINT)
}

/// The ONNX Runtime library.
pub(crate) fn runtime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let libraries = files(&folder().join("ort"), &["so"]);
    let library = libraries.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.so")
    });
    library.expect(HINT)
}

/// The demo's model.
pub(crate) fn model() -> PathBuf {
    let path = folder().join("models/vit_s_focus.onnx");
    assert!(path.is_file(), "{} is missing: {HINT}", path.display());
    path
}

/// The language model.
pub(crate) fn language_model() -> PathBuf {
    let path = folder().join("models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.is_file(), "{} is missing: {HINT}", path.display());
    path
}

/// The directory of the model of sentence embeddings.
pub(crate) fn sentence_model() -> PathBuf {
    let path = folder().join("models/all-minilm-l6-v2");
    assert!(path.is_dir(), "{} is missing: {HINT}", path.display());
    path
}

/// The demo's photographs.
pub(crate) fn photos() -> Vec<PathBuf> {
    let folder = folder().join("photographs");
    let photos = files(&folder, &["png", "jpg"]);
    assert!(!photos.is_empty(), "{} is empty: {HINT}", folder.display());
    photos
}

/// Files in `folder` with one of these in their extensions, by name.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        panic!("{} is missing: {HINT}", folder.display());
    };
    let has_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split('.')
            .skip(1)
            .any(|part| extensions.contains(&part))
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(has_one)
        .collect();
    paths.sort_unstable();
    paths
}
