//! `astra-edge bench`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use astra_edge::agreement::Agreement;
use astra_edge::bench::{Cell, Counters, Method, Row, Sample, rows_as_table};
use astra_edge::client::{Answered, Client};
use astra_edge::config::{Network, Rung, parse_duration};
use astra_edge::engine::Answer;
use astra_wire::{Ask, AskOptions, Control, Hello};

use super::network::NetworkArgs;

/// Time a device may take beyond the deadline: to be reached, and to say what came of it.
const GRACE: Duration = Duration::from_secs(3);

/// Measure a running cluster beside one of its devices.
///
/// Sends the same picture again and again: answered by one device alone, then by as many members and at the rungs that are
/// named. Latencies are the device's own, from input ready to answer ready. Every row says how close its answers are to the
/// one device's.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The picture: a JPEG, PNG or WebP file.
    image: PathBuf,
    /// Device to ask, and to compare with [default: the fastest of those seen first].
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Rungs to measure: bits per token per block, or exact.
    #[arg(
        long,
        value_name = "RUNG,...",
        value_delimiter = ',',
        default_value = "160,320"
    )]
    rungs: Vec<Rung>,
    /// Members to measure with, the asked device included; 0 for the device's own limit.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "0")]
    members: Vec<u8>,
    /// Requests measured for each row.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Requests before them that are not.
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: u16,
    /// Time after which a row is content with the requests it has.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    at_most: Duration,
    /// Time until each answer is due.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "120s")]
    deadline: Duration,
    /// Folder of the kernel's counters of a device's interface, such as /sys/class/net/eth0/statistics. Can be repeated.
    #[arg(long, value_name = "DIR")]
    counters: Vec<PathBuf>,
    /// Name of the link, for the rows.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How long to look for a device.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    wait: Duration,
    /// Print the rows as one JSON array instead of a table.
    #[arg(long)]
    json: bool,
    /// Write the rows into a JSON file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print nothing.
    #[arg(long, conflicts_with = "json", requires = "out")]
    quiet: bool,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
    #[command(flatten)]
    network: NetworkArgs,
}

pub(super) fn main(args: &Args) -> Result<()> {
    super::log(&args.log)?;
    let image = super::infer::read_picture(&args.image)?;
    let rows = super::runtime()?.block_on(measure(args, &image))?;
    if let Some(path) = &args.out {
        let text = serde_json::to_string(&rows)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match (args.quiet, args.json) {
        (true, _) => Ok(()),
        (_, true) => super::print_json(&rows),
        _ => super::print_line(rows_as_table(&rows).trim_end()),
    }
}

async fn measure(args: &Args, image: &[u8]) -> Result<Vec<Row>> {
    let network = Network::from(args.network.clone());
    let mut client = Client::open(&network).await?;
    let device = client.find(args.device.as_deref(), args.wait).await?;
    let bench = Bench {
        args,
        image,
        client: &client,
        device: &device,
        counters: Counters::new(args.counters.clone()),
    };
    let rows = bench.rows().await;
    client.close().await;
    rows
}

struct Bench<'a> {
    args: &'a Args,
    image: &'a [u8],
    client: &'a Client,
    device: &'a Hello,
    counters: Counters,
}

impl Bench<'_> {
    async fn rows(&self) -> Result<Vec<Row>> {
        let alone = AskOptions {
            alone: true,
            ..AskOptions::default()
        };
        let first = self.ask(alone).await?;
        let reference = as_answer(first);
        let mut rows = Vec::new();
        let cell = self.cell(Method::OneDevice, 0);
        rows.extend(self.row(cell, alone, &reference, None).await?);
        let one_device = rows.first().map(|row| row.latency_ms_median);
        for &max_members in &self.args.members {
            for &Rung(bits) in &self.args.rungs {
                let options = AskOptions {
                    rung: Some(bits),
                    max_members,
                    ..AskOptions::default()
                };
                let cell = self.cell(Method::of_rung(bits), bits);
                rows.extend(self.row(cell, options, &reference, one_device).await?);
            }
        }
        Ok(rows)
    }

    fn cell(&self, method: Method, rung_bits: u16) -> Cell {
        Cell {
            preset: self.args.preset.clone(),
            method,
            rung_bits,
        }
    }

    async fn row(
        &self,
        cell: Cell,
        options: AskOptions,
        reference: &Answer,
        one_device: Option<f64>,
    ) -> Result<Option<Row>> {
        let begun = Instant::now();
        for _ in 0..self.args.warm_up {
            self.ask(options).await?;
            if begun.elapsed() > self.args.at_most {
                break;
            }
        }
        let begun = Instant::now();
        let mut samples = Vec::new();
        for _ in 0..self.args.repeat {
            samples.push(self.sample(options, reference).await?);
            if begun.elapsed() > self.args.at_most {
                break;
            }
        }
        Ok(Row::of(cell, &samples, one_device))
    }

    async fn sample(&self, options: AskOptions, reference: &Answer) -> Result<Sample> {
        let before = self.counters.sent()?;
        let answered = self.ask(options).await?;
        let after = self.counters.sent()?;
        let report = answered.report.clone();
        // Patch features do not come to a client: their width is of no account.
        let agreement = Agreement::between(&as_answer(answered), reference, 0);
        Ok(Sample {
            report,
            agreement,
            kernel: after
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before)),
        })
    }

    async fn ask(&self, options: AskOptions) -> Result<Answered> {
        let question = Control::Ask(Ask {
            options: AskOptions {
                // Bounded when the flag was read.
                deadline_ms: u32::try_from(self.args.deadline.as_millis()).unwrap_or(u32::MAX),
                ..options
            },
            image: self.image,
        });
        let within = self.args.deadline + GRACE;
        let answered = self.client.ask(self.device, &question, &[], within).await;
        answered.with_context(|| self.args.image.display().to_string())
    }
}

fn as_answer(answered: Answered) -> Answer {
    Answer {
        cls: answered.cls,
        map: answered.map,
        ..Answer::default()
    }
}
