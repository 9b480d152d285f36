//! HTTP: a device asked by programs that know nothing of clusters.
//!
//! Speaks what clients of OpenAI's API already speak, as far as it fits: `/v1/models`, `/v1/completions`,
//! `/v1/chat/completions`, `/v1/embeddings`; beyond it `/v1/saliency` for pictures and `/healthz`. What is particular to a
//! cluster goes into and comes back in a field `astra`. A parameter that is known and not supported is refused, never ignored.
//!
//! - [`server`]: the listening socket, how many may use it, the routes
//! - `api`: what every handler knows
//! - `body`: a request's body, read with limits
//! - [`error`]: errors as clients expect them
//! - `astra`: the field `astra`, in requests and in answers
//! - `generation`: completions and chats, `parameters` and `messages`: what they are asked with, and `answer`: their answers,
//!   whole or as a stream
//! - `rest`: what a request holds beyond the parameters that are read, and `whole`: whole numbers as clients write them
//! - `embeddings`, `saliency`, `models`: the other routes
//!
//! There is no authentication: whoever reaches the address may ask. Bodies that are not declared as JSON or as a picture are
//! refused, so that no web page can ask behind its reader's back.

mod answer;
mod api;
mod astra;
mod body;
mod embeddings;
pub mod error;
mod generation;
mod listener;
mod messages;
mod models;
mod parameters;
mod rest;
mod saliency;
pub mod server;
mod whole;

pub use api::{Api, Pictures};
pub use server::{HttpError, Listening, Server};

#[cfg(test)]
mod tests;
