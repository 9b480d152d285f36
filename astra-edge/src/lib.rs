//! Device runtime.

pub mod plan;
pub mod tasks;
