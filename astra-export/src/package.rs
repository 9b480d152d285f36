//! From a source to a finished bundle.
//!
//! A [`Draft`] has the graphs and the weights, and ONNX Runtime can run them where they lie; calibration does. What was fitted
//! is added, the bundle finished, its agreement measured and recorded.

use std::path::Path;

use astra_bundle::{
    Agreement, Basis, BasisBlock, Bundle, BundleError, BundleWriter, Calibration, CodebookView,
    FORMAT, Family, ImageInput, Manifest, Rung, Shape, Source, Task,
};

use crate::family::vit::{self, StoredVit, VitModel};
use crate::fit::{
    AttentionShape, BlockWeights, Fitted, FittedBasis, FittedCodebooks, FittedRung, FittedTransform,
};
use crate::source::Imported;

/// Most patches a side: the tokens of an input are numbered with 16 bits.
const MAX_SIDE: usize = 255;

/// What to make of a source.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Name of the model, for people.
    pub name: &'a str,
    /// Side of the square input in pixels.
    pub size: usize,
    /// Seed of the fit.
    pub seed: u64,
}

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The input cannot be cut into patches.
    #[error("size {size}, expected a multiple of {patch}, the side of a patch, up to {}", MAX_SIDE * patch)]
    Size {
        /// Side of the input asked for.
        size: usize,
        /// Side of a patch.
        patch: usize,
    },
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// A bundle that is being written.
#[derive(Debug)]
pub struct Draft {
    writer: BundleWriter,
    manifest: Manifest,
    image: ImageInput,
}

