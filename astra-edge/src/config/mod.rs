//! Settings of a device: what a file and the command line say, and what holds where both are silent.

mod bundle;
mod network;
#[cfg(test)]
mod tests;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::cluster::membership::identity::MAX_NAME;
use crate::cluster::request::coordinator::Defaults;
use crate::link::{ClusterName, Joining, LinkError, Wanted};
use astra_model::engine::Provider;
use astra_model::paths;

pub use bundle::find_bundle;
pub use network::{DEFAULT_CLUSTER, Network};
pub use values::{Rung, parse_duration};

use bundle::found_bundles;
use network::{http_address, listen};
use values::duration;

/// Rung that a question gets which names none.
pub const DEFAULT_RUNG: Rung = Rung(320);
/// Time that a question gets which names none.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
/// What is logged where nobody says.
pub const DEFAULT_LOG: &str = "warn,astra_edge=info";

/// What a file or the command line says; `None` and empty lists say nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the device.
    pub name: Option<String>,
    /// See [`Network::cluster`].
    pub cluster: Option<String>,
    /// See [`Network::key`].
    pub key: Option<String>,
    /// See [`Network::key_file`].
    pub key_file: Option<PathBuf>,
    /// See [`Network::connect`].
    pub connect: Vec<String>,
    /// See [`Network::multicast`].
    pub multicast: Option<bool>,
    /// See [`Network::multicast_interface`].
    pub multicast_interface: Option<String>,
    /// Addresses to listen on, `ADDRESS` or `ADDRESS:PORT`.
    pub listen: Vec<String>,
    /// Directory of the bundle.
    pub bundle: Option<PathBuf>,
    /// The ONNX Runtime library.
    pub onnxruntime: Option<PathBuf>,
    /// Threads that compute, 0 for one a core.
    pub threads: Option<usize>,
    /// What computes, in the order it is tried.
    pub execution_providers: Vec<Provider>,
    /// Whether weights are kept a second time, in the order kernels read them.
    pub prepacking: Option<bool>,
    /// Folder in which weights are kept in that order, to be mapped; empty for none.
    pub weights_cache: Option<PathBuf>,
    /// Rung of questions that name none.
    pub rung: Option<Rung>,
    /// Time of questions that name none.
    #[serde(deserialize_with = "duration")]
    pub deadline: Option<Duration>,
    /// Most members of a request.
    pub max_members: Option<usize>,
    /// Whether all take part even where requests have shown fewer, or this device alone, to be faster.
    pub all_members: Option<bool>,
    /// What is logged.
    pub log: Option<String>,
    /// How HTTP is served.
    pub http: HttpConfig,
}

/// What a file or the command line says of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to serve it at, `ADDRESS:PORT` or a port of this machine alone; it is not served without one.
    pub listen: Option<String>,
}

