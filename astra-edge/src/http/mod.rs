//! The HTTP API of a device.
//!
//! A part of OpenAI's API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`, `/v1/embeddings`; and beyond it `/v1/saliency` for
//! pictures and `/healthz`. What is particular to a cluster is in a field `astra`, of requests and of responses. A parameter that is
//! known and not supported is refused, never ignored.
//!
//! - [`server`]: the listening socket, the limit of connections, the routes
//! - `api`: the state that handlers share
//! - `body`: request bodies, read with limits, and `json`: JSON with errors for people
//! - [`hosts`]: names by which browsers may reach the API, and `addresses`: places of each client address
//! - [`error`]: errors in the form of OpenAI's API
//! - `astra`: the field `astra`, in requests and in responses
//! - `generation`: completions and chats, `parameters` and `messages`: their requests, and `answer`: their responses,
//!   whole or as a stream
//! - `rest`: what a request holds beyond the parameters that are read, and `whole`: whole numbers as clients write them
//! - `embeddings`, `saliency`, `models`: the other routes
//!
//! There is no authentication: every program that reaches the address may send requests. Bodies that are not declared as JSON or as a
//! picture are refused, so that no web page can send any without the browser asking first; so are requests under names that are not
//! this device's.

mod addresses;
mod answer;
mod api;
mod astra;
mod body;
mod embeddings;
pub mod error;
mod generation;
pub mod hosts;
mod json;
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
