//! Writing and reading ONNX files.
//!
//! - [`proto`]: the messages of `onnx.proto`, as far as this crate uses them
//! - [`GraphBuilder`]: a graph node by node, with its weights in the bundle's external data
//! - `blocks`: matrices in blocks of narrow integers
//! - `ops`: the operators the families are made of, as methods of the builder

mod blocks;
mod builder;
mod ops;
pub mod proto;

pub use blocks::{StoredLinear, StoredMatrix, StoredTable};
pub(crate) use builder::as_i64;
pub use builder::{Attribute, Dim, Element, GraphBuilder, Value};
pub use ops::{Grouped, Lengths, StoredNorm};
