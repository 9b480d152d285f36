//! The exported model on disk: manifest, mapped weights and codebooks.
//!
//! A bundle is a directory that `astra-export` writes once and every device of a cluster opens. `BUNDLE.md` beside this
//! crate specifies it to the byte.
//!
//! Layers, lowest first:
//! - `digest`: [`Sha256Digest`], hashes of files and of the manifest, which is the identity of the bundle
//! - `error`: [`BundleError`] and [`Invalid`], every refusal, naming the file, what was found and what was expected
//! - `layout`: names of the files, alignment, arithmetic that both sides share
//! - `checks`: checks of single values
//! - `shape`: dimensions of the model and of tensors
//! - `image` and `embedding`: the parts of a manifest that say what goes in and what comes out
//! - `quality`: [`Quality`], the measure that decides about a rung
//! - `matrix`: [`Matrix`], how a matrix of the model is stored
//! - `rung`: [`Rung`], the part of a manifest about a setting of the codec
//! - `manifest`: [`Manifest`], the JSON file
//! - `promise`: [`Promise`], and the rung that keeps it
//! - `float16`: the stored type of the codec's tables
//! - `codebook`: [`CodebookView`], the binary layout of one block's codebooks
//! - `views`: what a reader gives of one block
//! - `validate`: the checks of a manifest that need nothing but its text
//! - `other_format`: what to do about a bundle of another format
//! - `files`: files checked against the manifest, two of them mapped into memory
//! - `install`: a folder that is made under another name and renamed into place
//! - `bundle`: [`Bundle`], the reader
//! - `writer`: [`BundleWriter`]
//! - `revision`: [`Revision`], a bundle with other values in some places
//!
//! # Panics
//! No function of this crate panics, whatever the bytes on disk or the arguments are. The one way to die is the operating
//! system's: a bundle that somebody truncates **while it is mapped** raises `SIGBUS`. Bundles are replaced by renaming, never
//! edited in place, and a process that follows the same rule is safe.

#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "weights and codebooks are little-endian and used from the mapped file; \
     a big-endian host would read other numbers"
);

mod bundle;
mod checks;
mod codebook;
mod digest;
mod embedding;
mod error;
mod files;
mod float16;
mod image;
mod install;
mod layout;
mod manifest;
mod matrix;
mod other_format;
mod promise;
mod quality;
mod revision;
mod rung;
mod shape;
mod validate;
mod views;
mod writer;

pub use bundle::Bundle;
pub use codebook::{CodebookView, MeanView, StageView};
pub use digest::Sha256Digest;
pub use embedding::{Activation, Embedding, EmbeddingStep, TextPooling};
pub use error::{BundleError, Invalid};
pub use float16::round_to_f16;
pub use image::{Filter, Fit, HeadRows, ImageInput};
pub use layout::{
    ALIGN, CODEBOOKS_FILE, FORMAT, FORMAT_OF_BLOCKS, MANIFEST_FILE, WEIGHTS_FILE, exact_name,
};
pub use manifest::{
    Basis, BasisBlock, Calibration, ExactBlock, Family, FileEntry, Manifest, Source, Task,
    TextInput,
};
pub use matrix::{Matrix, MatrixBlocks};
pub use promise::{DefaultRung, Promise, PromiseError, RungReason};
pub use quality::{Quality, QualityMeasure};
pub use revision::Revision;
pub use rung::{Agreement, PredictionBlock, Refinement, Rung, RungBlock};
pub use shape::{Dtype, Shape, TensorRef};
pub use views::{BasisView, ExactView, PredictionView};
pub use writer::BundleWriter;
