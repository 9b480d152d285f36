//! Finding the ONNX Runtime library.

use std::path::{Path, PathBuf};

use super::EngineError;
use crate::paths;

/// Name of the library without a version.
const UNVERSIONED: &str = "libonnxruntime.so";

/// Path of the library to load: see [`Runtime::load`](super::Runtime::load).
///
/// # Errors
/// None was found; the error lists the paths tried.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf, EngineError> {
    if let Some(given) = given {
        return existing(std::env::split_paths(given).flat_map(candidates).collect());
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return existing(vec![PathBuf::from(path)]);
    }
    let cache = paths::cache_dir().map(|cache| cache.join("ort"));
    let system = [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib64",
        multiarch_folder(),
    ];
    let folders = package_folder().into_iter().chain(cache);
    let folders = folders.chain(system.map(PathBuf::from));
    existing(folders.flat_map(|folder| libraries_in(&folder)).collect())
}

/// Candidates for a file or folder of the search path.
fn candidates(path: PathBuf) -> Vec<PathBuf> {
    match path.is_dir() {
        true => libraries_in(&path),
        false => vec![path],
    }
}

/// The folder a package installs it in: `lib/astra-edge` next to the `bin` of this program.
fn package_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.join("lib/astra-edge"))
}

/// Debian's library folder for this architecture.
const fn multiarch_folder() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "/usr/lib/aarch64-linux-gnu"
    } else {
        "/usr/lib/x86_64-linux-gnu"
    }
}

/// Candidates in a folder: versioned libraries, newest first, then the one without a version.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((version(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    let versioned = found.into_iter().map(|(_, path)| path);
    versioned.chain([folder.join(UNVERSIONED)]).collect()
}

/// The version in the name of a versioned library.
fn version(name: &str) -> Option<Vec<u32>> {
    let numbers = name
        .strip_prefix(UNVERSIONED)?
        .strip_prefix('.')?
        .split('.');
    numbers.map(|number| number.parse().ok()).collect()
}

fn existing(tried: Vec<PathBuf>) -> Result<PathBuf, EngineError> {
    match tried.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(EngineError::RuntimeNotFound { tried }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_searched_in_order_and_the_newest_version_wins() {
        let empty = folder_with(&["libonnxruntime_providers_cuda.so", "libonnxruntime.so.d"]);
        let old = folder_with(&["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.22.0"]);
        let plain = folder_with(&["libonnxruntime.so"]);
        let search = |folders: &[&tempfile::TempDir]| {
            let folders = folders.iter().map(|folder| folder.path());
            find(Some(Path::new(&std::env::join_paths(folders).unwrap())))
        };
        let found = search(&[&empty, &old, &plain]).unwrap();
        assert_eq!(found, old.path().join("libonnxruntime.so.1.22.0"));
        let found = search(&[&empty, &plain, &old]).unwrap();
        assert_eq!(found, plain.path().join("libonnxruntime.so"));
        let Err(EngineError::RuntimeNotFound { tried }) = search(&[&empty]) else {
            panic!("something was found")
        };
        assert_eq!(tried, [empty.path().join("libonnxruntime.so")]);
    }

    #[test]
    fn a_file_is_taken_under_any_name() {
        let folder = folder_with(&["ort.so"]);
        let file = folder.path().join("ort.so");
        assert_eq!(find(Some(&file)).unwrap(), file);
        let missing = folder.path().join("other.so");
        assert!(find(Some(&missing)).is_err());
    }
}
