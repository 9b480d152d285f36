//! A bundle with other values in some of its tensors and codebooks.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::bundle::Bundle;
use crate::codebook::CodebookView;
use crate::error::{BundleError, Invalid};
use crate::float16;
use crate::install::Staging;
use crate::layout::{CODEBOOKS_FILE, WEIGHTS_FILE};
use crate::manifest::Manifest;
use crate::rung::Rung;
use crate::shape::{Dtype, TensorRef};
use crate::writer;

/// A copy of a bundle under a temporary name, in which values are replaced. Every place keeps its offset, size and type.
///
/// Dropped unfinished, the copy goes, and what lay at the final place stays. The bundle itself is never changed, also where the
/// revision takes its place.
#[derive(Debug)]
pub struct Revision<'a> {
    bundle: &'a Bundle,
    // The files come before the directory, so that dropping closes them before it is removed.
    weights: File,
    codebooks: File,
    staging: Staging,
}

impl<'a> Revision<'a> {
    /// Copies `bundle`; the revision is to lie at `dir`.
    ///
    /// # Errors
    /// [`BundleError::Occupied`] if something other than a bundle or an empty directory lies there; [`BundleError::Io`].
    pub fn of(bundle: &'a Bundle, dir: &Path) -> Result<Self, BundleError> {
        let staging = Staging::create(dir)?;
        for name in bundle.manifest().files.keys() {
            let to = staging.dir().join(name);
            fs::copy(bundle.dir().join(name), &to).map_err(BundleError::io("copy to", &to))?;
        }
        let open = |name: &str| {
            let path = staging.dir().join(name);
            let file = File::options().write(true).open(&path);
            file.map_err(BundleError::io("open", &path))
        };
        Ok(Self {
            bundle,
            weights: open(WEIGHTS_FILE)?,
            codebooks: open(CODEBOOKS_FILE)?,
            staging,
        })
    }

    /// Replaces the values of a tensor of the bundle.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] for another number of values, or values beyond the range of the type;
    /// [`BundleError::TensorBounds`] for a tensor of another bundle; [`BundleError::Io`].
    pub fn tensor(&mut self, tensor: &TensorRef, values: &[f32]) -> Result<(), BundleError> {
        let path = self.staging.dir().join(WEIGHTS_FILE);
        self.bundle.tensor_bytes(tensor)?;
        let what = format!("tensor {:?}", tensor.shape);
        if tensor.elements() != Some(values.len()) {
            let found = format!("{} values", values.len());
            return Err(Invalid::new(what, found, "as many as its shape has").at(&path));
        }
        let written = match tensor.dtype {
            Dtype::Uint8 => {
                let expected = "a tensor of float32 or float16";
                return Err(Invalid::new(what, "one of bytes", expected).at(&path));
            }
            Dtype::Float32 => write_at(
                &mut self.weights,
                tensor.offset,
                bytemuck::cast_slice(values),
            ),
            Dtype::Float16 => {
                let bits = float16::encode(&what, values).map_err(|invalid| invalid.at(&path))?;
                write_at(
                    &mut self.weights,
                    tensor.offset,
                    bytemuck::cast_slice(&bits),
                )
            }
        };
        written.map_err(BundleError::io("write", &path))
    }

    /// Replaces the codebooks of a rung in one block.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] for codebooks of another size, or that a reader would refuse; [`BundleError::NoBlock`];
    /// [`BundleError::Io`].
    pub fn codebook(
        &mut self,
        rung: &Rung,
        block: usize,
        codebook: &CodebookView<'_>,
    ) -> Result<(), BundleError> {
        let path = self.staging.dir().join(CODEBOOKS_FILE);
        // Refuses a rung of another bundle.
        self.bundle.codebook(rung, block)?;
        let (start, expected) = self.bundle.codebook_place(rung, block)?;
        let refuse = |invalid: Invalid| invalid.at(&path);
        let found = codebook.layout().map_err(refuse)?;
        if found != expected {
            let what = format!("rung {} block {block}", rung.bits);
            let [found, expected] = [found, expected].map(|layout| layout.to_string());
            return Err(Invalid::new(what, found, expected).at(&path));
        }
        let bytes = codebook.to_bytes().map_err(refuse)?;
        write_at(&mut self.codebooks, start, &bytes).map_err(BundleError::io("write", &path))
    }

    /// Writes `manifest`, checks the revision as [`Bundle::open`] does, and puts it in its place, replacing an older bundle.
    ///
    /// # Errors
    /// As [`BundleWriter::finish`](crate::BundleWriter::finish).
    pub fn finish(self, manifest: Manifest) -> Result<Bundle, BundleError> {
        let Self {
            bundle,
            weights,
            codebooks,
            staging,
        } = self;
        drop((weights, codebooks));
        let names: Vec<String> = bundle.manifest().files.keys().cloned().collect();
        writer::publish(staging, names, manifest)
    }
}

fn write_at(file: &mut File, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
