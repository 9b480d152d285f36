//! The command line of the lab.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::bundle::{Recipe, Size};
use crate::provision::{Needs, Provisioned};

use super::builds::Programs;
use super::link::{Mbps, Preset};
use super::quota::LEAST_CORES;

#[derive(Args, Debug)]
pub(crate) struct NetlabArgs {
    /// How many devices the lab has
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) devices: u8,

    /// Cores each device may use, such as 0.45 [default: all of the machine's]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub(crate) cpu: Option<f64>,

    /// Link between the devices, by name; can be repeated [default: wifi-100]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) preset: Vec<Preset>,

    /// Link of this rate, megabits a second; can be repeated
    #[arg(long, value_name = "RATE")]
    pub(crate) mbps: Vec<Mbps>,

    /// Packets dropped at random on their way to a device, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub(crate) loss: f64,

    /// All devices share one medium of the rate, instead of a full-duplex link each
    #[arg(long)]
    pub(crate) shared_medium: bool,

    /// Input of the requests to measure; can be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) bench: Vec<Bench>,

    /// Rungs to measure: bits per token per block, or exact
    #[arg(
        long,
        value_name = "BITS,...",
        value_delimiter = ',',
        default_value = "160,320"
    )]
    pub(crate) rungs: Vec<String>,

    /// Other methods of dividing the work to measure too, on as many devices as the largest of --members
    #[arg(long, value_name = "NAME,...", value_delimiter = ',',
          value_parser = ["sp-f32", "sp-f16", "tp", "bp-1", "bp-4"])]
    pub(crate) baseline: Vec<String>,

    /// Members of a request; 0 for as many as the devices choose for the link
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "0")]
    pub(crate) members: Vec<u8>,

    /// Requests measured for each row
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub(crate) repeat: usize,

    /// Time after which no more requests of a row are sent, such as 20s; with --other in each round
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) at_most: String,

    /// Photograph to send [default: one that the codebooks were not calibrated with]
    #[arg(long, value_name = "FILE")]
    pub(crate) photo: Option<PathBuf>,

    /// Text to cut prompts out of [default: the licence of this project]
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,

    /// Tokens of each prompt of a language model [default: as the bench is named]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) tokens: Vec<u16>,

    /// Print the rows as one JSON array on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the rows into a JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Draw the rows as SVG files in a folder, as bench-report does
    #[arg(long, value_name = "DIR", requires = "out")]
    pub(crate) plots: Option<PathBuf>,

    /// Keep the devices' logs, and print where they are
    #[arg(long)]
    pub(crate) keep: bool,

    /// Measure the programs of a second build in turns with these: a folder such as target/release of another checkout
    ///
    /// The folder holds astra-edge, and astra-baselines for --baseline. The devices of each build form a cluster of their own in the
    /// same namespaces and shares of cores, with the same bundle, and are measured by their own build's client: the two builds never
    /// talk to each other, and may speak different wire versions. Only one of the clusters has requests at a time. Every row says
    /// which build it is of; those of this build have the ratio of its latency to the other's.
    #[arg(long, value_name = "DIR")]
    pub(crate) other: Option<PathBuf>,

    /// With --other, requests of each row before it is the other build's turn: more take less time, fewer cancel slow drift better
    #[arg(long, value_name = "N", default_value_t = 1, requires = "other", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) round: usize,

    /// Instead of a bench, a command to run in the namespace of the first device, as in `netlab -- bash`
    #[arg(last = true, conflicts_with_all = ["bench", "other"])]
    pub(crate) command: Vec<String>,
}

impl NetlabArgs {
    /// The programs of `--other`, if it is given.
    pub(super) fn other_programs(&self) -> Result<Option<Programs>> {
        let find = |folder| Programs::find(folder, !self.baseline.is_empty());
        self.other.as_deref().map(find).transpose()
    }

    /// Two devices, nothing to measure, and nothing printed.
    pub(crate) fn quiet() -> Self {
        Self {
            devices: 2,
            cpu: None,
            preset: Vec::new(),
            mbps: Vec::new(),
            loss: 0.0,
            shared_medium: false,
            bench: Vec::new(),
            rungs: Vec::new(),
            baseline: Vec::new(),
            members: Vec::new(),
            repeat: 1,
            at_most: "60s".to_owned(),
            photo: None,
            text: None,
            tokens: Vec::new(),
            json: true,
            out: None,
            plots: None,
            keep: false,
            other: None,
            round: 1,
            command: Vec::new(),
        }
    }
}

/// Inputs that can be measured.
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

fn cores(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(cores) if (LEAST_CORES..=64.0).contains(&cores) => Ok(cores),
        _ => Err(format!("expected a number from {LEAST_CORES} to 64")),
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
            "--round 3",
            "--other /build --round 0",
            "--other /build -- bash",
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

    #[test]
    fn a_second_build_is_a_folder() {
        let args = parse("--bench vit-224 --other ../before/target/release --repeat 15").unwrap();
        assert_eq!(args.other, Some("../before/target/release".into()));
        assert_eq!((args.repeat, args.round), (15, 1));
        let args = parse("--bench vit-224 --other /build --round 3").unwrap();
        assert_eq!(args.round, 3);
    }
}
