//! The reader.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::codebook::{self, CodebookView, Layout, StoredBlock};
use crate::digest::Sha256Digest;
use crate::error::{BundleError, Invalid};
use crate::files;
use crate::float16;
use crate::install;
use crate::layout::{ALIGN, CODEBOOKS_FILE, MANIFEST_FILE, WEIGHTS_FILE, graph_file};
use crate::manifest::{Basis, BasisBlock, ExactBlock, Manifest, Task};
use crate::rung::{PredictionBlock, Rung};
use crate::shape::{Dtype, TensorRef};
use crate::views::{BasisView, ExactView, PredictionView};

/// An open bundle: everything in it has been checked, weights and codebooks are mapped.
///
/// The mappings live as long as this does; share it by reference or `Arc`.
#[derive(Debug)]
pub struct Bundle {
    dir: PathBuf,
    manifest: Manifest,
    hash: Sha256Digest,
    weights: Mmap,
    codebooks: Mmap,
}

impl Bundle {
    /// Opens the bundle in `dir` and checks all of it: version, shapes, size and SHA-256 of every file, the place of every
    /// tensor, the content of every codebook. Files that the manifest does not name are ignored.
    ///
    /// Reads every byte once, which takes about as long as hashing them.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file's path, what was found and what was expected.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let (manifest, hash) = files::read_manifest(dir)?;
        let path = dir.join(MANIFEST_FILE);
        let mapped = |name: &str| match manifest.files.get(name) {
            Some(entry) => files::map(dir, name, entry),
            None => Err(Invalid::new("files", format!("no {name}"), "an entry for it").at(&path)),
        };
        let (weights, codebooks) = (mapped(WEIGHTS_FILE)?, mapped(CODEBOOKS_FILE)?);
        for (name, entry) in &manifest.files {
            if name != WEIGHTS_FILE && name != CODEBOOKS_FILE {
                files::check(dir, name, entry)?;
            }
        }
        let bundle = Self {
            dir: dir.to_owned(),
            manifest,
            hash,
            weights,
            codebooks,
        };
        bundle.check_references()?;
        Ok(bundle)
    }

    /// Everything that the manifest points to, each file once.
    fn check_references(&self) -> Result<(), BundleError> {
        codebook::check_header(&self.codebooks)
            .map_err(|invalid| invalid.at(&self.dir.join(CODEBOOKS_FILE)))?;
        if let Task::Embedding(embedding) = &self.manifest.task {
            for tensor in embedding.tensors() {
                self.tensor_bytes(tensor)?;
            }
        }
        self.check_matrices()?;
        for ExactBlock { dec_w, dec_b } in &self.manifest.exact {
            self.tensor_bytes(dec_w)?;
            self.tensor_bytes(dec_b)?;
        }
        for block in self.manifest.bases.iter().flat_map(|basis| &basis.blocks) {
            for tensor in [&block.enc_w, &block.enc_b, &block.dec_w, &block.dec_b] {
                self.tensor_bytes(tensor)?;
            }
        }
        for rung in &self.manifest.rungs {
            for block in 0..self.manifest.shape.blocks {
                self.stored_codebook(rung, block)?;
            }
            for PredictionBlock { w, b } in &rung.prediction {
                self.tensor_bytes(w)?;
                self.tensor_bytes(b)?;
            }
        }
        Ok(())
    }

    /// Scales and minima are finite: a product with others would be nothing, and say nothing of it.
    fn check_matrices(&self) -> Result<(), BundleError> {
        for matrix in &self.manifest.matrices {
            let Some(blocks) = &matrix.blocks else {
                continue;
            };
            self.tensor_bytes(&blocks.data)?;
            for (what, tensor) in [
                ("scales", Some(&blocks.scales)),
                ("minima", blocks.minima.as_ref()),
            ] {
                let Some(tensor) = tensor else { continue };
                let values = self.tensor(tensor)?;
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    let field = format!("{} {what}", matrix.name);
                    let invalid = Invalid::new(field, value, "finite values");
                    return Err(invalid.at(&self.dir.join(WEIGHTS_FILE)));
                }
            }
        }
        Ok(())
    }

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// SHA-256 of the manifest's bytes. As the manifest holds the hashes of all other files, two bundles with the same hash
    /// are the same; measured agreement is part of it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash.0
    }

    /// The same as people see it: see [`Sha256Digest::short`].
    pub fn short_hash(&self) -> String {
        self.hash.short()
    }

    /// Path of a graph: `embed`, `local_03`, `attend_03`, `head`, `whole`. ONNX Runtime resolves its external data beside it.
    ///
    /// # Errors
    /// [`BundleError::NoGraph`] with the names there are.
    pub fn graph(&self, name: &str) -> Result<PathBuf, BundleError> {
        let file = graph_file(name);
        if self.manifest.files.contains_key(&file) {
            return Ok(self.dir.join(file));
        }
        let suffix = graph_file("");
        let names = self.manifest.files.keys();
        Err(BundleError::NoGraph {
            dir: self.dir.clone(),
            name: name.to_owned(),
            available: names
                .filter_map(|file| file.strip_suffix(&suffix))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The values of a tensor: in the mapping itself where they are float32, else converted.
    ///
    /// # Errors
    /// [`BundleError::TensorAlignment`] or [`BundleError::TensorBounds`], for a reference that is not of this bundle.
    pub fn tensor(&self, tensor: &TensorRef) -> Result<Cow<'_, [f32]>, BundleError> {
        let bytes = self.tensor_bytes(tensor)?;
        let values = match tensor.dtype {
            Dtype::Float32 => bytemuck::try_cast_slice(bytes).map(Cow::Borrowed),
            Dtype::Float16 => {
                bytemuck::try_cast_slice(bytes).map(|bits| float16::decode(bits).into())
            }
            Dtype::Uint8 => {
                let dtype = tensor.dtype.name();
                let found = Invalid::new("tensor.dtype", dtype, "float32 or float16");
                return Err(found.at(&self.dir.join(WEIGHTS_FILE)));
            }
        };
        // Not reached: offsets are multiples of the alignment, and mappings start at a page.
        values.map_err(|_| self.misaligned(tensor))
    }

    pub(crate) fn tensor_bytes(&self, tensor: &TensorRef) -> Result<&[u8], BundleError> {
        if !tensor.offset.is_multiple_of(ALIGN) {
            return Err(self.misaligned(tensor));
        }
        range(&self.weights, tensor.offset, tensor.byte_len()).ok_or_else(|| {
            BundleError::TensorBounds {
                path: self.dir.join(WEIGHTS_FILE),
                offset: tensor.offset,
                shape: tensor.shape.clone(),
                bytes: self.weights.len() as u64,
            }
        })
    }

    /// Where the codebooks of a rung in one block start, and their layout.
    pub(crate) fn codebook_place(
        &self,
        rung: &Rung,
        block: usize,
    ) -> Result<(u64, Layout), BundleError> {
        let of_block = rung.blocks.get(block).ok_or_else(|| self.no_block(block))?;
        Ok((of_block.codebooks, Layout::of(rung, of_block)))
    }

    fn misaligned(&self, tensor: &TensorRef) -> BundleError {
        BundleError::TensorAlignment {
            path: self.dir.join(WEIGHTS_FILE),
            offset: tensor.offset,
        }
    }

    /// A basis in one block.
    ///
    /// # Errors
    /// [`BundleError::NoBasis`] with the names there are, or [`BundleError::NoBlock`].
    pub fn basis(&self, name: &str, block: usize) -> Result<BasisView<'_>, BundleError> {
        let tensors = self.basis_block(self.find_basis(name)?, block)?;
        Ok(BasisView {
            rank: tensors.rank,
            enc_w: self.tensor(&tensors.enc_w)?,
            enc_b: self.tensor(&tensors.enc_b)?,
            dec_w: self.tensor(&tensors.dec_w)?,
            dec_b: self.tensor(&tensors.dec_b)?,
        })
    }

    fn basis_block<'a>(
        &self,
        basis: &'a Basis,
        block: usize,
    ) -> Result<&'a BasisBlock, BundleError> {
        basis.blocks.get(block).ok_or_else(|| self.no_block(block))
    }

    /// What exact mode decodes with in one block.
    ///
    /// # Errors
    /// [`BundleError::NoBlock`], also where graphs decode: [`Manifest::exact`] is empty then.
    pub fn exact(&self, block: usize) -> Result<ExactView<'_>, BundleError> {
        let tensors = self
            .manifest
            .exact
            .get(block)
            .ok_or_else(|| self.no_block(block))?;
        Ok(ExactView {
            dec_w: self.tensor(&tensors.dec_w)?,
            dec_b: self.tensor(&tensors.dec_b)?,
        })
    }

    /// The rung named by these bits per token per block.
    ///
    /// # Errors
    /// [`BundleError::NoRung`] with the rungs there are.
    pub fn rung(&self, bits: u32) -> Result<&Rung, BundleError> {
        let rungs = &self.manifest.rungs;
        rungs
            .iter()
            .find(|rung| rung.bits == bits)
            .ok_or_else(|| BundleError::NoRung {
                dir: self.dir.clone(),
                bits,
                available: rungs.iter().map(|rung| rung.bits).collect(),
            })
    }

    /// The codebooks of a rung in one block, checked for everything that a kernel relies on, words as float32. Not for the hot
    /// path: each call checks and converts again.
    ///
    /// # Errors
    /// [`BundleError::NoBlock`], or [`BundleError::Invalid`] for a rung that is not of this bundle.
    pub fn codebook(&self, rung: &Rung, block: usize) -> Result<CodebookView<'_>, BundleError> {
        Ok(self.stored_codebook(rung, block)?.view())
    }

    fn stored_codebook(&self, rung: &Rung, block: usize) -> Result<StoredBlock<'_>, BundleError> {
        if block >= self.manifest.shape.blocks {
            return Err(self.no_block(block));
        }
        let path = self.dir.join(CODEBOOKS_FILE);
        let axes = self.basis_block(self.find_basis(&rung.basis)?, block)?.rank;
        let at = format!("rung {} block {block} ", rung.bits);
        let of_block = rung.blocks.get(block).ok_or_else(|| {
            let found = format!("{} blocks", rung.blocks.len());
            let expected = self.manifest.shape.blocks;
            Invalid::new(format!("rung {} blocks", rung.bits), found, expected)
                .at(&self.dir.join(MANIFEST_FILE))
        })?;
        let (start, layout) = (of_block.codebooks, Layout::of(rung, of_block));
        let bytes = range(&self.codebooks, start, Some(layout.bytes()));
        let stored = bytes.and_then(|bytes| StoredBlock::parse(bytes, layout));
        let stored = stored.ok_or_else(|| {
            let place = format!("{} bytes at byte {start}", layout.bytes());
            let expected = format!("them to end within {} bytes", self.codebooks.len());
            Invalid::new(at.trim_end(), place, expected).at(&path)
        })?;
        stored
            .check(&at, axes)
            .and_then(|()| stored.check_padding(&at, bytes.unwrap_or_default()))
            .and_then(|()| stored.check_mean_bits(&at, of_block.frame_mean_bits))
            .map_err(|invalid| invalid.at(&path))?;
        Ok(stored)
    }

    /// How a rung predicts one block from the block before; `None` for the first block, and for rungs that do not predict.
    ///
    /// # Errors
    /// [`BundleError::NoBlock`], or another for a rung that is not of this bundle.
    pub fn prediction(
        &self,
        rung: &Rung,
        block: usize,
    ) -> Result<Option<PredictionView<'_>>, BundleError> {
        if block >= self.manifest.shape.blocks {
            return Err(self.no_block(block));
        }
        let Some(before) = block.checked_sub(1) else {
            return Ok(None);
        };
        if rung.prediction.is_empty() {
            return Ok(None);
        }
        let tensors = rung.prediction.get(before).ok_or_else(|| {
            let field = format!("rung {} prediction", rung.bits);
            let found = format!("{} blocks", rung.prediction.len());
            Invalid::new(field, found, "one for every block but the first")
                .at(&self.dir.join(MANIFEST_FILE))
        })?;
        Ok(Some(PredictionView {
            w: self.tensor(&tensors.w)?,
            b: self.tensor(&tensors.b)?,
        }))
    }

    /// Replaces the manifest at one stroke, for figures that are measured on the finished bundle; the hash changes with it.
    ///
    /// # Errors
    /// [`BundleError::Invalid`] if the manifest is not one of these files, [`BundleError::Hash`] if another bundle lies there by
    /// now, [`BundleError::Io`] if it cannot be written. The bundle is then what it was.
    pub fn rewrite_manifest(&mut self, manifest: Manifest) -> Result<(), BundleError> {
        let path = self.dir.join(MANIFEST_FILE);
        if manifest.files != self.manifest.files {
            return Err(
                Invalid::new("files", "changed", "the files of the bundle as they are").at(&path),
            );
        }
        manifest.validate().map_err(|invalid| invalid.at(&path))?;
        let (_, on_disk) = files::read_manifest(&self.dir)?;
        if on_disk != self.hash {
            return Err(BundleError::Hash {
                path,
                found: on_disk,
                expected: self.hash,
            });
        }
        let bytes = manifest.to_json(&path)?;
        let old = std::mem::replace(&mut self.manifest, manifest);
        let written = self
            .check_references()
            .and_then(|()| install::write_whole(&self.dir, MANIFEST_FILE, &bytes));
        match written {
            Ok(()) => self.hash = Sha256Digest::of(&bytes),
            Err(_) => self.manifest = old,
        }
        written
    }

    /// The same open files under the name they have been renamed to.
    pub(crate) fn moved_to(self, dir: PathBuf) -> Self {
        Self { dir, ..self }
    }

    fn find_basis(&self, name: &str) -> Result<&Basis, BundleError> {
        let bases = &self.manifest.bases;
        bases
            .iter()
            .find(|basis| basis.name == name)
            .ok_or_else(|| BundleError::NoBasis {
                dir: self.dir.clone(),
                name: name.to_owned(),
                available: bases.iter().map(|basis| basis.name.clone()).collect(),
            })
    }

    fn no_block(&self, block: usize) -> BundleError {
        BundleError::NoBlock {
            dir: self.dir.clone(),
            block,
            blocks: self.manifest.shape.blocks,
        }
    }
}

fn range(bytes: &[u8], start: u64, len: Option<u64>) -> Option<&[u8]> {
    let end = usize::try_from(start.checked_add(len?)?).ok()?;
    bytes.get(usize::try_from(start).ok()?..end)
}