impl Draft {
    /// Writes graphs and weights; afterwards the directory can be opened as a model.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn write(
        out: &Path,
        imported: &Imported,
        request: &Request<'_>,
    ) -> Result<Self, PackageError> {
        let Request { name, size, seed } = *request;
        let model = &imported.model;
        let side = side(size, model.patch)?;
        let mut writer = BundleWriter::create(out)?;
        let stored = StoredVit::store(&mut writer, model, &imported.scale, side)?;
        for (name, bytes) in vit::graphs(&stored) {
            writer.graph(&name, &bytes)?;
        }
        writer.flush()?;
        let task = stored.task();
        let image = ImageInput {
            size,
            patch: model.patch,
            fit: imported.fit,
            filter: imported.filter,
            map_size: (task == Task::Saliency).then_some([size, size]),
        };
        let manifest = Manifest {
            format: FORMAT,
            model: name.to_owned(),
            family: Family::Vit,
            task,
            source: Source {
                file: imported.file.clone(),
                sha256: imported.sha256,
            },
            seed,
            software: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            shape: stored.shape,
            image: Some(image),
            text: None,
            bases: Vec::new(),
            exact: stored.exact,
            rungs: Vec::new(),
            calibration: Calibration {
                source: "none".to_owned(),
                images: 0,
                tokens: 0,
            },
            files: Default::default(),
        };
        Ok(Self {
            writer,
            manifest,
            image,
        })
    }

    /// Where the bundle lies until it is finished.
    pub fn dir(&self) -> &Path {
        self.writer.dir()
    }

    /// Dimensions of the Transformer.
    pub fn shape(&self) -> &Shape {
        &self.manifest.shape
    }

    /// How a photograph becomes the input.
    pub fn image(&self) -> &ImageInput {
        &self.image
    }

    /// Adds the bases and codebooks of every rung, and what they were fitted on.
    ///
    /// # Errors
    /// [`PackageError::Bundle`]
    pub fn add_codec(
        &mut self,
        fitted: &Fitted,
        calibration: Calibration,
    ) -> Result<(), PackageError> {
        for basis in &fitted.bases {
            let basis = self.add_basis(basis)?;
            self.manifest.bases.push(basis);
        }
        for rung in &fitted.rungs {
            let rung = self.add_rung(rung)?;
            self.manifest.rungs.push(rung);
        }
        self.manifest.rungs.sort_by_key(|rung| rung.bits);
        self.manifest.calibration = calibration;
        self.writer.flush()?;
        Ok(())
    }

    fn add_basis(&mut self, basis: &FittedBasis) -> Result<Basis, BundleError> {
        let blocks = basis.blocks.iter();
        let blocks = blocks.map(|block| self.add_transform(block, basis.rank));
        Ok(Basis {
            name: basis.kind.name().to_owned(),
            rank: basis.rank,
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    fn add_transform(
        &mut self,
        transform: &FittedTransform,
        rank: usize,
    ) -> Result<BasisBlock, BundleError> {
        let hidden = self.manifest.shape.hidden;
        let both = 2 * self.manifest.shape.kv_width();
        Ok(BasisBlock {
            enc_w: self.writer.weights(&transform.enc_w, &[rank, hidden])?,
            enc_b: self.writer.weights(&transform.enc_b, &[rank])?,
            dec_w: self.writer.weights(&transform.dec_w, &[rank, both])?,
            dec_b: self.writer.weights(&transform.dec_b, &[both])?,
        })
    }

    fn add_rung(&mut self, rung: &FittedRung) -> Result<Rung, BundleError> {
        let views: Vec<_> = rung.blocks.iter().map(codebook_view).collect();
        Ok(Rung {
            bits: rung.spec.bits(),
            basis: rung.spec.basis.name().to_owned(),
            rank: rung.spec.rank,
            groups: rung.spec.groups,
            words: rung.spec.words(),
            code_bits: rung.spec.code_bits,
            codebooks: self.writer.codebooks(&views)?,
            agreement: Vec::new(),
            calibration_note: None,
        })
    }

    /// Puts the finished bundle in its place.
    ///
    /// # Errors
    /// [`PackageError::Bundle`]
    pub fn finish(self) -> Result<Bundle, PackageError> {
        Ok(self.writer.finish(self.manifest)?)
    }
}

/// Records measured agreement, by bits of the rung; rungs that are not listed keep what they have.
///
/// # Errors
/// [`PackageError::Bundle`]; the bundle is then what it was.
pub fn record_agreement(
    bundle: &mut Bundle,
    measured: &[(u32, Agreement)],
) -> Result<(), PackageError> {
    let mut manifest = bundle.manifest().clone();
    for rung in &mut manifest.rungs {
        let of_rung = measured.iter().filter(|(bits, _)| *bits == rung.bits);
        let of_rung: Vec<Agreement> = of_rung.map(|(_, agreement)| *agreement).collect();
        if !of_rung.is_empty() {
            rung.agreement = of_rung;
        }
    }
    Ok(bundle.rewrite_manifest(manifest)?)
}

/// What the fit has to know of each block.
pub fn codec_weights(model: &VitModel) -> Vec<BlockWeights<'_>> {
    let shape = AttentionShape {
        hidden: model.hidden,
        heads: model.heads,
        kv_heads: model.heads,
        head_dim: model.hidden / model.heads.max(1),
    };
    let blocks = model.blocks.iter();
    blocks
        .map(|block| BlockWeights {
            shape,
            wk: &block.key.weight,
            bk: &block.key.bias,
            wv: &block.value.weight,
            bv: &block.value.bias,
            wo: &block.output.weight,
        })
        .collect()
}

fn codebook_view(block: &FittedCodebooks) -> CodebookView<'_> {
    CodebookView {
        perm: &block.perm,
        dims: &block.dims,
        words: &block.words,
    }
}

/// Patches a side.
fn side(size: usize, patch: usize) -> Result<usize, PackageError> {
    let side = size.checked_div(patch).unwrap_or(0);
    if (1..=MAX_SIDE).contains(&side) && side * patch == size {
        return Ok(side);
    }
    Err(PackageError::Size { size, patch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_of_patches() {
        for (size, patch, expected) in
            [(224, 14, 16), (518, 14, 37), (224, 16, 14), (3570, 14, 255)]
        {
            assert_eq!(side(size, patch).unwrap(), expected);
        }
        for (size, patch) in [
            (0, 14),
            (13, 14),
            (225, 14),
            (3584, 14),
            (usize::MAX, 1),
            (14, 0),
        ] {
            let refusal = side(size, patch).unwrap_err().to_string();
            assert!(refusal.contains(&format!("size {size}, expected a multiple of {patch}")));
        }
    }
}
