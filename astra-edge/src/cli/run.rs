//! `astra-edge run`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use astra_edge::config::{
    Config, DEFAULT_DEADLINE, DEFAULT_LOG, DEFAULT_RUNG, HttpConfig, Network, Rung, parse_duration,
};
use astra_edge::node::{Node, describe};
use astra_model::engine::Provider;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::network::NetworkArgs;
use super::service;

/// Run a device of a cluster, until it is told to stop.
///
/// The device loads its bundle, measures how fast it is, finds the others and takes questions and parts in theirs. It prints
/// one line when it is ready and ends in order on SIGINT or SIGTERM.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// File of settings; flags win over it. The device.toml of the package, or of deploy/, lists all there are.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the device [default: the machine's].
    #[arg(long)]
    name: Option<String>,
    /// Directory of the exported model [default: the only one in the cache].
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Address to be reached at; can be repeated [default: the multicast interface's, on a free port].
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    listen: Vec<String>,
    /// The ONNX Runtime library, or folders to look for it in, with colons between them [default: $ORT_DYLIB_PATH, the cache, the system's].
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute; 0 for one a core [default: 0].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Execution providers in the order they are tried: tensorrt, cuda, xnnpack, cpu [default: cpu].
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    execution_providers: Vec<Provider>,
    /// Do not keep the weights in memory a second time, in the order kernels read them: less memory, requests 5 to 20 % slower.
    #[arg(long)]
    no_prepacking: bool,
    /// Folder in which the weights are kept in that order, made at the first start and mapped from then on; "" for none, in memory
    /// then [default: the service manager's cache folder].
    #[arg(long, value_name = "DIR")]
    weights_cache: Option<OsString>,
    /// Rung of questions that name none: bits per token per block, or exact.
    #[arg(long, value_name = "RUNG", help = format!("Rung of questions that name none: bits per token per block, or exact [default: {}]", DEFAULT_RUNG.0))]
    rung: Option<Rung>,
    /// Time of questions that name none.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help = format!("Time of questions that name none [default: {}s]", DEFAULT_DEADLINE.as_secs()))]
    deadline: Option<Duration>,
    /// Most members of a request; 0 for as many as there are [default: 0].
    #[arg(long, value_name = "N")]
    max_members: Option<usize>,
    /// Let all members take part even where requests have shown fewer, or this device alone, to be faster.
    #[arg(long)]
    all_members: bool,
    /// Serve HTTP for other programs at this address, or at this port of 127.0.0.1 [default: off].
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", help = format!("What is logged on standard error [default: {DEFAULT_LOG}]"))]
    log: Option<String>,
    /// Print the line of readiness as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// The line of readiness.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    name: &'a str,
    id: String,
    cluster: &'a str,
    model: &'a str,
    bundle: String,
    speed_ms: f64,
    addresses: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<SocketAddr>,
}

pub(super) fn main(args: Args) -> Result<()> {
    let json = args.json;
    let config = config(args)?;
    super::log(config.log.as_deref().unwrap_or(DEFAULT_LOG))?;
    super::runtime()?.block_on(async {
        // Before anything takes long, so that a signal is never lost.
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let starting = async {
            let settings = service::with_network(config.settings()?).await;
            anyhow::Ok(Node::start(settings).await?)
        };
        let node = tokio::select! {
            node = starting => node?,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        ready(&node, json)?;
        let status = service::ready(&node);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = service::watch(&node) => {}
            () = service::show(&node, status) => {}
        }
        tracing::info!("leaving");
        service::stopping();
        node.stop().await;
        Ok(())
    })
}

fn config(args: Args) -> Result<Config> {
    let network = Network::from(args.network);
    let flags = Config {
        name: args.name,
        cluster: network.cluster,
        key: network.key,
        key_file: network.key_file,
        connect: network.connect,
        multicast: network.multicast,
        multicast_interface: network.multicast_interface,
        listen: args.listen,
        bundle: args.bundle,
        onnxruntime: args.onnxruntime,
        threads: args.threads,
        execution_providers: args.execution_providers,
        prepacking: args.no_prepacking.then_some(false),
        weights_cache: args.weights_cache.map(PathBuf::from),
        rung: args.rung,
        deadline: args.deadline,
        max_members: args.max_members,
        all_members: args.all_members.then_some(true),
        log: args.log,
        http: HttpConfig { listen: args.http },
    };
    let file = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    Ok(flags.or(file))
}

fn ready(node: &Node, json: bool) -> Result<()> {
    let hello = node.hello();
    let cluster = node.cluster();
    if !json {
        let http = node.http().map(|http| format!(", HTTP at http://{http}"));
        let (device, http) = (describe(&hello), http.unwrap_or_default());
        return super::print_line(&format!("ready in cluster {cluster}: {device}{http}"));
    }
    super::print_json(&Ready {
        event: "ready",
        name: &hello.name,
        id: hello.device.to_string(),
        cluster: &cluster,
        model: &hello.model,
        bundle: hello
            .bundle
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        speed_ms: f64::from(hello.speed) / 1e3,
        addresses: hello
            .addresses
            .iter()
            .map(|address| address.as_str())
            .collect(),
        http: node.http(),
    })
}
