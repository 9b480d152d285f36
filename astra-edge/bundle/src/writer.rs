//! The writer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::codebook::{self, CodebookView};
use crate::error::{BundleError, Invalid};
use crate::files;
use crate::float16;
use crate::install::{self, Staging};
use crate::layout::{
    ALIGN, CODEBOOKS_FILE, FORMAT, FORMAT_OF_BLOCKS, MANIFEST_FILE, WEIGHTS_FILE, check_file_name,
    graph_file,
};
use crate::manifest::Manifest;
use crate::shape::{Dtype, TensorRef};

/// Builds a bundle under a temporary name and puts it in its place when it is whole.
///
/// 1. [`create`](Self::create) makes a hidden directory beside the final place.
/// 2. [`weights`](Self::weights), [`graph`](Self::graph), [`codebook`](Self::codebook) and [`file`](Self::file) add to it,
///    in any order. After [`flush`](Self::flush), ONNX Runtime can open the graphs in [`dir`](Self::dir); more can be added
///    while it has them open, as weights are only ever appended.
/// 3. [`finish`](Self::finish) hashes everything, writes the manifest, opens the result as a device would, and renames it.
///
/// Dropped unfinished, the hidden directory goes, and what lay at the final place stays.
#[derive(Debug)]
pub struct BundleWriter {
    // The files come before the directory, so that dropping closes them before it is removed.
    weights: Appender,
    codebooks: Appender,
    files: BTreeSet<String>,
    staging: Staging,
}

impl BundleWriter {
    /// Starts a bundle that is to lie at `dir`. Missing parents are created.
    ///
    /// # Errors
    /// [`BundleError::Occupied`] if something other than a bundle or an empty directory lies there; [`BundleError::Io`].
    pub fn create(dir: &Path) -> Result<Self, BundleError> {
        let staging = Staging::create(dir)?;
        let weights = Appender::create(staging.dir().join(WEIGHTS_FILE))?;
        let mut codebooks = Appender::create(staging.dir().join(CODEBOOKS_FILE))?;
        codebooks.append(&codebook::header())?;
        Ok(Self {
            weights,
            codebooks,
            files: BTreeSet::from([WEIGHTS_FILE.to_owned(), CODEBOOKS_FILE.to_owned()]),
            staging,
        })
    }

    /// The hidden directory, until [`finish`](Self::finish).
    pub fn dir(&self) -> &Path {
        self.staging.dir()
    }

    /// Appends a tensor to `weights.bin` as float32.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] if `shape` is not that of the data or has a dimension of 0; [`BundleError::Io`].
    pub fn weights(&mut self, data: &[f32], shape: &[usize]) -> Result<TensorRef, BundleError> {
        self.append_tensor(
            bytemuck::cast_slice(data),
            data.len(),
            shape,
            Dtype::Float32,
        )
    }

    /// Appends a tensor to `weights.bin` as float16; [`round_to_f16`](crate::round_to_f16) says what is read then.
    ///
    /// # Errors
    /// As [`weights`](Self::weights), and [`BundleError::Invalid`] for a value beyond the range of float16.
    pub fn weights_f16(&mut self, data: &[f32], shape: &[usize]) -> Result<TensorRef, BundleError> {
        let bits = float16::encode(&format!("tensor {shape:?}"), data);
        let bits = bits.map_err(|invalid| invalid.at(&self.weights.path))?;
        self.append_tensor(
            bytemuck::cast_slice(&bits),
            data.len(),
            shape,
            Dtype::Float16,
        )
    }

    /// Appends a tensor of bytes to `weights.bin`: integers of the blocks of a [`Matrix`](crate::Matrix).
    ///
    /// # Errors
    /// As [`weights`](Self::weights).
    pub fn weights_u8(&mut self, data: &[u8], shape: &[usize]) -> Result<TensorRef, BundleError> {
        self.append_tensor(data, data.len(), shape, Dtype::Uint8)
    }

    /// `bytes` are those of `values` values.
    fn append_tensor(
        &mut self,
        bytes: &[u8],
        values: usize,
        shape: &[usize],
        dtype: Dtype,
    ) -> Result<TensorRef, BundleError> {
        let mut tensor = TensorRef {
            offset: 0,
            shape: shape.to_vec(),
            dtype,
        };
        if values == 0 || tensor.elements() != Some(values) {
            let values = format!("{values} values");
            let expected = format!("as many as {shape:?} has, and not none");
            return Err(Invalid::new("tensor", values, expected).at(&self.weights.path));
        }
        tensor.offset = self.weights.append(bytes)?;
        Ok(tensor)
    }

    /// Appends the codebooks of a rung in one block to `codebooks.bin`, words as float16; returns the offset of their first byte.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] for codebooks that a reader would refuse, and for words beyond the range of float16;
    /// [`BundleError::Io`].
    pub fn codebook(&mut self, block: &CodebookView<'_>) -> Result<u64, BundleError> {
        let bytes = block
            .to_bytes()
            .map_err(|invalid| invalid.at(&self.codebooks.path))?;
        self.codebooks.append(&bytes)
    }

