//! The photographs of a folder.

use std::path::{Path, PathBuf};

use astra_model::tasks::image::ImageError;

/// What their files are named.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Why there are no photographs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhotographError {
    /// A folder or file cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A folder without any.
    #[error("{}: found no photographs, expected files named .jpg, .jpeg, .png or .webp", .0.display())]
    None(PathBuf),
    /// A file has another format than its name.
    #[error("{}: {source}", .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ImageError,
    },
}

impl PhotographError {
    /// For `map_err`: `path` does not decode.
    pub(crate) fn of(path: &Path) -> impl Fn(ImageError) -> Self {
        move |source| Self::Image {
            path: path.to_owned(),
            source,
        }
    }
}

/// Paths of the photographs in `folder`, by name; files with other extensions are passed over.
///
/// # Errors
/// The folder does not read, or has none.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, PhotographError> {
    let unread = |source| PhotographError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if is_photograph(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(PhotographError::None(folder.to_owned()));
    }
    paths.sort_unstable();
    Ok(paths)
}

/// A photograph's file.
///
/// # Errors
/// It does not read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PhotographError> {
    std::fs::read(path).map_err(|source| PhotographError::Read {
        path: path.to_owned(),
        source,
    })
}

fn is_photograph(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        let mut known = EXTENSIONS.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
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
        assert!(matches!(none, PhotographError::None(path) if path == folder.path()));
        let missing = list(&folder.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing: cannot be read"));
    }
}
