//! Turns a pretrained Transformer into an astra-edge bundle.
//!
//! Layers, lowest first:
//!
//! - [`progress`]: what people see of long steps
//! - [`narrow`]: matrices in blocks of narrow integers
//! - [`graph`]: ONNX messages and a graph writer
//! - [`position`]: position tables at another grid
//! - [`family`]: what is known about a family of models, and the graphs it becomes
//! - [`source`]: files of pretrained models, read into a family's weights
//! - [`fit`]: bases and codebooks from calibration activations
//! - [`split`]: which inputs are kept from the fit
//! - [`photographs`]: the photographs of a folder, and [`texts`]: text files as inputs of a model
//! - [`calibrate`]: the activations of photographs or texts
//! - [`package`]: from a source to a finished bundle
//! - [`verify`]: how close a bundle comes to what it was made from
//! - [`tune`]: training of a bundle's codec
//!
//! # Panics
//! No function of this crate panics on what is in a file, whatever it is.

pub mod calibrate;
pub mod family;
pub mod fit;
pub mod graph;
pub mod narrow;
pub mod package;
pub mod photographs;
pub mod position;
pub mod progress;
pub mod source;
pub mod split;
pub mod texts;
pub mod tune;
pub mod verify;