/// Settings without gaps.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the device.
    pub name: String,
    /// The cluster's key.
    pub key: Vec<u8>,
    /// How to take part in the network.
    pub link: Joining,
    /// Directory of the bundle.
    pub bundle: PathBuf,
    /// The ONNX Runtime library, where named.
    pub onnxruntime: Option<PathBuf>,
    /// Threads that compute, 0 for one a core.
    pub threads: usize,
    /// What computes, in the order it is tried.
    pub execution_providers: Vec<Provider>,
    /// Whether weights are kept a second time, in the order kernels read them.
    pub prepacking: bool,
    /// Folder in which weights are kept in that order, to be mapped.
    pub weights_cache: Option<PathBuf>,
    /// For questions that leave it open.
    pub defaults: Defaults,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: cannot read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file says something that is not understood.
    #[error("{}: {at}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line and setting.
        at: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A value of a file that is not possible.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The value.
        error: Box<ConfigError>,
    },
    /// A value that is not possible.
    #[error("{key}: found {found:?}, expected {expected}")]
    Value {
        /// Name of the setting.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it could be.
        expected: &'static str,
    },
    /// Both a key and a file of it.
    #[error("key: found both key and key_file, expected one of them")]
    TwoKeys,
    /// No bundle was named, and there is not exactly one to take.
    #[error("no bundle named, and {}; name one with --bundle DIR", found_bundles(.0))]
    NoBundle(Vec<PathBuf>),
    /// The network refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or has a key that is not known.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            at: place_in(&text, &error),
            reason: error.message().to_owned(),
        })?;
        // Here the file is known that the value is in.
        config.check().map_err(|error| ConfigError::InFile {
            path: path.to_owned(),
            error: Box::new(error),
        })?;
        Ok(config)
    }

    /// Values that can be checked by themselves.
    fn check(&self) -> Result<(), ConfigError> {
        listen(&self.listen)?;
        if let Some(cluster) = &self.cluster {
            ClusterName::from_str(cluster)?;
        }
        if self.name.is_some() {
            name(self.name.clone())?;
        }
        self.http.listen.as_deref().map(http_address).transpose()?;
        Ok(())
    }

    /// This, and what `other` says where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        fn list<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
            if first.is_empty() { second } else { first }
        }
        // A key of the command line also beats a key file of the file.
        let keyed = self.key.is_some() || self.key_file.is_some();
        let (key, key_file) = if keyed {
            (self.key, self.key_file)
        } else {
            (other.key, other.key_file)
        };
        Self {
            name: self.name.or(other.name),
            cluster: self.cluster.or(other.cluster),
            key,
            key_file,
            connect: list(self.connect, other.connect),
            multicast: self.multicast.or(other.multicast),
            multicast_interface: self.multicast_interface.or(other.multicast_interface),
            listen: list(self.listen, other.listen),
            bundle: self.bundle.or(other.bundle),
            onnxruntime: self.onnxruntime.or(other.onnxruntime),
            threads: self.threads.or(other.threads),
            execution_providers: list(self.execution_providers, other.execution_providers),
            prepacking: self.prepacking.or(other.prepacking),
            weights_cache: self.weights_cache.or(other.weights_cache),
            rung: self.rung.or(other.rung),
            deadline: self.deadline.or(other.deadline),
            max_members: self.max_members.or(other.max_members),
            all_members: self.all_members.or(other.all_members),
            log: self.log.or(other.log),
            http: HttpConfig {
                listen: self.http.listen.or(other.http.listen),
            },
        }
    }

    fn network(&self) -> Network {
        Network {
            cluster: self.cluster.clone(),
            key: self.key.clone(),
            key_file: self.key_file.clone(),
            connect: self.connect.clone(),
            multicast: self.multicast,
            multicast_interface: self.multicast_interface.clone(),
        }
    }

    /// How others find the device's cluster, and the device's own name, as a client on the same machine needs them.
    ///
    /// # Errors
    /// The name is not possible.
    pub fn seen_from_beside(&self) -> Result<(Network, String), ConfigError> {
        let listen = listen(&self.listen)?;
        let mut network = self.network();
        // Where there is no multicast, a device that listens at a known port can be asked there.
        let known = listen.iter().filter(|address| address.port() != 0);
        network.connect.extend(known.map(SocketAddr::to_string));
        // It looks for others where it is reached.
        let reached = listen.iter().map(SocketAddr::ip).find(IpAddr::is_ipv4);
        if let (Some(address), Wanted::Best) = (reached, network.interface()) {
            network.multicast_interface = Some(address.to_string());
        }
        Ok((network, name(self.name.clone())?))
    }

    /// Fills the gaps and checks every value.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let (link, key) = self.network().joining(listen(&self.listen)?)?;
        Ok(Settings {
            name: name(self.name)?,
            key,
            link,
            bundle: find_bundle(self.bundle)?,
            onnxruntime: self.onnxruntime,
            threads: self.threads.unwrap_or(0),
            execution_providers: match self.execution_providers.as_slice() {
                [] => vec![Provider::Cpu],
                given => given.to_vec(),
            },
            prepacking: self.prepacking.unwrap_or(true),
            weights_cache: self
                .weights_cache
                .or_else(paths::service_cache_dir)
                .filter(|folder| !folder.as_os_str().is_empty()),
            defaults: Defaults {
                rung: self.rung.unwrap_or(DEFAULT_RUNG).0,
                deadline: self.deadline.unwrap_or(DEFAULT_DEADLINE),
                max_members: self.max_members.unwrap_or(0),
                all_members: self.all_members.unwrap_or(false),
            },
            http: self.http.listen.as_deref().map(http_address).transpose()?,
        })
    }
}

/// `line 2, threads`, where a file is not understood.
fn place_in(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let key = key.map_or_else(String::new, |key| format!(", {key}"));
    format!("line {}{key}", number + 1)
}

fn name(given: Option<String>) -> Result<String, ConfigError> {
    let name = given.unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match host.trim() {
            "" => "device".to_owned(),
            host => host.to_owned(),
        }
    });
    if (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(name);
    }
    Err(ConfigError::Value {
        key: "name",
        found: name,
        expected: "1 to 64 bytes of text",
    })
}
