//! Settings of a device, each declared once: as a field of [`Config`] or of one of its groups.
//!
//! Flags with their `--help`, environment variables, the settings file, the shipped `deploy/device.toml`, the manual page and
//! `run --print-settings` all come from that declaration. A new setting is one field:
//!
//! - The id of its clap argument is its key in the file, `TABLE.KEY` in a table.
//! - Its variable is `ASTRA_EDGE_` and that key in capitals, with underscores for dots.
//! - The first paragraph of its doc comment is what `-h` shows; a last paragraph `Example: VALUE` is the value that
//!   `deploy/device.toml` shows where there is no default.
//!
//! A flag wins over a variable, a variable over the file, and the file over the default. Values are read by the same parsers
//! wherever they come from, and what is not possible is refused with the place it comes from.

mod bundle;
mod declared;
mod effective;
mod error;
mod file;
mod network;
mod origin;
#[cfg(test)]
mod tests;
mod values;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::link::{InterfaceSetting, NetworkSettings};
use astra_bundle::Promise;
use astra_model::engine::Provider;
use astra_model::paths;

pub use bundle::find_bundle;
pub use declared::declared;
pub use effective::{Effective, Setting};
pub use error::ConfigError;
pub use network::{DEFAULT_CLUSTER, Network};
pub use origin::Origin;
pub use values::{Rung, parse_duration};

use file::File;
use network::{host_name, http_address, listen};

/// What is logged where nothing else is set.
pub const DEFAULT_LOG: &str = "warn,astra_edge=info,astra_model=info";
/// Bytes of a device's name that fit a hello.
const MAX_NAME: usize = 64;

/// Settings of a device as they are written.
#[derive(clap::Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Device")]
pub struct Config {
    /// Name of the device, for people [default: the machine's].
    ///
    /// Example: kitchen
    #[arg(long, env = "ASTRA_EDGE_NAME")]
    pub name: Option<String>,
    /// Directory of the exported model [default: the only one in the cache].
    ///
    /// Example: /var/lib/astra-edge/bundle
    #[arg(long, env = "ASTRA_EDGE_BUNDLE", value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Address to be reached at, as ADDRESS or ADDRESS:PORT; can be repeated [default: the multicast interface's, on a free port].
    ///
    /// Without any, the device follows the address of the interface when it changes; where the interface is "auto", a service
    /// waits until there is one.
    #[arg(
        long,
        env = "ASTRA_EDGE_LISTEN",
        value_name = "ADDRESS[:PORT]",
        value_delimiter = ','
    )]
    pub listen: Vec<String>,
    /// What is logged on standard error, and how much of it.
    #[arg(long, env = "ASTRA_EDGE_LOG", value_name = "FILTER", default_value = DEFAULT_LOG)]
    pub log: String,
    /// How to find the cluster.
    #[command(flatten)]
    pub network: Network,
    /// How the model is computed.
    #[command(flatten)]
    pub engine: EngineConfig,
    /// What holds for requests that leave it open.
    #[command(flatten)]
    pub defaults: RequestDefaults,
    /// How HTTP is served.
    #[command(flatten)]
    pub http: HttpConfig,
}

/// How the model is computed.
#[derive(clap::Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Model")]
pub struct EngineConfig {
    /// The ONNX Runtime library, or folders to look for it in, with colons between them [default: $ORT_DYLIB_PATH, the cache, the system's].
    ///
    /// Example: /usr/local/lib
    #[arg(long, env = "ASTRA_EDGE_ONNXRUNTIME", value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// Threads that compute; 0 for one a core.
    #[arg(
        long,
        env = "ASTRA_EDGE_THREADS",
        value_name = "N",
        default_value_t = 0
    )]
    pub threads: usize,
    /// Execution providers in the order they are tried: tensorrt, cuda, xnnpack, cpu.
    ///
    /// What one cannot compute the next does. All but the CPU need a program built with them (`cargo xtask build` for a board that
    /// has them) and an ONNX Runtime library that has them too. `astra-edge peers` shows what is in use.
    #[arg(
        long,
        env = "ASTRA_EDGE_EXECUTION_PROVIDERS",
        value_name = "NAME,NAME",
        value_delimiter = ',',
        default_value = "cpu"
    )]
    pub execution_providers: Vec<Provider>,
    /// Whether weights are kept a second time, in the order in which kernels read them.
    #[arg(
        long = "no-prepacking",
        env = "ASTRA_EDGE_PREPACKING",
        action = clap::ArgAction::SetFalse,
        help = "Do not keep the weights in memory a second time, in the order in which the kernels of the CPU read them: saves memory \
                as large as the model, and requests are 5 to 20 % slower. Without effect for bundles with matrices of 8 or 4 bits"
    )]
    pub prepacking: bool,
    /// Folder in which the weights are kept in that order, instead of in memory; "" for none [default: the service manager's cache folder].
    ///
    /// They are made at the first start, up to four times the size of the model's weights, and mapped from then on, which is memory
    /// that the system takes back when it is short. A device that is no service has no such folder by default. Where it cannot be
    /// written, the weights are kept in memory.
    ///
    /// Example: /var/cache/astra-edge
    #[arg(long, env = "ASTRA_EDGE_WEIGHTS_CACHE", value_name = "DIR")]
    pub weights_cache: Option<OsString>,
}

