//! How to find a cluster and belong to it, and the addresses to be found at.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ArgMatches;

use super::ConfigError;
use super::declared::{is_given, overlay};
use crate::link::{AddressSettings, ClusterName, InterfaceSetting, LinkError, NetworkSettings};

/// Name of the cluster where none is set.
pub const DEFAULT_CLUSTER: &str = "astra";
/// The interface that is chosen by [`InterfaceSetting::Auto`].
const AUTO: &str = "auto";

/// How to find a cluster and belong to it.
#[derive(clap::Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Cluster")]
pub struct Network {
    /// Name of the cluster: devices and clients of another name do not see each other.
    #[arg(long, env = "ASTRA_EDGE_CLUSTER", value_name = "NAME", default_value = DEFAULT_CLUSTER)]
    pub cluster: String,
    /// Key of the cluster: devices with another one are listed and not used.
    ///
    /// It keeps clusters apart; it does not encrypt what they send.
    #[arg(
        long,
        env = "ASTRA_EDGE_KEY",
        value_name = "KEY",
        hide_env_values = true,
        conflicts_with = "key_file"
    )]
    pub key: Option<String>,
    /// File that holds the key.
    ///
    /// Example: /etc/astra-edge/key
    #[arg(long, env = "ASTRA_EDGE_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A device to connect to, as HOST:PORT, where multicast does not reach it; it tells of the others. Can be repeated.
    #[arg(
        long,
        env = "ASTRA_EDGE_CONNECT",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub connect: Vec<String>,
    /// Whether to look for devices by multicast.
    #[arg(
        long = "no-multicast",
        env = "ASTRA_EDGE_MULTICAST",
        action = clap::ArgAction::SetFalse,
        help = "Do not look for devices by multicast"
    )]
    pub multicast: bool,
    /// Interface to find devices on, by name or address.
    ///
    /// "auto" takes the best, a local network before tunnels and bridges of containers; the log says which and why.
    #[arg(
        long,
        env = "ASTRA_EDGE_MULTICAST_INTERFACE",
        value_name = "INTERFACE",
        default_value = AUTO
    )]
    pub multicast_interface: String,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cluster: DEFAULT_CLUSTER.to_owned(),
            key: None,
            key_file: None,
            connect: Vec::new(),
            multicast: true,
            multicast_interface: AUTO.to_owned(),
        }
    }
}

impl Network {
    /// Settings of the link, with addresses to listen on, and the cluster's key.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn link_settings(
        &self,
        listen: Vec<SocketAddr>,
    ) -> Result<(NetworkSettings, Vec<u8>), ConfigError> {
        let settings = NetworkSettings {
            cluster: self.cluster()?,
            connect: self.connect.clone(),
            addresses: AddressSettings {
                listen,
                interface: self.interface(),
                multicast: self.multicast,
                loopback: true,
            },
        };
        Ok((settings, self.key()?))
    }

    /// Overrides the settings of a file with those of flags and variables.
    ///
    /// # Errors
    /// The command has no flags of a network.
    pub fn override_with(&mut self, given: &ArgMatches) -> Result<(), ConfigError> {
        self.forget_key(given);
        Ok(overlay(self, given)?)
    }

    /// A key that is given also wins over a key file of the file, and the other way round.
    pub(super) fn forget_key(&mut self, given: &ArgMatches) {
        if is_key_given(given) {
            (self.key, self.key_file) = (None, None);
        }
    }

    /// Interface to look for devices on.
    pub(super) fn interface(&self) -> InterfaceSetting {
        InterfaceSetting::parse(Some(&self.multicast_interface))
    }

    /// The cluster's name.
    pub(super) fn cluster(&self) -> Result<ClusterName, ConfigError> {
        ClusterName::from_str(&self.cluster).map_err(|error| match error {
            LinkError::ClusterName { found, max } => {
                let expected = format!("1 to {max} letters, digits, dots, dashes or underscores");
                ConfigError::value("cluster", &found, expected)
            }
            other => other.into(),
        })
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

/// Whether flags or variables give a key or a file of it.
pub(super) fn is_key_given(given: &ArgMatches) -> bool {
    ["key", "key_file"].iter().any(|key| is_given(given, key))
}

/// Addresses to listen on.
pub(super) fn listen(given: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    given.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let free_port = |text: &str| text.parse().map(|ip| SocketAddr::new(ip, 0));
    let address: SocketAddr = text.parse().or_else(|_| free_port(text)).map_err(|_| {
        let expected = "ADDRESS or ADDRESS:PORT, such as 192.168.1.20:7447";
        ConfigError::value("listen", text, expected)
    })?;
    if address.ip().is_unspecified() {
        let expected =
            "the address of one interface: others would be sent every address of this machine";
        return Err(ConfigError::value("listen", text, expected));
    }
    Ok(address)
}

/// `127.0.0.1:8080`, or `8080` for the same.
pub(super) fn http_address(text: &str) -> Result<SocketAddr, ConfigError> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    text.parse()
        .or_else(|_| text.parse().map(local))
        .map_err(|_| {
            let expected = "ADDRESS:PORT or a port, such as 127.0.0.1:8080";
            ConfigError::value("http.listen", text, expected)
        })
}

/// Checks a name of this device, without a port.
pub(super) fn host_name(text: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.is_empty() && text.chars().all(allowed) {
        return Ok(());
    }
    let expected = "a name without scheme and port, such as chat.example.org";
    Err(ConfigError::value("http.allow_host", text, expected))
}
