//! The model of a bundle on ONNX Runtime, and the tasks around it: what a device, the exporter and the baselines have in common.
//!
//! Nothing here knows a network. The device runtime `astra-edge` adds the exchange of codes between members; `astra-export` runs all
//! members of a request in one process ([`simulate`]) to measure what a codec costs.
//!
//! Layers, lowest first; no module imports one of a later line:
//!
//! - [`paths`]: folders on a device, [`error_line`]: the last line of a program that fails, and [`mean`]: the mean of rows
//! - [`partition`]: which member computes which tokens
//! - [`engine`]: the steps of one member, and whole models, on ONNX Runtime
//! - [`tasks`]: what comes before and after the model for each kind of input: pictures, maps, tokenizer, chat template, sampling
//! - [`simulate`]: all members of a request in lock step, and [`agreement`]: how close their answer is to one device's
//!
//! # Panics
//! Nothing that comes from the network, a file or a user makes a function of this crate panic.

pub mod agreement;
pub mod engine;
pub mod error_line;
pub mod mean;
pub mod partition;
pub mod paths;
pub mod simulate;
pub mod tasks;
