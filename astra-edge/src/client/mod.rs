//! Clients of a cluster that are not devices: they find its devices and send requests to one of them.
//!
//! - [`cluster_client`]: finding devices, and requests with one reply
//! - `text`: requests whose reply comes in pieces
//! - `response`: replies, and `overlay`: a map drawn over its picture
//! - `select`: the device that a name stands for

pub mod cluster_client;
mod error;
mod overlay;
mod response;
mod select;
mod text;

pub use cluster_client::{Client, FoundDevice};
pub use error::ClientError;
pub use overlay::OverlayError;
pub use response::Response;
pub use text::RemoteTextStream;
