//! `astra-edge ask`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use astra_edge::client::{Client, RemoteTextStream};
use astra_edge::cluster::request::{GenerationResponse, RequestContext};
use astra_edge::config::Network;
use astra_edge::generation::{
    GenerationRequest, SamplingParams, StopConditions, finish_reason_name,
};
use astra_edge::report::Report;
use astra_edge::text::{Prompt, TextEvent, TextStream};
use astra_model::tasks::text::sampling;
use astra_model::tasks::text::stop::StopStrings;
use astra_model::tasks::text::template::Message;
use astra_wire::{Control, Prompt as WirePrompt};
use serde::Serialize;

use super::request::RequestArgs;

/// Largest prompt that is read, in bytes.
const MAX_PROMPT: u64 = 4 << 20;

/// Continue a prompt or answer a message on a cluster.
///
/// Finds a device of the cluster and sends it the prompt. All members compute the prompt (prefill); the one with its last tokens
/// then generates. The text is streamed to standard output; the report goes to standard error.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The message to answer, or with --raw the prompt to continue; - reads it from standard input.
    prompt: String,
    /// System message, before the message.
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue the prompt as it is, without the chat template.
    #[arg(long)]
    raw: bool,
    /// Most tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Sampling temperature; 0 always takes the most likely token (greedy sampling).
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Nucleus sampling: sample from the most likely tokens whose probabilities add up to P; 0 always takes the most likely token.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Sample from the K most likely tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Penalty for tokens that are in the text already: above 1 makes them less likely; 1 is none.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Stop string: ends the text and is not part of it. Can be repeated.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Seed of sampling, for a temperature above 0 [default: random].
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Print text and report as one JSON object at the end, instead of streaming.
    #[arg(long)]
    json: bool,
    /// Print the text without the report.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What is logged on standard error.
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
    #[command(flatten)]
    request: RequestArgs,
    #[command(flatten)]
    network: Network,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Output<'a> {
    text: &'a str,
    /// Why it ended: `stop` or `length`.
    finish: &'static str,
    prompt_tokens: usize,
    tokens: usize,
    report: &'a Report,
}

pub(super) fn main(mut args: Args) -> Result<()> {
    super::log(&args.log)?;
    args.prompt = read_prompt(&args.prompt)?;
    sampling::check(&args.sampling())?;
    // A device would refuse them too, but only after it has been found.
    StopStrings::new(args.stop.clone())?;
    let runtime = super::runtime()?;
    if args.request.alone {
        let service = args.request.text_service()?;
        return runtime.block_on(async {
            let context = RequestContext {
                options: args.request.options(),
                ..RequestContext::default()
            };
            let stream = service.generate(context, args.request()).await?;
            args.show(&mut Source::Local(stream)).await
        });
    }
    runtime.block_on(args.through_cluster())
}

fn read_prompt(given: &str) -> Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(MAX_PROMPT + 1);
    input
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    if bytes.len() as u64 > MAX_PROMPT {
        bail!("standard input: found more bytes, expected at most {MAX_PROMPT}");
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!(
            "standard input: found a byte that begins no character at {at}, expected UTF-8"
        )
    })
}

/// The stream of a text: from a cluster, or from this machine.
enum Source {
    Cluster(RemoteTextStream),
    Local(TextStream),
}

impl Source {
    async fn next(&mut self) -> Result<TextEvent> {
        match self {
            Self::Cluster(stream) => Ok(stream.next().await?),
            Self::Local(stream) => {
                let event = stream.next().await;
                Ok(event.context("a text without an end")??)
            }
        }
    }
}

impl Args {
    fn sampling(&self) -> SamplingParams {
        sampling::normalized(SamplingParams {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed.unwrap_or_else(rand::random),
        })
    }

    fn messages(&self) -> Vec<Message> {
        let system = self.system.iter();
        let system = system.map(|text| Message::new("system", text));
        let user = Message::new("user", &self.prompt);
        system.chain([user]).collect()
    }

    /// The request for this machine.
    fn request(&self) -> GenerationRequest<Prompt> {
        GenerationRequest {
            prompt: if self.raw {
                Prompt::Text(self.prompt.clone())
            } else {
                Prompt::Chat(self.messages())
            },
            sampling: self.sampling(),
            stop: StopConditions {
                max_tokens: Some(self.max_tokens as usize),
                strings: self.stop.clone(),
            },
        }
    }

    async fn through_cluster(&self) -> Result<()> {
        if self.prompt.is_empty() {
            bail!("prompt: found nothing, expected text");
        }
        let mut client = Client::open(&self.network).await?;
        let result = self.send_request(&mut client).await;
        client.close().await;
        result
    }

    async fn send_request(&self, client: &mut Client) -> Result<()> {
        let RequestArgs {
            device,
            ranges,
            wait,
            ..
        } = &self.request;
        let device = client.find(device.as_deref(), *wait).await?;
        let chat = serde_json::to_string(&self.messages())?;
        let request = Control::GenerationRequest(astra_wire::GenerationRequest {
            options: self.request.options(),
            prompt: if self.raw {
                WirePrompt::Text(&self.prompt)
            } else {
                WirePrompt::Chat(&chat)
            },
            sampling: self.sampling(),
            max_tokens: Some(self.max_tokens),
            stop: self.stop.iter().map(String::as_str).collect(),
        });
        let first = self.request.timeout();
        let stream = client
            .request_text(&device, &request, ranges, first)
            .await?;
        self.show(&mut Source::Cluster(stream)).await
    }

    /// Prints a text as it is generated, then its report.
    async fn show(&self, source: &mut Source) -> Result<()> {
        let mut text = String::new();
        loop {
            match source.next().await? {
                TextEvent::Delta(piece) if self.json => text.push_str(&piece),
                TextEvent::Delta(piece) => {
                    // Standard output is closed: leaving ends the generation.
                    if !super::print_piece(&piece)? {
                        return Ok(());
                    }
                }
                TextEvent::Finished(response) => return self.finish(&text, &response),
            }
        }
    }

    fn finish(&self, text: &str, response: &GenerationResponse) -> Result<()> {
        if let Some(path) = &self.report {
            let report = serde_json::to_string(&response.report)?;
            std::fs::write(path, report)
                .with_context(|| format!("{}: cannot write", path.display()))?;
        }
        if self.json {
            return super::print_json(&Output {
                text,
                finish: finish_reason_name(response.finish_reason),
                prompt_tokens: response.prompt_tokens,
                tokens: response.tokens,
                report: &response.report,
            });
        }
        super::print_line("")?;
        if !self.quiet {
            eprint!("\n{}", response.report);
        }
        Ok(())
    }
}
