//! `astra-edge infer`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use astra_edge::alone;
use astra_edge::client::{Answered, Client};
use astra_edge::config::{Network, Rung, find_bundle, parse_duration};
use astra_edge::report::Report;
use astra_edge::tasks::picture::write_png;
use astra_wire::{Ask, AskOptions, Control};
use serde::Serialize;

use super::network::NetworkArgs;

/// Largest picture file that is sent, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Time a device may take beyond the deadline: to be reached, and to say what came of it.
const GRACE: Duration = Duration::from_secs(3);
/// Time the comparison with one device may take.
const COMPARISON: Duration = Duration::from_secs(60);

/// Send a picture through a cluster and show what came of it.
///
/// Finds a device of the cluster and asks it. That device divides the work among all it can use, itself included, and
/// answers; where nobody else can take part it answers alone and says so.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The picture: a JPEG, PNG or WebP file.
    image: PathBuf,
    /// Device to ask [default: the fastest of those seen first].
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Bits per token per block, or exact for float32 [default: the device's].
    #[arg(long, value_name = "RUNG")]
    rung: Option<Rung>,
    /// Time until the answer is due; what did not come by then is left out and reported [default: the device's].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// Compare with the answer of the asked device alone.
    #[arg(long)]
    compare: bool,
    /// Draw the map over the picture, into a PNG file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the class token and map into a JSON file.
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// Most members, the asked device included; 0 for the device's own limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_members: u8,
    /// Tokens of each member, in the order of their names, instead of by speed: 100,80,76.
    #[arg(long, value_name = "TOKENS,...", value_delimiter = ',')]
    ranges: Vec<u16>,
    /// How long to look for a device.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    wait: Duration,
    /// Run on this machine, without a cluster.
    #[arg(long, conflicts_with_all = ["device", "rung", "deadline", "compare", "max_members", "ranges"])]
    alone: bool,
    /// Directory of the exported model, with --alone [default: the only one in the cache].
    #[arg(long, value_name = "DIR", requires = "alone")]
    bundle: Option<PathBuf>,
    /// The ONNX Runtime library, with --alone.
    #[arg(long, value_name = "FILE", requires = "alone")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute, with --alone; 0 for one a core.
    #[arg(long, value_name = "N", requires = "alone", default_value_t = 0)]
    threads: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
    #[command(flatten)]
    network: NetworkArgs,
}

/// The file of `--answer`.
#[derive(Serialize)]
struct AnswerFile<'a> {
    cls: &'a [f32],
    map_height: usize,
    map_width: usize,
    map: &'a [f32],
}

pub(super) fn main(args: Args) -> Result<()> {
    super::log(&args.log)?;
    let image = read_picture(&args.image)?;
    let runtime = super::runtime()?;
    let mut answered = if args.alone {
        runtime.block_on(alone(&args, &image))?
    } else {
        runtime.block_on(ask(&args, &image))?
    };
    if let Some(path) = &args.answer {
        write_answer(path, &answered)?;
    }
    if let Some(path) = &args.out {
        draw(path, &image, &answered)?;
        answered.report.picture = Some(path.display().to_string());
    }
    print(&answered.report, args.json)
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        return super::print_json(report);
    }
    super::print_line(report.to_string().trim_end())
}

/// A picture file's bytes.
pub(super) fn read_picture(path: &Path) -> Result<Vec<u8>> {
    let name = || path.display().to_string();
    let size = std::fs::metadata(path).with_context(name)?.len();
    if size > MAX_FILE {
        bail!("{}: {size} bytes, expected at most {MAX_FILE}", name());
    }
    let bytes = std::fs::read(path).with_context(name)?;
    if bytes.is_empty() {
        bail!("{}: empty, expected a picture", name());
    }
    Ok(bytes)
}

async fn alone(args: &Args, image: &[u8]) -> Result<Answered> {
    let bundle = find_bundle(args.bundle.clone())?;
    let library = args.onnxruntime.as_deref();
    let reply = alone::answer(&bundle, library, args.threads, image).await?;
    Ok(Answered {
        report: reply.report,
        cls: reply.answer.cls,
        map: reply.answer.map,
    })
}

async fn ask(args: &Args, image: &[u8]) -> Result<Answered> {
    let network = Network::from(args.network.clone());
    let mut client = Client::open(&network).await?;
    let device = client.find(args.device.as_deref(), args.wait).await?;
    let deadline = args.deadline.unwrap_or_default();
    let question = Control::Ask(Ask {
        options: AskOptions {
            rung: args.rung.map(|rung| rung.0),
            alone: false,
            compare: args.compare,
            // Bounded when the flag was read.
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            max_members: args.max_members,
        },
        image,
    });
    let within = patience(args);
    let answered = client
        .ask(&device, &question, &args.ranges, within)
        .await
        .with_context(|| args.image.display().to_string());
    client.close().await;
    answered
}

/// How long to wait for the answer.
fn patience(args: &Args) -> Duration {
    // A device's own deadline is not known here: a generous one is assumed.
    let deadline = args.deadline.unwrap_or(Duration::from_secs(60));
    let comparison = if args.compare {
        COMPARISON
    } else {
        Duration::ZERO
    };
    deadline + comparison + GRACE
}

fn write_answer(path: &Path, answered: &Answered) -> Result<()> {
    let map = answered.map.as_ref();
    let file = AnswerFile {
        cls: &answered.cls,
        map_height: map.map_or(0, |map| map.height),
        map_width: map.map_or(0, |map| map.width),
        map: map.map_or(&[], |map| &map.values),
    };
    let text = serde_json::to_string(&file)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn draw(path: &Path, image: &[u8], answered: &Answered) -> Result<()> {
    let picture = answered.overlay(image);
    let picture = picture.with_context(|| format!("nothing is drawn into {}", path.display()))?;
    write_png(path, &picture)?;
    Ok(())
}
