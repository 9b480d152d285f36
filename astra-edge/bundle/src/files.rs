//! Files of a bundle, checked against the manifest before anything reads them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use serde::Deserialize;

use crate::digest::Sha256Digest;
use crate::error::BundleError;
use crate::layout::{FORMAT, FORMAT_OF_BLOCKS, MANIFEST_FILE, MANIFEST_MAX_BYTES};
use crate::manifest::{FileEntry, Manifest};
use crate::other_format;

/// Checks size and hash of a file that others will read by its path.
pub(crate) fn check(dir: &Path, name: &str, entry: &FileEntry) -> Result<(), BundleError> {
    let (path, file) = open(dir, name, entry)?;
    // One byte more than expected, so that a file that is growing cannot keep the loop busy.
    let reader = file.take(entry.bytes.saturating_add(1));
    let (sha256, bytes) =
        Sha256Digest::of_reader(reader).map_err(BundleError::io("read", &path))?;
    check_content(path, FileEntry { bytes, sha256 }, entry)
}

/// Maps a file and checks the mapping, so that the bytes that were checked are the bytes that are used.
pub(crate) fn map(dir: &Path, name: &str, entry: &FileEntry) -> Result<Mmap, BundleError> {
    let (path, file) = open(dir, name, entry)?;
    let io = |error| BundleError::io("map", &path)(error);
    let len = usize::try_from(entry.bytes)
        .map_err(|_| io(io::Error::from(io::ErrorKind::FileTooLarge)))?;
    // SAFETY: a mapping is sound as long as no process changes the file. This crate never does: it writes a bundle
    // under a temporary name before any `Bundle` of it exists, replaces bundles by renaming (the old file lives on under
    // the mapping), and `rewrite_manifest` touches the manifest alone, which is not mapped. Programs outside are bound by
    // the same rule, stated in the crate's documentation and in BUNDLE.md. Copying instead would hold every weight in
    // memory a second time, beside ONNX Runtime's own mapping of the same pages.
    #[expect(unsafe_code, reason = "the contract of the mapping is stated above")]
    let mapping = unsafe { MmapOptions::new().len(len).map(&file) }.map_err(io)?;
    let found = FileEntry {
        bytes: mapping.len() as u64,
        sha256: Sha256Digest::of(&mapping),
    };
    check_content(path, found, entry)?;
    release_pages(&mapping);
    Ok(mapping)
}

/// Gives back the pages that hashing has read: most are not read again, and each counts as memory of this process. Those that are come
/// from the system's cache.
fn release_pages(mapping: &Mmap) {
    // SAFETY: the mapping is of a file, shared and never written, so that pages are read again as they were.
    #[expect(unsafe_code, reason = "the content is the same afterwards")]
    let released = unsafe { mapping.unchecked_advise(UncheckedAdvice::DontNeed) };
    // Where the system does not take the advice, the pages stay.
    drop(released);
}

/// What a finished file has to be from now on.
pub(crate) fn entry_of(dir: &Path, name: &str) -> Result<FileEntry, BundleError> {
    let path = dir.join(name);
    let file = File::open(&path).map_err(BundleError::io("open", &path))?;
    let (sha256, bytes) = Sha256Digest::of_reader(file).map_err(BundleError::io("read", &path))?;
    Ok(FileEntry { bytes, sha256 })
}

/// Opens a regular file of the right size. Type and size are checked first: opening a pipe would wait for a writer.
fn open(dir: &Path, name: &str, entry: &FileEntry) -> Result<(PathBuf, File), BundleError> {
    let path = dir.join(name);
    let found = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(BundleError::NotAFile(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::NoFile {
                path,
                expected: entry.bytes,
            });
        }
        Err(error) => return Err(BundleError::io("read", &path)(error)),
    };
    if found != entry.bytes {
        return Err(BundleError::Size {
            path,
            found,
            expected: entry.bytes,
        });
    }
    let file = File::open(&path).map_err(BundleError::io("open", &path))?;
    Ok((path, file))
}

fn check_content(path: PathBuf, found: FileEntry, entry: &FileEntry) -> Result<(), BundleError> {
    if found.bytes != entry.bytes {
        return Err(BundleError::Size {
            path,
            found: found.bytes,
            expected: entry.bytes,
        });
    }
    if found.sha256 != entry.sha256 {
        return Err(BundleError::Hash {
            path,
            found: found.sha256,
            expected: entry.sha256,
        });
    }
    Ok(())
}

/// Reads and validates the manifest of `dir`; its hash is the identity of the bundle.
pub(crate) fn read_manifest(dir: &Path) -> Result<(Manifest, Sha256Digest), BundleError> {
    let path = dir.join(MANIFEST_FILE);
    let bytes = read_manifest_bytes(dir, &path)?;
    check_format(&path, &bytes)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| BundleError::Json {
        path: path.clone(),
        error,
    })?;
    manifest.validate().map_err(|invalid| invalid.at(&path))?;
    Ok((manifest, Sha256Digest::of(&bytes)))
}

/// Whether the manifest of `dir` is one of a bundle, of any format.
pub(crate) fn has_manifest(dir: &Path) -> bool {
    let path = dir.join(MANIFEST_FILE);
    let format = read_manifest_bytes(dir, &path).and_then(|bytes| check_format(&path, &bytes));
    matches!(format, Ok(()) | Err(BundleError::Format { .. }))
}

fn read_manifest_bytes(dir: &Path, path: &Path) -> Result<Vec<u8>, BundleError> {
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(BundleError::NotADirectory(dir.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::NoDirectory(dir.to_owned()));
        }
        Err(error) => return Err(BundleError::io("read", dir)(error)),
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(BundleError::NotAFile(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BundleError::NoManifest(path.to_owned()));
        }
        Err(error) => return Err(BundleError::io("read", path)(error)),
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MANIFEST_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(BundleError::io("read", path))?;
    if bytes.len() as u64 > MANIFEST_MAX_BYTES {
        return Err(BundleError::ForeignManifest {
            path: path.to_owned(),
            found: format!("more than {MANIFEST_MAX_BYTES} bytes"),
        });
    }
    Ok(bytes)
}

/// Looks at nothing but the version, so that a bundle of another format is called that, whatever else changed in it.
fn check_format(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    #[derive(Deserialize)]
    struct Head {
        format: Option<serde_json::Value>,
    }
    let foreign = |found: String| BundleError::ForeignManifest {
        path: path.to_owned(),
        found,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            return foreign(error.to_string());
        }
        BundleError::Json {
            path: path.to_owned(),
            error,
        }
    })?;
    let format = head
        .format
        .ok_or_else(|| foreign("no \"format\"".to_owned()))?;
    let found = format
        .as_u64()
        .ok_or_else(|| foreign(format!("\"format\" is {format}")))?;
    if ![FORMAT, FORMAT_OF_BLOCKS].map(u64::from).contains(&found) {
        return Err(BundleError::Format {
            path: path.to_owned(),
            found,
            advice: other_format::advice(found, path, bytes),
        });
    }
    Ok(())
}
