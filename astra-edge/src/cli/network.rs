//! Flags by which every command finds a cluster.

use std::path::PathBuf;

use astra_edge::config::{DEFAULT_CLUSTER, Network};

/// How to find the cluster.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub(super) struct NetworkArgs {
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", help = format!("Name of the cluster [default: {DEFAULT_CLUSTER}]"))]
    cluster: Option<String>,
    /// Key of the cluster: devices with another one are listed and not used.
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// File that holds the key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A device to connect to, where multicast does not reach it; it tells of the others. Can be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    connect: Vec<String>,
    /// Do not look for devices by multicast.
    #[arg(long)]
    no_multicast: bool,
    /// Interface to find devices on, by name or address [default: that of the local network].
    #[arg(long, value_name = "INTERFACE")]
    multicast_interface: Option<String>,
}

impl From<NetworkArgs> for Network {
    fn from(args: NetworkArgs) -> Self {
        Self {
            cluster: args.cluster,
            key: args.key,
            key_file: args.key_file,
            connect: args.connect,
            multicast: args.no_multicast.then_some(false),
            multicast_interface: args.multicast_interface,
        }
    }
}
