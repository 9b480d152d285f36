//! Requests about images and texts, from their arrival at the coordinator to their answer.

pub mod admission;
pub mod assemble;
mod base;
pub mod client_handle;
pub mod collected;
pub mod coordinator;
pub mod dispatch;
mod distributed;
pub mod embedding;
pub mod error;
mod follow_up;
pub mod generate;
pub mod image;
mod part;
mod prompt;
mod run;
pub mod summary;
pub mod text;

pub use client_handle::ClientHandle;
pub use coordinator::Coordinator;
pub use error::RequestError;
