//! The command line of the demo.

use std::path::PathBuf;

use clap::Args;

use crate::bundle::Size;
use crate::netlab::Mbps;

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Send a prompt to a language model instead; the answer streams to standard output
    #[arg(long, conflicts_with_all = ["photo", "size"])]
    pub(crate) text: bool,

    /// The prompt [default: one of about 150 tokens]
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub(crate) prompt: Option<String>,

    /// Photograph to send [default: one that the codebooks were not calibrated with]
    #[arg(long, value_name = "FILE")]
    pub(crate) photo: Option<PathBuf>,

    /// Number of device processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) devices: u8,

    /// Bits per token per block that members send each other; exact sends float32 instead of codes [default: the fewest bits that
    /// keep the quality a device promises]
    #[arg(long, value_name = "BITS", value_parser = ["10", "20", "40", "80", "160", "320", "640", "exact"])]
    pub(crate) rung: Option<String>,

    /// Side of the square the photograph is scaled to, pixels: 256 or 1369 tokens
    #[arg(long, value_enum, default_value = "224")]
    pub(crate) size: Size,

    /// Instead of a prediction, measure the cluster in the lab of netlab, as root on Linux: with a network namespace and a share of a
    /// core for each device
    #[arg(long)]
    pub(crate) lab: bool,

    /// Rate of the links between devices, for the prediction or --lab, megabits a second
    #[arg(long, value_name = "RATE", default_value = "100")]
    pub(crate) mbps: Mbps,

    /// Print one JSON object on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,

    /// Keep the devices' logs, and print where they are
    #[arg(long)]
    pub(crate) keep: bool,

    /// Export the bundle again, even if the cached one is valid
    #[arg(long)]
    pub(crate) fresh: bool,
}
