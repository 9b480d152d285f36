//! Bytes between devices: a Zenoh session of one cluster.
//!
//! - [`keys`]: names of the cluster and of everything in its key space
//! - [`interface`]: which address of this machine the others reach it at
//! - [`reach`]: what settings say of that, and what it means now
//! - [`session`]: opening and closing
//! - [`presence`]: who is there, by liveliness tokens
//! - [`control`]: one message to one device and its answer, or answers
//! - [`codes`]: code frames to all members of a plan at once
//!
//! This layer knows keys and bytes; what they mean is the business of [`cluster`](crate::cluster). Nothing here blocks one of
//! Zenoh's threads: what arrives is handed to a channel or to a callback that returns at once.

pub mod codes;
pub mod control;
pub mod interface;
pub mod keys;
mod message;
pub mod presence;
pub mod reach;
pub mod session;

mod error;

pub use codes::{CodePublisher, CodeSubscription};
pub use control::{Answers, Incoming, Service};
pub use error::LinkError;
pub use keys::ClusterName;
pub use message::encode;
pub use presence::{PresenceEvent, Token};
pub use reach::{Joining, Place, Reach, Wanted};
pub use session::{Link, LinkSettings, MAX_MESSAGE, share_threads};
