//! What is exported, run through ONNX Runtime.
//!
//! The tests need ONNX Runtime and some the demo's model and photographs; `cargo xtask test` brings them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cache;
mod candle;
mod command;
mod corrupted;
mod exporter;
mod external_data;
mod gguf_file;
mod graphs;
mod head_rows;
mod hugging_face;
mod models;
mod narrow;
mod onnx_files;
mod position;
mod predicted;
mod preprocessor;
mod real_model;
mod reference;
mod runtime;
mod sentences;
mod text_graphs;
mod text_models;
mod text_reference;
mod text_sources;
mod tune;
