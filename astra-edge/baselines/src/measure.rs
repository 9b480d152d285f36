//! Runs and measures requests.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use astra_bundle::Bundle;
use astra_edge::measure::requests::counters::Counters;
use astra_edge::measure::requests::row::Row;
use astra_edge::measure::requests::sample::{OneDeviceTimes, RowKey, Sample};
use astra_edge::measure::requests::table::rows_as_table;
use astra_edge::report::{MemberReport, Report};
use astra_model::agreement::Agreement;
use astra_model::engine::{OwnedInput, Runtime};

use crate::input::InputLayout;
use crate::mesh::Mesh;
use crate::methods;
use crate::parallel::{self, Output, Parallel, Times};
use crate::{Args, Method};

/// Runs all methods on this device.
pub(crate) fn run(args: &Args) -> Result<()> {
    let bundle = Bundle::open(&args.bundle)?;
    let layout = InputLayout::new(args, &bundle)?;
    // One thread, like the devices of the lab.
    let runtime = Runtime::load(None, 1)?;
    let lead = match args.rank {
        0 => Some(Lead::new(
            args,
            &runtime,
            &bundle,
            layout.read(args, &bundle)?,
        )?),
        _ => None,
    };
    let mut mesh = Mesh::join(args.rank, &args.addresses)?;
    let place = (args.rank, mesh.devices());
    let mut rows = Vec::new();
    for &method in &args.methods {
        let mut device = methods::open(method, &runtime, &bundle, &layout, place)?;
        mesh.barrier()?;
        match &lead {
            Some(lead) => {
                let samples = lead.requests(&mut mesh, device.as_mut(), &layout, method)?;
                rows.extend(Row::summarize(
                    lead.key(method),
                    &samples,
                    lead.one_device_times(),
                ));
            }
            None => follow(&mut mesh, device.as_mut(), &layout)?,
        }
    }
    // A device that left earlier would close links that others still use.
    mesh.barrier()?;
    match (&lead, &args.out) {
        (None, _) => Ok(()),
        (Some(_), None) => {
            print!("{}", rows_as_table(&rows));
            Ok(())
        }
        (Some(_), Some(path)) => {
            let text = serde_json::to_string(&rows)?;
            std::fs::write(path, text).with_context(|| path.display().to_string())
        }
    }
}

/// State of rank 0, which starts the requests.
struct Lead<'a> {
    args: &'a Args,
    input: OwnedInput,
    one_device: Output,
    hidden: usize,
    counters: Counters,
}

impl<'a> Lead<'a> {
    fn new(args: &'a Args, runtime: &Runtime, bundle: &Bundle, input: OwnedInput) -> Result<Self> {
        Ok(Self {
            one_device: parallel::one_device(runtime, bundle, &input)?,
            hidden: bundle.manifest().shape.hidden,
            counters: Counters::new(args.counters.clone()),
            input,
            args,
        })
    }

    fn key(&self, method: Method) -> RowKey {
        let rung_bits = match method {
            Method::SpF16 => u16::try_from(self.hidden * 16).unwrap_or(u16::MAX),
            _ => 0,
        };
        RowKey {
            preset: self.args.preset.clone(),
            method: method.measured(),
            rung_bits,
        }
    }

    fn one_device_times(&self) -> Option<OneDeviceTimes> {
        let latency_ms = self.args.one_device?;
        Some(OneDeviceTimes {
            latency_ms,
            other_ms: 0.0,
        })
    }

    fn requests(
        &self,
        mesh: &mut Mesh,
        device: &mut dyn Parallel,
        layout: &InputLayout,
        method: Method,
    ) -> Result<Vec<Sample>> {
        let begun = Instant::now();
        for _ in 0..self.args.warm_up {
            let sample = self.request(mesh, device, layout, method)?;
            if begun.elapsed() > self.args.at_most {
                // A request this slow needs no warm-up.
                mesh.end()?;
                return Ok(vec![sample]);
            }
        }
        let begun = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < self.args.repeat.max(1) && begun.elapsed() < self.args.at_most {
            samples.push(self.request(mesh, device, layout, method)?);
        }
        mesh.end()?;
        Ok(samples)
    }

