//! `astra-edge run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use astra_edge::config::{Config, Effective};
use astra_edge::node::{Node, describe};
use clap::ArgMatches;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{service, settings};

/// Run a device of a cluster until it is stopped.
///
/// The device loads its bundle, measures its speed, finds the other devices, and takes requests. It prints one line when it is
/// ready, and leaves the cluster on SIGINT or SIGTERM.
///
/// Each setting can be given as a flag, as an environment variable, or in a settings file, and the first of these that has it wins.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Settings file; the device.toml of the package, or of deploy/, lists all settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every setting with its value and where that comes from, as a settings file, and do not run.
    #[arg(long)]
    print_settings: bool,
    /// Print the line that says it is ready, or the settings, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    _settings: Config,
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

/// `given` is the command line.
pub(super) fn main(args: &Args, given: &ArgMatches) -> Result<()> {
    let json = args.json;
    let effective = Effective::new(given, args.config.as_deref())?;
    if args.print_settings {
        return settings::print(effective.settings(), json);
    }
    let filter = &effective.config().log;
    super::log_or(filter, |expected| {
        effective.refuse("log", filter, expected).into()
    })?;
    super::runtime()?.block_on(async {
        // Before anything takes long, so that a signal is never lost.
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let starting = async {
            let settings = service::with_network(effective.checked()?).await;
            anyhow::Ok(Node::start(settings).await?)
        };
        let node = tokio::select! {
            node = starting => node?,
            _ = interrupt.recv() => exit(),
            _ = terminate.recv() => exit(),
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

/// Ends the program at once, while the model is loaded: the thread that loads it cannot be stopped, and must not find what it uses
/// taken down. There is nothing to save or to say to others yet.
fn exit() -> ! {
    // SAFETY: it ends the process, and runs nothing of this program any more.
    unsafe { libc::_exit(0) }
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
