//! The conversation whose keys and values are cached on a device.

use std::net::IpAddr;

use crate::cluster::membership::roster::Candidate;

/// The last text that was generated, and the device that has its keys and values.
#[derive(Clone, Debug)]
pub(crate) struct CachedConversation {
    /// The device that generated it.
    pub(crate) candidate: Candidate,
    /// Rung of the prompt's keys and values.
    pub(crate) rung: u16,
    /// Tokens of the prompt and of what was generated.
    pub(crate) tokens: Vec<u32>,
    /// The client whose text it is.
    pub(crate) owner: Option<IpAddr>,
}
