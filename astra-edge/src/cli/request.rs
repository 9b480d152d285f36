//! Flags of a request, common to the commands that send one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use astra_edge::alone;
use astra_edge::cluster::request::image::ImageReply;
use astra_edge::config::{Rung, find_bundle, parse_duration};
use astra_edge::text::TextService;
use astra_wire::RequestOptions;

/// Deadline that is assumed for a request that sets none: the device's own is not known here.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time a device may take beyond the deadline, to receive the request and to send its response.
const GRACE: Duration = Duration::from_secs(3);

/// Flags of a request.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct RequestArgs {
    /// Device that coordinates, by its name, its id or the first digits of its id [default: the fastest of those found first].
    #[arg(long, value_name = "NAME")]
    pub(super) device: Option<String>,
    /// Bits per token per block, or exact for float32 [default: the device's].
    #[arg(long, value_name = "RUNG")]
    rung: Option<Rung>,
    /// Time limit for the result, or for the first token of a text, of at most 10 minutes. What has not arrived by then is left out
    /// and reported [default: the device's].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// Most members, the coordinating device included; 0 for the limit in that device's settings.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_members: u8,
    /// Tokens of each member, in the order of their names, instead of dividing by speed. Example: 100,80,76.
    #[arg(long, value_name = "TOKENS,...", value_delimiter = ',')]
    pub(super) ranges: Vec<u16>,
    /// How long to look for a device.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub(super) wait: Duration,
    /// Run on this machine, without a cluster.
    #[arg(long, conflicts_with_all = ["device", "rung", "deadline", "max_members", "ranges"])]
    pub(super) alone: bool,
    /// Directory of the exported model, with --alone [default: the only one in the cache].
    #[arg(long, value_name = "DIR", requires = "alone")]
    bundle: Option<PathBuf>,
    /// ONNX Runtime library, or folders to search for it, separated by colons, with --alone.
    #[arg(long, value_name = "PATH", requires = "alone")]
    onnxruntime: Option<PathBuf>,
    /// Threads that compute, with --alone; 0 for one per core.
    #[arg(long, value_name = "N", requires = "alone", default_value_t = 0)]
    threads: usize,
}

impl RequestArgs {
    /// The options as they are sent to a coordinator.
    pub(super) fn options(&self) -> RequestOptions {
        let deadline = self.deadline.unwrap_or_default();
        RequestOptions {
            rung: self.rung.map(|rung| rung.0),
            local: false,
            compare: false,
            // Bounded when the flag was read.
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            max_members: self.max_members,
        }
    }

    /// How long to wait for the response, or its first piece.
    pub(super) fn timeout(&self) -> Duration {
        self.deadline.unwrap_or(DEADLINE) + GRACE
    }

    /// The result of an image, computed on this machine.
    pub(super) async fn compute_image(&self, image: &[u8]) -> Result<ImageReply> {
        let bundle = find_bundle(self.bundle.clone())?;
        let library = self.onnxruntime.as_deref();
        Ok(alone::answer(&bundle, library, self.threads, image).await?)
    }

    /// Loads the text model on this machine. Blocks for a while.
    pub(super) fn text_service(&self) -> Result<TextService> {
        let bundle = find_bundle(self.bundle.clone())?;
        let library = self.onnxruntime.as_deref();
        Ok(alone::text_service(&bundle, library, self.threads)?)
    }
}
