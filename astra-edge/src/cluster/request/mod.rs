//! Requests about images and texts, from their arrival at the coordinator to their answer.

pub mod admission;
pub mod assemble;
mod base;
pub mod client_handle;
pub mod collected;
pub mod context;
pub mod coordinator;
pub mod dispatch;
mod distributed;
pub mod embedding;
pub mod error;
mod follow_up;
mod generation_outcome;
mod generator;
pub mod image;
mod part;
mod prompt;
pub mod response;
mod run;
mod rung_choice;
pub mod summary;
pub mod text;

pub use context::RequestContext;
pub use response::GenerationResponse;
