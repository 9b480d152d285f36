//! Writing and reading ONNX files.
//!
//! - [`proto`]: the messages of `onnx.proto`, as far as this crate uses them
//! - [`GraphBuilder`]: a graph node by node, with its weights in the bundle's external data
//! - `ops`: the operators the families are made of, as methods of the builder

mod builder;
mod ops;
pub mod proto;

pub(crate) use builder::as_i64;
pub use builder::{Attribute, Dim, Element, GraphBuilder, Value};
pub use ops::{Grouped, Lengths, StoredLinear, StoredNorm};
