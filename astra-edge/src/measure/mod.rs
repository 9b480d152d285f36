//! Measurements of running clusters and of this device. Only the command line uses them.
//!
//! - [`requests`]: many requests summed up, for `astra-edge bench`
//! - [`steps`] and [`link`]: what the steps of a request cost on this device, for `astra-edge plan`
//! - [`processor_time`], [`quantile`]: what several of them need

pub mod error;
pub mod link;
pub mod processor_time;
pub mod quantile;
pub mod requests;
pub mod steps;
