//! `astra-edge embed`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use astra_edge::client::Client;
use astra_edge::cluster::request::RequestContext;
use astra_edge::config::Network;
use astra_edge::report::Report;
use astra_edge::text::Prompt;
use astra_wire::{Control, EmbeddingRequest, Prompt as WirePrompt};
use serde::Serialize;

use super::request::RequestArgs;

/// Compute embeddings of texts on a cluster.
///
/// Prints the vector of each text on a line of its own, in order, as it is computed.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The texts.
    #[arg(required_unless_present = "file")]
    text: Vec<String>,
    /// File with more texts, one per line; empty lines are skipped.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object with the vectors and the report of each text.
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

/// One text and its vector.
#[derive(Serialize)]
struct Embedding {
    text: String,
    embedding: Vec<f32>,
    report: Report,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Embeddings<'a> {
    embeddings: &'a [Embedding],
}

pub(super) fn main(args: Args) -> Result<()> {
    super::log(&args.log)?;
    let texts = args.texts()?;
    let runtime = super::runtime()?;
    if args.request.alone {
        runtime.block_on(args.here(texts))
    } else {
        runtime.block_on(args.through_cluster(texts))
    }
}

/// Vectors on their way to standard output: each as it comes, or all at the end in one JSON object.
struct Output {
    all: Option<Vec<Embedding>>,
}

impl Output {
    fn new(json: bool) -> Self {
        Self {
            all: json.then(Vec::new),
        }
    }

    fn put(&mut self, embedding: Embedding) -> Result<()> {
        if let Some(all) = &mut self.all {
            all.push(embedding);
            return Ok(());
        }
        let numbers: Vec<String> = embedding.embedding.iter().map(f32::to_string).collect();
        super::print_line(&numbers.join(" "))
    }

    fn end(self) -> Result<()> {
        match self.all {
            Some(embeddings) => super::print_json(&Embeddings {
                embeddings: &embeddings,
            }),
            None => Ok(()),
        }
    }
}

impl Args {
    fn texts(&self) -> Result<Vec<String>> {
        let mut texts = self.text.clone();
        if let Some(path) = &self.file {
            texts.extend(lines(path)?);
        }
        match texts.iter().position(String::is_empty) {
            Some(empty) => bail!(
                "text {}: found no character, expected at least one",
                empty + 1
            ),
            None if texts.is_empty() => bail!("text: found none, expected at least one"),
            None => Ok(texts),
        }
    }

    async fn here(&self, texts: Vec<String>) -> Result<()> {
        let service = self.request.text_service()?;
        let prompts = texts.iter().cloned().map(Prompt::Text).collect();
        let divided = service.tokens(prompts).await;
        let divided = divided.map_err(|(place, error)| {
            let text = texts.get(place).map(String::as_str).unwrap_or_default();
            anyhow::Error::from(error).context(shown(place, text))
        })?;
        let mut output = Output::new(self.json);
        for (place, (text, ids)) in texts.into_iter().zip(divided).enumerate() {
            let prompt = Prompt::Tokens(ids);
            let context = RequestContext {
                options: self.request.options(),
                ..RequestContext::default()
            };
            let embedded = service.embed(context, prompt).await;
            let (embedded, _) = embedded.with_context(|| shown(place, &text))?;
            output.put(Embedding {
                text,
                embedding: embedded.embedding,
                report: embedded.report,
            })?;
        }
        output.end()
    }

    async fn through_cluster(&self, texts: Vec<String>) -> Result<()> {
        let mut client = Client::open(&self.network).await?;
        let result = self.send_requests(&mut client, texts).await;
        client.close().await;
        result
    }

    async fn send_requests(&self, client: &mut Client, texts: Vec<String>) -> Result<()> {
        let RequestArgs {
            device,
            ranges,
            wait,
            ..
        } = &self.request;
        let device = client.find(device.as_deref(), *wait).await?;
        let mut output = Output::new(self.json);
        for (place, text) in texts.into_iter().enumerate() {
            let answered = {
                let request = Control::EmbeddingRequest(EmbeddingRequest {
                    options: self.request.options(),
                    input: WirePrompt::Text(&text),
                });
                let within = self.request.timeout();
                client.request(&device, &request, ranges, within).await
            };
            let answered = answered.with_context(|| shown(place, &text))?;
            output.put(Embedding {
                text,
                embedding: answered.cls,
                report: answered.report,
            })?;
        }
        output.end()
    }
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// Which text it is and how it begins, for an error.
fn shown(place: usize, text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("text {} ({start:?})", place + 1)
}
