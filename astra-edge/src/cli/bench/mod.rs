//! `astra-edge bench`.

mod subject;
mod turns;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use astra_edge::client::Client;
use astra_edge::cluster::request::coordinator::PLANS;
use astra_edge::config::{Network, Rung, parse_duration};
use astra_edge::measure::processor_time::{Processes, ProcessorTime};
use astra_edge::measure::quantile::median;
use astra_edge::measure::requests::counters::Counters;
use astra_edge::measure::requests::method::Method;
use astra_edge::measure::requests::row::Row;
use astra_edge::measure::requests::sample::{OneDeviceTimes, RowKey, Sample};
use astra_edge::measure::requests::table::rows_as_table;
use astra_wire::{Hello, RequestOptions};

use subject::{Answer, Subject};

/// Time a device may take beyond the deadline, to receive the request and to send its response.
const GRACE: Duration = Duration::from_secs(3);

/// Measure a running cluster, and compare it with one of its devices.
///
/// Sends a picture, or prompts cut out of a text, again and again: to one device alone, and to clusters at the given rungs and
/// numbers of members, in turns. Latencies are measured on the device: from input ready to result ready, or to the first token of a
/// prompt. Each row says how close its results are to those of one device.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The picture: a JPEG, PNG or WebP file.
    #[arg(required_unless_present = "text", conflicts_with = "text")]
    image: Option<PathBuf>,
    /// Instead of a picture, a file of text to cut prompts out of.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    text: Option<PathBuf>,
    /// Tokens of each prompt.
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1024",
        requires = "text"
    )]
    tokens: Vec<u16>,
    /// Directory of the exported model, whose tokenizer counts the tokens of prompts.
    #[arg(long, value_name = "DIR", requires = "text")]
    bundle: Option<PathBuf>,
    /// Device that coordinates, and that is compared with [default: the fastest of those found first].
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Rungs to measure: bits per token per block, or exact [default: the one that the device chooses].
    #[arg(long, value_name = "RUNG,...", value_delimiter = ',')]
    rungs: Vec<Rung>,
    /// Numbers of members, the coordinating device included; 0 for the limit in that device's settings.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "0")]
    members: Vec<u8>,
    /// Requests measured for each row.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Warm-up requests before them, which are not measured.
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: u16,
    /// Time after which a row takes no more requests.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    at_most: Duration,
    /// Time limit of each request.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "120s")]
    deadline: Duration,
    /// Folder with the kernel's counters of a network interface, such as /sys/class/net/eth0/statistics. Can be repeated.
    #[arg(long, value_name = "DIR")]
    counters: Vec<PathBuf>,
    /// Process id of a device on this machine, to measure its processor time. Can be repeated.
    #[arg(long, value_name = "PID")]
    process: Vec<u32>,
    /// Name of the network, shown in the rows.
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
    network: Network,
}

pub(super) fn main(args: &Args) -> Result<()> {
    super::log(&args.log)?;
    let subjects = subject::read(args)?;
    let rows = super::runtime()?.block_on(measure(args, &subjects))?;
    if let Some(path) = &args.out {
        let text = serde_json::to_string(&rows)?;
        std::fs::write(path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    }
    match (args.quiet, args.json) {
        (true, _) => Ok(()),
        (_, true) => super::print_json(&rows),
        _ => super::print_line(rows_as_table(&rows).trim_end()),
    }
}

async fn measure(args: &Args, subjects: &[Subject]) -> Result<Vec<Row>> {
    let mut client = Client::open(&args.network).await?;
    let device = client.find(args.device.as_deref(), args.wait).await?;
    let mut rows = Vec::new();
    for subject in subjects {
        let bench = Bench {
            args,
            subject,
            client: &client,
            device: &device,
            counters: Counters::new(args.counters.clone()),
            processes: Processes::new(&args.process),
            last: Cell::new(None),
        };
        match bench.rows().await {
            Ok(more) => rows.extend(more),
            Err(error) => {
                client.close().await;
                return Err(error);
            }
        }
    }
    client.close().await;
    Ok(rows)
}

struct Bench<'a> {
    args: &'a Args,
    subject: &'a Subject,
    client: &'a Client,
    device: &'a Hello,
    counters: Counters,
    processes: Processes,
    /// Input of the last request.
    last: Cell<Option<usize>>,
}

/// Requests of one kind, as far as they are measured.
struct Kind {
    key: RowKey,
    options: RequestOptions,
    samples: Vec<Sample>,
    spent: Duration,
}

