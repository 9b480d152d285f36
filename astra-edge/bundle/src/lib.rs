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
//! - `manifest`: [`Manifest`], the JSON file
//! - `codebook`: [`CodebookView`], the binary layout of one block's codebooks
//! - `validate`: the checks of a manifest that need nothing but its text
//! - `files`: files checked against the manifest, two of them mapped into memory
//! - `install`: a folder that is made under another name and renamed into place
//! - `bundle`: [`Bundle`], the reader
//! - `writer`: [`BundleWriter`]
//!
//! # Panics
//! No function of this crate panics, whatever the bytes on disk or the arguments are. The one way to die is the operating
//! system's: a bundle that somebody truncates **while it is mapped** raises `SIGBUS`. Bundles are replaced by renaming, never
//! edited in place, and a process that follows the same rule is safe.

#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "weights and codebooks are little-endian and used straight from the mapped file, without a copy; \
     a big-endian host would read other numbers"
);

mod bundle;
mod checks;
mod codebook;
mod digest;
mod embedding;
mod error;
mod files;
mod image;
mod install;
mod layout;
mod manifest;
mod shape;
mod validate;
mod writer;

pub use bundle::{BasisView, Bundle, ExactView, PredictionView};
pub use codebook::CodebookView;
pub use digest::Sha256Digest;
pub use embedding::{Activation, Embedding, EmbeddingStep, TextPooling};
pub use error::{BundleError, Invalid};
pub use image::{Filter, Fit, HeadRows, ImageInput};
pub use layout::{ALIGN, CODEBOOKS_FILE, FORMAT, MANIFEST_FILE, WEIGHTS_FILE};
pub use manifest::{
    Agreement, Basis, BasisBlock, Calibration, CodebooksRef, ExactBlock, Family, FileEntry,
    Manifest, PredictionBlock, Rung, Source, Task, TextInput,
};
pub use shape::{Shape, TensorRef};
pub use writer::BundleWriter;
