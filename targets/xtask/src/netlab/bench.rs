//! Benches one after another, each in a session of its own.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::bench_report;
use crate::binaries;
use crate::bundle;
use crate::provision::{self, Needs};
use crate::stop::Stop;

use super::args::NetlabArgs;
use super::builds::Build;
use super::comparison;
use super::link::{self, Link};
use super::rows::Row;
use super::session::Session;

/// Runs every bench on every link; rows go to standard output and into the file of `--out`.
pub(super) fn run(args: &NetlabArgs, links: &[Link], stop: &Stop) -> Result<()> {
    if args.bench.is_empty() {
        bail!("found neither --bench nor a command after --, expected one of them");
    }
    let rows = all(args, links, stop)?;
    if let (Some(file), Some(folder)) = (&args.out, &args.plots) {
        bench_report::draw_all(std::slice::from_ref(file), folder)?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
    } else if args.other.is_some() {
        print!("{}", comparison::table(&rows));
    }
    Ok(())
}

/// Runs the benches of `args` and returns their rows; without `args.json` the clients print them too.
pub(crate) fn measure(args: &NetlabArgs, stop: &Stop) -> Result<Vec<Row>> {
    all(args, &link::links(&args.preset, &args.mbps), stop)
}

fn all(args: &NetlabArgs, links: &[Link], stop: &Stop) -> Result<Vec<Row>> {
    let named = args.photo.iter().chain(&args.text);
    if let Some(missing) = named.into_iter().find(|file| !file.is_file()) {
        bail!("{}: found no file", missing.display());
    }
    let other = args.other_programs()?;
    let needs = args.bench.iter().map(|bench| bench.needs()).max();
    let provisioned = provision::provision(needs.unwrap_or(Needs::Images), stop)?;
    let binaries = binaries::build(stop)?;
    let baselines = match args.baseline.is_empty() {
        true => None,
        false => Some(binaries::build_baselines(stop)?),
    };
    let this = Build::single(binaries, baselines);
    let builds = match other {
        None => vec![this],
        Some(other) => Vec::from(Build::pair(this, other, args.devices)),
    };
    let mut rows = Vec::new();
    for bench in &args.bench {
        let recipe = bench.recipe(&provisioned);
        let Some(exporter) = builds.first().map(|this| &this.binaries) else {
            continue;
        };
        let bundle = bundle::ensure(&recipe, &provisioned, exporter, false, stop)?;
        let session = Session {
            args,
            links,
            bench: *bench,
            provisioned: &provisioned,
            builds: &builds,
            bundle: &bundle,
            stop,
        };
        // Written after every link: rows of hours are not to be lost with one that fails.
        session.run(&mut rows, &mut |rows| save(rows, args.out.as_deref()))?;
    }
    Ok(rows)
}

fn save(rows: &[Row], file: Option<&Path>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = serde_json::to_string(rows)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