impl Bench<'_> {
    /// One device's row, and those of the cluster.
    async fn rows(&self) -> Result<Vec<Row>> {
        let mut one_device = self.one_device();
        let mut kinds = self.kinds();
        for group in kinds.chunks_mut(PLANS) {
            self.take_turns(&mut one_device, group).await?;
        }
        let Some(row) = Row::summarize(one_device.key, &one_device.samples, None) else {
            return Ok(Vec::new());
        };
        let one_device = OneDeviceTimes {
            latency_ms: row.latency_ms_median,
            other_ms: other_ms(&one_device.samples),
        };
        let rows = kinds.into_iter();
        let rows =
            rows.filter_map(|kind| Row::summarize(kind.key, &kind.samples, Some(one_device)));
        Ok([row].into_iter().chain(rows).collect())
    }

    /// Kinds of requests in turn, so that what makes this machine or the air slower for a while makes all of them slower.
    async fn take_turns(&self, one_device: &mut Kind, others: &mut [Kind]) -> Result<()> {
        let repeat = usize::from(self.args.repeat);
        let first = [&*one_device].into_iter().chain(&*others);
        for (place, kind) in first.enumerate() {
            self.warm_up(
                kind,
                turns::warm_up(repeat, self.args.warm_up.into(), place),
            )
            .await?;
        }
        let mut answers = Vec::new();
        one_device.spent = Duration::ZERO;
        for (place, input) in turns::turns(repeat, 1 + others.len()) {
            let Some(kind) = place.checked_sub(1).and_then(|at| others.get_mut(at)) else {
                if one_device.spent <= self.args.at_most {
                    answers.push(self.measure(one_device, input, None).await?);
                }
                continue;
            };
            // Without the one device's answer to an input, others could not be compared with it.
            if let Some(answer) = answers.get(input)
                && kind.spent <= self.args.at_most
            {
                self.measure(kind, input, Some(answer)).await?;
            }
        }
        Ok(())
    }

    fn one_device(&self) -> Kind {
        let options = RequestOptions {
            local: true,
            ..RequestOptions::default()
        };
        self.kind(Method::OneDevice, 0, options)
    }

    fn kinds(&self) -> Vec<Kind> {
        let rungs: Vec<Option<u16>> = match self.args.rungs.as_slice() {
            [] => vec![None],
            named => named.iter().map(|rung| Some(rung.0)).collect(),
        };
        let rungs = &rungs;
        let of_members = self.args.members.iter().flat_map(|&max_members| {
            rungs.iter().map(move |&rung| {
                let options = RequestOptions {
                    rung,
                    max_members,
                    ..RequestOptions::default()
                };
                // What the device chooses is in its reports.
                let bits = rung.unwrap_or_default();
                self.kind(Method::of_rung(bits), bits, options)
            })
        });
        of_members.collect()
    }

    fn kind(&self, method: Method, rung_bits: u16, options: RequestOptions) -> Kind {
        Kind {
            key: RowKey {
                preset: self.args.preset.clone(),
                method,
                rung_bits,
            },
            options,
            samples: Vec::new(),
            spent: Duration::ZERO,
        }
    }

    async fn warm_up(&self, kind: &Kind, inputs: impl Iterator<Item = usize>) -> Result<()> {
        let begun = Instant::now();
        for input in inputs {
            self.request(input, kind.options).await?;
            if begun.elapsed() > self.args.at_most {
                break;
            }
        }
        Ok(())
    }

    /// One request; `one_device` is what its answer is compared with, itself if there is nothing else.
    async fn measure(
        &self,
        kind: &mut Kind,
        input: usize,
        one_device: Option<&Answer>,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let before = self.meters()?;
        let (report, answer) = self.request(input, kind.options).await?;
        let after = self.meters()?;
        let sent = after.0.zip(before.0);
        let time = after.1.zip(before.1);
        if report.rung_bits > 0 {
            kind.key.rung_bits = report.rung_bits;
            kind.key.method = Method::of_rung(report.rung_bits);
        }
        kind.samples.push(Sample {
            report,
            agreement: answer.agreement(one_device.unwrap_or(&answer)),
            kernel: sent.map(|(after, before)| after.saturating_sub(before)),
            processor_time: time.map(|(after, before)| after.since(before)),
        });
        kind.spent += begun.elapsed();
        Ok(answer)
    }

    fn meters(&self) -> Result<(Option<u64>, Option<ProcessorTime>)> {
        Ok((self.counters.sent()?, self.processes.time()?))
    }

    /// One request. Of a prompt that was the last one too, another goes before it: it is to be computed, not found in a cache.
    async fn request(
        &self,
        input: usize,
        options: RequestOptions,
    ) -> Result<(astra_edge::report::Report, Answer)> {
        if self.last.replace(Some(input)) == Some(input) && self.subject.is_kept() {
            let warm_up = usize::from(self.args.repeat) + usize::from(self.args.warm_up);
            self.request_once(warm_up + PLANS - 1, options).await?;
        }
        self.request_once(input, options).await
    }

    async fn request_once(
        &self,
        input: usize,
        options: RequestOptions,
    ) -> Result<(astra_edge::report::Report, Answer)> {
        let options = RequestOptions {
            // Bounded when the flag was read.
            deadline_ms: u32::try_from(self.args.deadline.as_millis()).unwrap_or(u32::MAX),
            ..options
        };
        let within = self.args.deadline + GRACE;
        let response = self
            .subject
            .request(self.client, self.device, input, options, within);
        response.await.with_context(|| self.subject.name())
    }
}

/// Median processor time besides the compute threads'.
fn other_ms(samples: &[Sample]) -> f64 {
    let times = samples.iter().filter_map(|sample| sample.processor_time);
    let times: Vec<f64> = times.map(|time| time.other_ms).collect();
    median(&times)
}
