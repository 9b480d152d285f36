//! The command line of the lab.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::bundle::Recipe;
use crate::cli::Size;
use crate::provision::{Needs, Provisioned};

use super::link::{Mbps, Preset};

#[derive(Args, Debug)]
pub(crate) struct NetlabArgs {
    /// How many devices the lab has
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) devices: u8,

    /// Cores each device may use, such as 0.45; by default as many as there are
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub(crate) cpu: Option<f64>,

    /// A link to measure on; can be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) preset: Vec<Preset>,

    /// A link of this rate, in megabits a second; can be repeated
    #[arg(long, value_name = "RATE")]
    pub(crate) mbps: Vec<Mbps>,

    /// Packets that get lost on their way to a device, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub(crate) loss: f64,

    /// All devices share one medium of the rate, instead of each having it both ways
    #[arg(long)]
    pub(crate) shared_medium: bool,

    /// What to measure; can be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) bench: Vec<Bench>,

    /// Rungs to measure beside one device: bits per token per block, or exact
    #[arg(
        long,
        value_name = "BITS,...",
        value_delimiter = ',',
        default_value = "160,320"
    )]
    pub(crate) rungs: Vec<String>,

    /// Other ways to divide the work, to measure beside it on as many of the devices as members are asked for at most
    #[arg(long, value_name = "NAME,...", value_delimiter = ',',
          value_parser = ["sp-f32", "sp-f16", "tp", "bp-1", "bp-4"])]
    pub(crate) baseline: Vec<String>,

    /// Members to measure with; 0 for as many as the devices find worth it on the link
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "0")]
    pub(crate) members: Vec<u8>,

    /// Requests measured for each row
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub(crate) repeat: usize,

    /// Time after which a row is content with the requests it has, such as 20s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) at_most: String,

    /// Photograph to send; by default one that the codebooks were not calibrated with
    #[arg(long, value_name = "FILE")]
    pub(crate) photo: Option<PathBuf>,

    /// Text to cut prompts out of; by default the licence of this project
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,

    /// Tokens of each prompt, where a text is measured [default: as the bench is named]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) tokens: Vec<u16>,

    /// Print the rows as one JSON array on standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the rows into a JSON file too
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Draw the rows into SVG files in a folder, as bench-report does
    #[arg(long, value_name = "DIR", requires = "out")]
    pub(crate) plots: Option<PathBuf>,

    /// Keep the devices' logs, and say where they are
    #[arg(long)]
    pub(crate) keep: bool,

    /// Instead of a bench, a command to run beside the first device, as in `netlab -- bash`
    #[arg(last = true, conflicts_with = "bench")]
    pub(crate) command: Vec<String>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// A photograph of 224 x 224 pixels: 256 tokens
    #[value(name = "vit-224")]
    Vit224,
    /// A photograph of 518 x 518 pixels: 1369 tokens
    #[value(name = "vit-518")]
    Vit518,
    /// A prompt of 1024 tokens, to its first token
    #[value(name = "smollm2-1024")]
    Smollm1024,
}

impl Bench {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vit224 => "vit-224",
            Self::Vit518 => "vit-518",
            Self::Smollm1024 => "smollm2-1024",
        }
    }

    /// Tokens of its prompts; `None` for pictures.
    pub(crate) fn tokens(self) -> Option<u16> {
        match self {
            Self::Vit224 | Self::Vit518 => None,
            Self::Smollm1024 => Some(1024),
        }
    }

    pub(crate) fn needs(self) -> Needs {
        match self {
            Self::Vit224 | Self::Vit518 => Needs::Images,
            Self::Smollm1024 => Needs::All,
        }
    }

    pub(crate) fn recipe(self, provisioned: &Provisioned) -> Recipe {
        match self {
            Self::Vit224 => Recipe::images(provisioned, Size::Small.pixels()),
            Self::Vit518 => Recipe::images(provisioned, Size::Large.pixels()),
            Self::Smollm1024 => Recipe::language(provisioned),
        }
    }
}

/// Below, the kernel's least quota of a millisecond would come in lumps a slow device does not have.
fn cores(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(cores) if (0.1..=64.0).contains(&cores) => Ok(cores),
        _ => Err("expected a number from 0.1 to 64".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=90.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0 to 90".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<NetlabArgs, clap::Error> {
        let all = ["xtask", "netlab"]
            .into_iter()
            .chain(line.split_whitespace());
        let Command::Netlab(args) = Cli::try_parse_from(all)?.command else {
            panic!("not the lab")
        };
        Ok(*args)
    }

    #[test]
    fn the_documented_call_is_understood() {
        let args = parse(
            "--devices 4 --cpu 0.45 --preset wifi-100 --preset wifi-10 --bench vit-518 --json",
        )
        .unwrap();
        assert_eq!((args.devices, args.cpu, args.json), (4, Some(0.45), true));
        assert_eq!(args.preset, [Preset::Wifi100, Preset::Wifi10]);
        assert_eq!(args.bench, [Bench::Vit518]);
        assert_eq!(args.rungs, ["160", "320"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "--devices 0",
            "--devices 17",
            "--cpu 0",
            "--cpu nan",
            "--loss 91",
            "--loss -1",
            "--mbps 0",
            "--preset wifi-11",
            "--bench vit-224 -- bash",
            "--bench smollm2",
        ] {
            assert!(parse(line).is_err(), "{line:?} was taken");
        }
    }

    #[test]
    fn a_command_runs_instead() {
        let args = parse("--devices 2 -- ping -c 1 10.77.0.2").unwrap();
        assert_eq!(args.command, ["ping", "-c", "1", "10.77.0.2"]);
        assert!(args.bench.is_empty());
    }
}