/// What holds for requests that leave it open.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq)]
#[command(next_help_heading = "Requests")]
pub struct RequestDefaults {
    /// Quality of requests that name no rung, above 0 and up to 1: they use the fewest bits that keep it.
    ///
    /// A cosine with the one-device answer (of the class token, or of a text's embedding) is to be at least this, a perplexity at
    /// most 1 minus this above that of one device: 0.99 is a cosine of 0.99, or 1 % of perplexity. What decides is what was
    /// measured when the model was exported, at the nearest number of devices, on inputs that the codec was not fitted to: the
    /// worse end of the 95 % interval. Where no rung keeps it the best one is used, and the log says so.
    #[arg(
        long,
        env = "ASTRA_EDGE_QUALITY",
        value_name = "Q",
        default_value = "0.99"
    )]
    pub quality: Promise,
    /// Rung of requests that name none: bits per token per block, or "exact" for float32 [default: by the quality].
    ///
    /// Example: 320
    #[arg(long, env = "ASTRA_EDGE_RUNG", value_name = "RUNG")]
    pub rung: Option<Rung>,
    /// Time of requests that name no deadline. No request gets more than 10 minutes.
    #[arg(long, env = "ASTRA_EDGE_DEADLINE", value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub deadline: Duration,
    /// Most members of a request, this device included; 0 for no limit.
    #[arg(
        long,
        env = "ASTRA_EDGE_MAX_MEMBERS",
        value_name = "N",
        default_value_t = 0
    )]
    pub max_members: usize,
    /// Use all members even where requests have shown fewer, or this device alone, to be faster.
    ///
    /// Otherwise, where two requests in a row took longer than this device alone, the next use half as many members, or only this
    /// device; after a minute all are tried again.
    #[arg(long, env = "ASTRA_EDGE_ALL_MEMBERS")]
    pub all_members: bool,
}

/// How HTTP is served.
#[derive(clap::Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "HTTP")]
pub struct HttpConfig {
    /// Serve HTTP for other programs at this address, or at this port of 127.0.0.1 [default: off].
    ///
    /// There is no authentication: every program that reaches the address may send requests.
    ///
    /// Example: 127.0.0.1:8080
    #[arg(
        id = "http.listen",
        long = "http",
        env = "ASTRA_EDGE_HTTP_LISTEN",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: Option<String>,
    /// A name by which browsers reach this device, besides its own; can be repeated.
    ///
    /// Requests under other names than IP addresses, localhost, the machine's name, that with .local, and these are refused: a web
    /// page could have sent them.
    ///
    /// Example: chat.example.org
    #[arg(
        id = "http.allow_host",
        long = "allow-host",
        env = "ASTRA_EDGE_HTTP_ALLOW_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allow_host: Vec<String>,
}

/// Settings that have been checked, with nothing left open.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the device.
    pub name: String,
    /// The cluster's key.
    pub key: Vec<u8>,
    /// How to take part in the network.
    pub link: NetworkSettings,
    /// Directory of the bundle.
    pub bundle: PathBuf,
    /// How the model is computed.
    pub engine: EngineConfig,
    /// For requests that leave it open.
    pub defaults: RequestDefaults,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
    /// Names by which browsers may reach it, besides its own.
    pub allow_host: Vec<String>,
}

impl EngineConfig {
    /// Folder in which weights are kept in the order in which kernels read them, to be mapped.
    pub fn weights_cache(&self) -> Option<PathBuf> {
        let given = self.weights_cache.clone().map(PathBuf::from);
        let folder = given.or_else(paths::service_cache_dir);
        folder.filter(|folder| !folder.as_os_str().is_empty())
    }
}

impl Config {
    /// Reads a TOML file over the defaults.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or has a key or a value that is not possible.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = File::read(path)?;
        let config = file.config()?;
        config.check().map_err(|error| file.named(error))?;
        Ok(config)
    }

    /// Checks all values that do not depend on this machine.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn check(&self) -> Result<(), ConfigError> {
        listen(&self.listen)?;
        self.network.cluster()?;
        name(self.name.clone())?;
        self.http.listen.as_deref().map(http_address).transpose()?;
        self.http
            .allow_host
            .iter()
            .try_for_each(|name| host_name(name))
    }

    /// How others find the device's cluster, and the device's own name, as a client on the same machine needs them.
    ///
    /// # Errors
    /// A value that is not possible.
    pub fn seen_from_beside(&self) -> Result<(Network, String), ConfigError> {
        let listen = listen(&self.listen)?;
        let mut network = self.network.clone();
        // Where there is no multicast, a device that listens at a known port can be reached there.
        let known = listen.iter().filter(|address| address.port() != 0);
        network.connect.extend(known.map(SocketAddr::to_string));
        // The device looks for others on the interface it listens on.
        let listening = listen.iter().map(SocketAddr::ip).find(IpAddr::is_ipv4);
        if let (Some(address), InterfaceSetting::Auto) = (listening, network.interface()) {
            network.multicast_interface = address.to_string();
        }
        Ok((network, name(self.name.clone())?))
    }

    /// Checks every value and finds what was left to this machine.
    ///
    /// # Errors
    /// The first value that is not possible.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        self.check()?;
        let (link, key) = self.network.link_settings(listen(&self.listen)?)?;
        Ok(Settings {
            name: name(self.name)?,
            key,
            link,
            bundle: find_bundle(self.bundle)?,
            engine: self.engine,
            defaults: self.defaults,
            http: self.http.listen.as_deref().map(http_address).transpose()?,
            allow_host: self.http.allow_host,
        })
    }

    /// What stands for a setting without a value on this machine, where that is known before the device starts.
    fn found(&self, key: &str) -> Option<String> {
        match key {
            "name" => name(None).ok(),
            "bundle" => Some(find_bundle(None).ok()?.display().to_string()),
            "weights_cache" => Some(self.engine.weights_cache()?.display().to_string()),
            _ => None,
        }
    }
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
    Err(ConfigError::value("name", &name, "1 to 64 bytes of text"))
}
