//! Errors of the network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The network failed, or its settings are not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A cluster name that cannot be part of a key.
    #[error(
        "cluster: found {found:?}, expected 1 to {max} letters, digits, dots, dashes or underscores"
    )]
    ClusterName {
        /// The name.
        found: String,
        /// Most characters.
        max: usize,
    },
    /// No interface of that name, or one without a carrier or an IPv4 address.
    #[error(
        "multicast_interface: found {found:?}, expected an address, or an interface that is up and has an IPv4 address, of {available:?}"
    )]
    Interface {
        /// The name in the settings.
        found: String,
        /// Interfaces that could be used.
        available: Vec<String>,
    },
    /// An address in the settings is not one of this machine now.
    #[error("address: found {0}, expected one of this machine whose interface is up")]
    AddressMissing(IpAddr),
    /// There is no interface but loopback, which is not allowed.
    #[error("no network: no interface but loopback is up and has a carrier and an IPv4 address")]
    NoNetwork,
    /// An address that cannot be listened on.
    #[error(
        "listen: found {address}, expected a free port and an address of this machine: {error}; choose another with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The port is taken, or the address is not of this machine.
        error: std::io::Error,
    },
    /// The session did not open.
    #[error("cannot join the network: {0}")]
    Open(String),
    /// The session took too long to open.
    #[error("cannot join the network: not done after {} ms", .0.as_millis())]
    OpenTimeout(Duration),
    /// Zenoh refused a declaration.
    #[error("cannot declare {key}: {reason}")]
    Declare {
        /// The key.
        key: String,
        /// Zenoh's error.
        reason: String,
    },
    /// A message could not be sent.
    #[error("cannot send to {key}: {reason}")]
    Send {
        /// The key.
        key: String,
        /// Zenoh's error.
        reason: String,
    },
    /// No reply came in time.
    #[error("no answer from {key} within {} ms", within.as_millis())]
    NoAnswer {
        /// The key.
        key: String,
        /// The time that was waited.
        within: Duration,
    },
    /// No reply will come: Zenoh gave up before the time was over.
    #[error("no answer from {key}: after {} ms it was gone, or did not take the message", after.as_millis())]
    Unanswered {
        /// The key.
        key: String,
        /// The time that was waited.
        after: Duration,
    },
}
