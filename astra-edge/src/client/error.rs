//! Why a client gets no response.

use astra_wire::{DeviceId, EmitError, VersionError};

use crate::config::ConfigError;
use crate::link::LinkError;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The settings are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No device, or none of that name, takes requests.
    #[error("no device{} of cluster {cluster} takes requests: {}", requested_name(.name), found_devices(.found))]
    NoDevice {
        /// The cluster.
        cluster: String,
        /// Requested device.
        name: Option<String>,
        /// Devices that are there, and why they cannot be used.
        found: Vec<String>,
    },
    /// A name, or the first digits of an id, stands for several devices.
    #[error(
        "device {name:?} of cluster {cluster}: found {} of that name ({}), expected one; give its id, or the first digits of it",
        .devices.len(), ids(.devices)
    )]
    Ambiguous {
        /// The cluster.
        cluster: String,
        /// Requested name.
        name: String,
        /// The devices.
        devices: Vec<DeviceId>,
    },
    /// The request failed on the device.
    #[error("{device}: {text}")]
    Failed {
        /// The device.
        device: String,
        /// Its error.
        text: String,
    },
    /// The reply cannot be read.
    #[error("{device}: unreadable reply: {reason}")]
    Unreadable {
        /// The device.
        device: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The device reads no wire version that this client writes.
    #[error("{device}: {source}")]
    Version {
        /// The device.
        device: String,
        /// The versions.
        source: VersionError,
    },
    /// The request does not fit in a message.
    #[error("request: {0}")]
    Encode(#[from] EmitError),
}

fn ids(devices: &[DeviceId]) -> String {
    let ids: Vec<String> = devices.iter().map(DeviceId::to_string).collect();
    ids.join(", ")
}

fn requested_name(name: &Option<String>) -> String {
    name.as_ref()
        .map_or_else(String::new, |name| format!(" {name:?}"))
}

fn found_devices(found: &[String]) -> String {
    if found.is_empty() {
        return "found none; is one running, and does multicast reach it? If not, name one with --connect HOST:PORT"
            .to_owned();
    }
    format!("found {}", found.join(", "))
}
