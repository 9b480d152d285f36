//! Text generation on one device: a request, the loop over its tokens, and its statistics.
//!
//! [`SamplingParams`], [`FinishReason`] and [`GenerationRequest`] mean the same from the HTTP server to the compute thread and in
//! messages between devices.

mod job;
mod request;
mod stats;
mod token_loop;

pub use astra_model::tasks::text::sampling::SamplingParams;
pub use astra_wire::FinishReason;

pub use job::{GenerationJob, Prefill, TokenCallback};
pub use request::{GenerationRequest, StopConditions};
pub use stats::{GenerationStats, finish_reason_name};

pub(crate) use token_loop::{NextToken, TokenLoop};
