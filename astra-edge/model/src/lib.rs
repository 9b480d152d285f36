//! The model of a bundle on ONNX Runtime, and the tasks around it, for the device runtime, the exporter and the baselines.
//!
//! Nothing here uses a network. The device runtime `astra-edge` adds the exchange of codes between members; `astra-export` runs all
//! members of a request in one process ([`simulate`]) to measure the accuracy of a codec.
//!
//! Layers, lowest first; no module imports one of a later line:
//!
//! - [`paths`]: folders on a device, [`error_line`]: the last line of a program that fails, and [`mean`]: the mean of rows
//! - [`partition`]: division of tokens among members
//! - [`engine`]: the steps of one member, and whole models, on ONNX Runtime
//! - [`tasks`]: preprocessing and postprocessing: images, maps, tokenizer, chat template, sampling
//! - [`simulate`]: all members of a request in lock step, and [`agreement`]: similarity of two outputs
//! - `fixtures`: a codec for tests, with the feature of that name
//!
//! # Panics
//! Nothing that comes from the network, a file or a user makes a function of this crate panic.

pub mod agreement;
pub mod engine;
pub mod error_line;
#[cfg(feature = "fixtures")]
pub mod fixtures;
pub mod mean;
pub mod partition;
pub mod paths;
pub mod simulate;
pub mod tasks;