    fn request(
        &self,
        mesh: &mut Mesh,
        device: &mut dyn Parallel,
        layout: &InputLayout,
        method: Method,
    ) -> Result<Sample> {
        let before = self.counters.sent()?;
        (mesh.bytes_sent, mesh.waited) = (0, Duration::ZERO);
        let mut times = Times::default();
        let start = Instant::now();
        for other in mesh.others() {
            let message = layout.write(&self.input, device.range(other), method.is_exact())?;
            mesh.send(other, |out| out.extend(message))?;
        }
        let input_bytes = mesh.bytes_sent;
        let own = layout.part(&self.input, device.range(0))?;
        let output = device.run(mesh, &own, &mut times)?;
        let latency = start.elapsed();
        let mut account = Account::of(mesh, times);
        account.bytes_sent -= input_bytes;
        let output = device.complete(mesh, output.context("rank 0 has no output")?)?;
        let mut members = vec![account.report(0, device.own_tokens(0))];
        for other in 1..mesh.devices() {
            let account = Account::read(&mesh.expect(other)?)?;
            members.push(account.report(other, device.own_tokens(other)));
        }
        let after = self.counters.sent()?;
        if let Some(first) = members.first_mut().filter(|first| first.tokens == 0) {
            // Every device has all tokens.
            first.tokens = layout.tokens;
        }
        Ok(Sample {
            report: Report {
                latency_ms: latency.as_secs_f64() * 1e3,
                prompt_tokens: match &self.input {
                    OwnedInput::Pixels(_) => None,
                    OwnedInput::Ids(ids) => Some(ids.len()),
                },
                members,
                input_bytes,
                ..Report::default()
            },
            agreement: match method.is_exact() {
                true => output.agreement(&self.one_device, self.hidden),
                false => Agreement::default(),
            },
            kernel: after
                .zip(before)
                .map(|(after, before)| after.saturating_sub(before)),
            processor_time: None,
        })
    }
}

/// Runs requests on every other rank until rank 0 ends them.
fn follow(mesh: &mut Mesh, device: &mut dyn Parallel, layout: &InputLayout) -> Result<()> {
    while let Some(message) = mesh.receive(0)? {
        (mesh.bytes_sent, mesh.waited) = (0, Duration::ZERO);
        let mut times = Times::default();
        let input = layout.parse(&message, device.range(mesh.me()))?;
        device.run(mesh, &input, &mut times)?;
        let account = Account::of(mesh, times);
        mesh.send(0, |out| account.write(out))?;
    }
    Ok(())
}

/// Times and bytes of a request on one device.
struct Account {
    compute: f64,
    encode: f64,
    wait: f64,
    bytes_sent: u64,
}

impl Account {
    fn of(mesh: &Mesh, times: Times) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            compute: milliseconds(times.compute),
            encode: milliseconds(times.encode),
            wait: milliseconds(mesh.waited),
            bytes_sent: mesh.bytes_sent,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for value in [self.compute, self.encode, self.wait, self.bytes_sent as f64] {
            out.extend(value.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let values: Vec<f64> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|value| f64::from_le_bytes(*value))
            .collect();
        match values.as_slice() {
            &[compute, encode, wait, bytes_sent] => Ok(Self {
                compute,
                encode,
                wait,
                bytes_sent: bytes_sent as u64,
            }),
            other => anyhow::bail!("an account of {} figures", other.len()),
        }
    }

    fn report(&self, device: usize, tokens: u16) -> MemberReport {
        MemberReport {
            name: format!("device-{}", device + 1),
            tokens,
            compute_ms: self.compute,
            encode_ms: self.encode,
            wait_ms: self.wait,
            bytes_sent: self.bytes_sent,
            ..MemberReport::default()
        }
    }
}
