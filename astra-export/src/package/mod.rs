//! From a source to a finished bundle.
//!
//! A [`Draft`] has the graphs and the weights, and ONNX Runtime can run them where they lie; calibration does. What was fitted
//! is added, the bundle finished, its agreement measured and recorded.

mod mean_bits;
mod stored;
mod weights;

use std::path::Path;

use astra_bundle::{
    Agreement, Basis, BasisBlock, Bundle, BundleError, BundleWriter, Calibration, CodebookView,
    FORMAT, Manifest, MeanView, PredictionBlock, Refinement, Rung, RungBlock, Source, StageView,
};
use astra_wire::LayoutError;

use crate::family::predict_graph;
use crate::fit::{Fitted, FittedBasis, FittedCodebooks, FittedRung, FittedStage, FittedTransform};
use crate::source::{Content, Imported};
use stored::Stored;

pub use mean_bits::{MEMBERS, mean_bits};
pub use weights::codec_weights;

/// What to make of a source.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Name of the model, for people.
    pub name: &'a str,
    /// Side of the square input in pixels, of a model that sees.
    pub size: usize,
    /// Longest text in tokens, of a model that reads; the model's own limit if `None`.
    pub max_tokens: Option<usize>,
    /// Seed of the fit.
    pub seed: u64,
}

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The input cannot be cut into patches.
    #[error("size: found {size}, expected a multiple of {patch}, the side of a patch, up to {}", stored::MAX_SIDE * patch)]
    Size {
        /// Side of the input requested.
        size: usize,
        /// Side of a patch.
        patch: usize,
    },
    /// The positions of the model are for one size, and cannot be brought to another.
    #[error(
        "size {size}, expected {expected}: the file has positions for that size alone, perhaps resized from a table that it \
         does not have; export the model to ONNX at the size it shall run at, or give its Hugging Face directory with --hf"
    )]
    FixedPositions {
        /// Side of the input requested.
        size: usize,
        /// The one the file has positions for.
        expected: usize,
    },
    /// The model cannot take texts of that length.
    #[error(
        "longest text: found {found} tokens, expected {least} to {most}, the limit of the model"
    )]
    Tokens {
        /// Tokens requested.
        found: usize,
        /// Fewest that can be divided.
        least: usize,
        /// Most the model takes.
        most: usize,
    },
    /// The bundle cannot be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No frame can carry the codes of a rung.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A bundle that is being written.
#[derive(Debug)]
pub struct Draft {
    writer: BundleWriter,
    manifest: Manifest,
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
        let mut writer = BundleWriter::create(out)?;
        let stored = match &imported.content {
            Content::Image(vit) => Stored::image(&mut writer, vit, request.size)?,
            Content::Text(text) => Stored::text(&mut writer, text, request.max_tokens)?,
        };
        for (name, bytes) in &stored.graphs {
            writer.graph(name, bytes)?;
        }
        writer.flush()?;
        let manifest = Manifest {
            format: FORMAT,
            model: request.name.to_owned(),
            family: stored.family,
            task: stored.task,
            source: Source {
                file: imported.file.clone(),
                sha256: imported.sha256,
            },
            seed: request.seed,
            software: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            shape: stored.shape,
            image: stored.image,
            text: stored.text,
            bases: Vec::new(),
            matrices: stored.matrices,
            exact: stored.exact,
            rungs: Vec::new(),
            calibration: Calibration {
                source: "none".to_owned(),
                inputs: 0,
                tokens: 0,
                held_out: 0,
            },
            files: Default::default(),
        };
        Ok(Self { writer, manifest })
    }

    /// Where the bundle lies until it is finished.
    pub fn dir(&self) -> &Path {
        self.writer.dir()
    }

    /// What the bundle says of itself so far.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Adds the bases, codebooks and predictions of every rung, and what they were fitted on.
    ///
    /// # Errors
    /// [`PackageError::Bundle`], [`PackageError::Layout`]
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
        if fitted.rungs.iter().any(|rung| !rung.prediction.is_empty()) {
            let (name, bytes) = predict_graph();
            self.writer.graph(&name, &bytes)?;
        }
        self.manifest.rungs.sort_by_key(|rung| rung.bits);
        self.manifest.calibration = calibration;
        self.writer.flush()?;
        Ok(())
    }

    fn add_basis(&mut self, basis: &FittedBasis) -> Result<Basis, BundleError> {
        let blocks = basis.blocks.iter();
        let blocks = blocks.map(|block| self.add_transform(block));
        Ok(Basis {
            name: basis.name.clone(),
            blocks: blocks.collect::<Result<_, _>>()?,
        })
    }

    fn add_transform(&mut self, transform: &FittedTransform) -> Result<BasisBlock, BundleError> {
        let rank = transform.enc_b.len();
        let hidden = self.manifest.shape.hidden;
        let both = 2 * self.manifest.shape.kv_width();
        let writer = &mut self.writer;
        Ok(BasisBlock {
            rank,
            enc_w: writer.weights_f16(&transform.enc_w, &[rank, hidden])?,
            enc_b: writer.weights_f16(&transform.enc_b, &[rank])?,
            dec_w: writer.weights_f16(&transform.dec_w, &[rank, both])?,
            dec_b: writer.weights_f16(&transform.dec_b, &[both])?,
        })
    }

    fn add_rung(&mut self, rung: &FittedRung) -> Result<Rung, PackageError> {
        let spec = &rung.spec;
        let ranks = spec.blocks.iter().map(|block| block.rank);
        let pairs = ranks.clone().zip(ranks.skip(1)).zip(&rung.prediction);
        let prediction = pairs.map(|((before, rank), block)| {
            Ok::<_, BundleError>(PredictionBlock {
                w: self.writer.weights_f16(&block.w, &[before, rank])?,
                b: self.writer.weights_f16(&block.b, &[rank])?,
            })
        });
        let prediction = prediction.collect::<Result<_, BundleError>>()?;
        let blocks = spec.blocks.iter().zip(&rung.blocks).map(|(spec, block)| {
            Ok::<_, BundleError>(RungBlock {
                rank: spec.rank,
                groups: spec.groups,
                refined_groups: spec.refined_groups,
                frame_mean_bits: spec.frame_mean_bits,
                codebooks: self.writer.codebook(&codebook_view(block))?,
            })
        });
        let blocks = blocks.collect::<Result<_, BundleError>>()?;
        let mut rung = Rung {
            bits: spec.bits,
            basis: spec.basis_name(),
            code_bits: spec.code_bits,
            words: spec.words(),
            refinement: spec.refinement.map(|refinement| Refinement {
                share: refinement.share,
                code_bits: refinement.code_bits,
                words: refinement.words(),
            }),
            blocks,
            prediction,
            mean_bits: None,
            agreement: Vec::new(),
            calibration_note: None,
        };
        // A manifest with more tokens than that is refused.
        let tokens = u16::try_from(self.manifest.shape.tokens).unwrap_or(u16::MAX);
        rung.mean_bits = Some(mean_bits(&rung, tokens)?);
        Ok(rung)
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

fn codebook_view(block: &FittedCodebooks) -> CodebookView<'_> {
    CodebookView {
        perm: &block.perm,
        first: stage_view(&block.first),
        second: block.second.as_ref().map(stage_view),
        mean: block.mean.as_ref().map(|mean| MeanView {
            bits: (&mean.bits).into(),
            steps: (&mean.steps).into(),
        }),
    }
}

fn stage_view(stage: &FittedStage) -> StageView<'_> {
    StageView {
        dims: &stage.dims,
        words: (&stage.words).into(),
    }
}
