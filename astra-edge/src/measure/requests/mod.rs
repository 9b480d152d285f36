//! Repeated requests summed up in rows, for `astra-edge bench`.
//!
//! - [`method`]: the ways to answer a request that are compared
//! - [`sample`]: what is measured of one request
//! - [`row`]: statistics over many, and [`table`]: the same as text
//! - [`counters`]: bytes as the kernel counts them
//! - [`prompts`]: prompts of a given length

pub mod counters;
pub mod method;
pub mod prompts;
pub mod row;
pub mod sample;
pub mod table;
