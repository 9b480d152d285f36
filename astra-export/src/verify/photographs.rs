//! The images to score on.

use std::path::{Path, PathBuf};

use astra_bundle::ImageInput;
use astra_edge::tasks::image::prepare;

use super::VerifyError;
use crate::progress::{Meter, Progress};

/// Pixels of every photograph in `folder`, in the order of their names: [T, patch * patch * 3] bytes each.
///
/// # Errors
/// The folder does not read or has no photographs, or one of them does not decode.
pub fn photographs(
    folder: &Path,
    image: &ImageInput,
    progress: Progress<'_>,
) -> Result<Vec<Vec<u8>>, VerifyError> {
    let paths = list(folder)?;
    let meter = Meter::new(paths.len() as u64, progress);
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|source| VerifyError::Folder {
            path: path.clone(),
            source,
        })?;
        let prepared = prepare(&bytes, image).map_err(|source| VerifyError::Image {
            path: path.clone(),
            source,
        })?;
        meter.add(1);
        Ok(prepared.pixels)
    };
    paths.iter().map(read).collect()
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    let unreadable = |source| VerifyError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_photograph(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(VerifyError::NoPhotographs(folder.to_owned()));
    }
    paths.sort_unstable();
    Ok(paths)
}

fn is_photograph(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        ["jpg", "jpeg", "png", "webp"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.JPG", "a.png", "notes.txt", "c.webp", "jpg"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<_> = list(folder.path())
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.png", "b.JPG", "c.webp"]);
    }

    #[test]
    fn a_folder_without_any_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = list(folder.path()).unwrap_err();
        assert!(matches!(none, VerifyError::NoPhotographs(path) if path == folder.path()));
        let missing = list(&folder.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing: cannot be read"));
    }
}