    /// Writes a graph under its name without extension, replacing one of the same name.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn graph(&mut self, name: &str, bytes: &[u8]) -> Result<PathBuf, BundleError> {
        self.file(&graph_file(name), bytes)
    }

    /// Writes any other file, replacing one of the same name.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] for a name that is not plain or is one of the files this writer keeps; [`BundleError::Io`].
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> Result<PathBuf, BundleError> {
        let path = self.dir().join(name);
        check_file_name("file name", name).map_err(|invalid| invalid.at(self.dir()))?;
        if [MANIFEST_FILE, WEIGHTS_FILE, CODEBOOKS_FILE].contains(&name) {
            return Err(
                Invalid::new("file name", name, "a name the format does not use").at(self.dir()),
            );
        }
        fs::write(&path, bytes).map_err(BundleError::io("write", &path))?;
        self.files.insert(name.to_owned());
        Ok(path)
    }

    /// Makes everything written so far visible to others who open the files.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn flush(&mut self) -> Result<(), BundleError> {
        self.weights.flush()?;
        self.codebooks.flush()
    }

    /// Completes `manifest` with the format and the files, checks the bundle as [`Bundle::open`] does, and puts it in its
    /// place, replacing an older one.
    ///
    /// # Errors
    /// Whatever a reader would refuse, and [`BundleError::Io`]. Nothing has changed at the final place then, except when the
    /// new bundle is in place and only the older one, moved aside, could not be removed.
    pub fn finish(self, manifest: Manifest) -> Result<Bundle, BundleError> {
        let Self {
            weights,
            codebooks,
            files,
            staging,
        } = self;
        weights.close()?;
        codebooks.close()?;
        publish(staging, files, manifest)
    }
}

/// Completes `manifest` with the format and the `files` of a finished directory, opens it as a device would, and puts it in its
/// place.
pub(crate) fn publish(
    staging: Staging,
    files: impl IntoIterator<Item = String>,
    mut manifest: Manifest,
) -> Result<Bundle, BundleError> {
    let dir = staging.dir();
    manifest.format = match manifest.matrices.is_empty() {
        true => FORMAT,
        false => FORMAT_OF_BLOCKS,
    };
    manifest.files.clear();
    for name in files {
        let entry = files::entry_of(dir, &name)?;
        sync_file(&dir.join(&name))?;
        manifest.files.insert(name, entry);
    }
    let path = dir.join(MANIFEST_FILE);
    manifest.validate().map_err(|invalid| invalid.at(&path))?;
    install::write_whole(dir, MANIFEST_FILE, &manifest.to_json(&path)?)?;
    let bundle = Bundle::open(dir)?;
    let target = staging.publish()?;
    Ok(bundle.moved_to(target))
}

impl Manifest {
    /// The bytes of `manifest.json`; `path` names it for the error.
    pub(crate) fn to_json(&self, path: &Path) -> Result<Vec<u8>, BundleError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| BundleError::Json {
            path: path.to_owned(),
            error,
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn sync_file(path: &Path) -> Result<(), BundleError> {
    let synced = File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.sync_all());
    synced.map_err(BundleError::io("sync", path))
}

/// A file that grows by aligned pieces.
#[derive(Debug)]
struct Appender {
    path: PathBuf,
    file: BufWriter<File>,
    /// Bytes appended, padding included.
    len: u64,
}

impl Appender {
    fn create(path: PathBuf) -> Result<Self, BundleError> {
        let file = File::create_new(&path).map_err(BundleError::io("create", &path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            len: 0,
        })
    }

    /// Writes `bytes` and zeros up to the next multiple of [`ALIGN`]; answers where `bytes` start.
    fn append(&mut self, bytes: &[u8]) -> Result<u64, BundleError> {
        const ZEROS: [u8; ALIGN as usize] = [0; ALIGN as usize];
        let start = self.len;
        let padding = bytes.len().next_multiple_of(ZEROS.len()) - bytes.len();
        let zeros = ZEROS.get(..padding).unwrap_or_default();
        self.file
            .write_all(bytes)
            .and_then(|()| self.file.write_all(zeros))
            .map_err(BundleError::io("write", &self.path))?;
        self.len += (bytes.len() + padding) as u64;
        Ok(start)
    }

    fn flush(&mut self) -> Result<(), BundleError> {
        self.file
            .flush()
            .map_err(BundleError::io("write", &self.path))
    }

    /// Refuses a file that an earlier failed write left longer than what was accounted for.
    fn close(mut self) -> Result<(), BundleError> {
        self.flush()?;
        let metadata = self.file.get_ref().metadata();
        let found = metadata.map_err(BundleError::io("read", &self.path))?.len();
        if found == self.len {
            return Ok(());
        }
        Err(BundleError::Size {
            path: self.path,
            found,
            expected: self.len,
        })
    }
}
