//! Bytes between devices: a Zenoh session of one cluster.
//!
//! - [`keys`]: the key space of a cluster
//! - [`interface`]: the network interfaces of this machine, and which one to use
//! - [`address`]: the settings of that, and the addresses that follow from them
//! - [`session`]: opening and closing
//! - `linger`: no connection holds up the thread that closes it
//! - [`presence`]: which devices are there, by liveliness tokens
//! - `budget`: room for the bytes that others send
//! - [`control`]: one message to one device and its reply, or replies
//! - [`codes`]: code frames to all members of a plan at once
//!
//! This layer knows keys and bytes, not what they mean: that is [`cluster`](crate::cluster). Nothing here blocks one of Zenoh's
//! threads: what arrives goes to a channel, or to a callback that returns at once.

pub mod address;
mod budget;
pub mod codes;
pub mod control;
pub mod interface;
pub mod keys;
mod linger;
mod message;
pub mod presence;
pub mod session;

mod error;

pub use address::{AddressSettings, InterfaceSetting, LocalAddresses, NetworkSettings};
pub use budget::{ByteBudget, TakenBytes};
pub use codes::{CodePublisher, CodeSubscription};
pub use control::{IncomingRequest, Intake, ReplyStream, Service};
pub use error::LinkError;
pub use keys::ClusterName;
pub use message::encode;
pub use presence::{PresenceEvent, Token};
pub use session::{Link, LinkSettings, MAX_MESSAGE, share_threads};
