//! `astra-edge infer`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use astra_edge::alone::AloneError;
use astra_edge::client::{Client, Response};
use astra_edge::cluster::request::error::RequestError;
use astra_edge::config::Network;
use astra_edge::report::Report;
use astra_model::tasks::image::MAX_FILE;
use astra_model::tasks::overlay::write_png;
use astra_wire::{Control, ImageRequest, RequestOptions};
use serde::Serialize;

use super::request::RequestArgs;

/// Time the comparison with one device may take.
const COMPARISON: Duration = Duration::from_secs(60);

/// Compute a picture on a cluster, and print the result and what it took.
///
/// Finds a device of the cluster and sends it the picture. That device coordinates: it divides the tokens among all usable devices,
/// itself included. Where there are no others, it computes alone and the report says so.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The picture: a JPEG, PNG or WebP file.
    image: PathBuf,
    /// Also compute on the coordinating device alone, and compare the results.
    #[arg(long, conflicts_with = "alone")]
    compare: bool,
    /// Write the picture with its map drawn over it, as PNG.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the class token and the map as JSON.
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    network: Network,
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
    let mut answered = if args.request.alone {
        runtime.block_on(alone(&args, &image))?
    } else {
        runtime.block_on(send_request(&args, &image))?
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
    if size > MAX_FILE as u64 {
        bail!(
            "{}: size: found {size} bytes, expected at most {MAX_FILE}",
            name()
        );
    }
    let bytes = std::fs::read(path).with_context(name)?;
    if bytes.is_empty() {
        bail!("{}: found an empty file, expected a picture", name());
    }
    Ok(bytes)
}

async fn alone(args: &Args, image: &[u8]) -> Result<Response> {
    let reply = args.request.compute_image(image).await;
    let reply = reply.map_err(|error| named(error, &args.image))?;
    Ok(Response {
        report: reply.report,
        cls: reply.answer.cls,
        map: reply.answer.map,
    })
}

/// An error about a picture, with its file; others are of the bundle or the machine.
pub(super) fn named(error: anyhow::Error, path: &Path) -> anyhow::Error {
    match error.downcast_ref::<AloneError>() {
        Some(AloneError::Request(RequestError::Image(_))) => {
            error.context(path.display().to_string())
        }
        _ => error,
    }
}

async fn send_request(args: &Args, image: &[u8]) -> Result<Response> {
    let flags = &args.request;
    let mut client = Client::open(&args.network).await?;
    let device = client.find(flags.device.as_deref(), flags.wait).await?;
    let request = Control::ImageRequest(ImageRequest {
        options: RequestOptions {
            compare: args.compare,
            ..flags.options()
        },
        image,
    });
    let mut within = flags.timeout();
    if args.compare {
        within += COMPARISON;
    }
    let answered = client
        .request(&device, &request, &flags.ranges, within)
        .await
        .with_context(|| args.image.display().to_string());
    client.close().await;
    answered
}

fn write_answer(path: &Path, answered: &Response) -> Result<()> {
    let map = answered.map.as_ref();
    let file = AnswerFile {
        cls: &answered.cls,
        map_height: map.map_or(0, |map| map.height),
        map_width: map.map_or(0, |map| map.width),
        map: map.map_or(&[], |map| &map.values),
    };
    let text = serde_json::to_string(&file)?;
    std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))
}

fn draw(path: &Path, image: &[u8], answered: &Response) -> Result<()> {
    let picture = answered.overlay(image);
    let picture = picture.with_context(|| format!("{}: nothing is drawn", path.display()))?;
    write_png(path, &picture)?;
    Ok(())
}
