//! How to find a cluster and belong to it, and the addresses to be found at.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::ConfigError;
use crate::link::{ClusterName, Joining, Reach, Wanted};

/// Name of a cluster nobody named.
pub const DEFAULT_CLUSTER: &str = "astra";

/// How to find a cluster and belong to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// File that holds its key.
    pub key_file: Option<PathBuf>,
    /// Devices to connect to, `HOST:PORT`.
    pub connect: Vec<String>,
    /// Whether to find others by multicast.
    pub multicast: Option<bool>,
    /// Interface to be found on: a name or an address.
    pub multicast_interface: Option<String>,
}

impl Network {
    /// How to take part, reached at `listen`, and the cluster's key.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn joining(&self, listen: Vec<SocketAddr>) -> Result<(Joining, Vec<u8>), ConfigError> {
        let cluster = self.cluster.as_deref().unwrap_or(DEFAULT_CLUSTER);
        let joining = Joining {
            cluster: ClusterName::from_str(cluster)?,
            connect: self.connect.clone(),
            reach: Reach {
                listen,
                interface: self.interface(),
                multicast: self.multicast != Some(false),
                loopback: true,
            },
        };
        Ok((joining, self.key()?))
    }

    /// Interface to be found on.
    pub(super) fn interface(&self) -> Wanted {
        Wanted::of(self.multicast_interface.as_deref())
    }

    fn key(&self) -> Result<Vec<u8>, ConfigError> {
        match (&self.key, &self.key_file) {
            (Some(_), Some(_)) => Err(ConfigError::TwoKeys),
            (Some(key), None) => Ok(key.clone().into_bytes()),
            (None, Some(path)) => {
                let key = std::fs::read(path).map_err(|error| ConfigError::Read {
                    path: path.clone(),
                    error,
                })?;
                // Editors end a file with a newline that is no part of the key.
                Ok(key.trim_ascii_end().to_vec())
            }
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// Addresses to listen on.
pub(super) fn listen(given: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    given.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let free_port = |text: &str| text.parse().map(|ip| SocketAddr::new(ip, 0));
    let address: SocketAddr =
        text.parse()
            .or_else(|_| free_port(text))
            .map_err(|_| ConfigError::Value {
                key: "listen",
                found: text.to_owned(),
                expected: "ADDRESS or ADDRESS:PORT, such as 192.168.1.20:7447",
            })?;
    if address.ip().is_unspecified() {
        return Err(ConfigError::Value {
            key: "listen",
            found: text.to_owned(),
            expected: "the address of one interface: others would be told every address this machine has",
        });
    }
    Ok(address)
}

/// `127.0.0.1:8080`, or `8080` for the same.
pub(super) fn http_address(text: &str) -> Result<SocketAddr, ConfigError> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    text.parse()
        .or_else(|_| text.parse().map(local))
        .map_err(|_| ConfigError::Value {
            key: "http",
            found: text.to_owned(),
            expected: "ADDRESS:PORT or a port, such as 127.0.0.1:8080",
        })
}
