//! A chat in the terminal: streams each answer of a cluster, then shows what each device did for it.
//!
//! Start devices with a bundle of a language model (`astra-edge run`), then
//!
//! ```text
//! cargo run --release -p astra-chat -- --cluster home
//! ```
//!
//! The device that generates keeps the KV cache of the conversation: only the new tokens of a follow-up are computed.

mod shown;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use astra_edge::client::{Client, RemoteTextStream};
use astra_edge::cluster::request::GenerationResponse;
use astra_edge::config::{Network, Rung};
use astra_edge::text::TextEvent;
use astra_model::tasks::text::template::Message;
use astra_wire::{Control, GenerationRequest, Hello, Prompt, RequestOptions, SamplingParams};
use clap::Parser;

/// Longest wait for the first token of an answer.
const FIRST: Duration = Duration::from_secs(60);

/// Chat with a language model on a cluster, and show what each device did.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Device to send requests to [default: the fastest of those seen first].
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Bits per token per block, or exact [default: the device's].
    #[arg(long, value_name = "RUNG")]
    rung: Option<Rung>,
    /// System message: instructions before the first message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Largest number of tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: u32,
    /// Sampling temperature; 0 always takes the most likely token.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Repetition penalty: logits of tokens that occurred before are divided by it; 1 for none.
    #[arg(long, value_name = "X", default_value_t = 1.1)]
    repetition_penalty: f32,
    #[command(flatten)]
    network: Network,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut client = Client::open(&args.network).await?;
    let device = client.find(args.device.as_deref(), Duration::from_secs(5));
    let device = device.await?;
    eprintln!(
        "connected to {}, {}; an empty line ends the chat, /new starts another",
        device.name, device.model
    );
    let ended = chat(&args, &client, &device).await;
    client.close().await;
    ended
}

async fn chat(args: &Args, client: &Client, device: &Hello) -> Result<()> {
    let beginning = || -> Vec<Message> {
        let system = args.system.iter().map(|text| message("system", text));
        system.collect()
    };
    let mut messages = beginning();
    while let Some(line) = read_line().await? {
        match line.as_str() {
            "" => break,
            "/new" => messages = beginning(),
            text => {
                messages.push(message("user", text));
                let stream = send(args, client, device, &messages).await?;
                let (answer, ended) = show(stream).await?;
                messages.push(message("assistant", &answer));
                eprint!("{}", shown::Shown(&ended));
            }
        }
    }
    Ok(())
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

/// One line from standard input; `None` at its end.
async fn read_line() -> Result<Option<String>> {
    let read = || -> io::Result<Option<String>> {
        if io::stdin().is_terminal() {
            eprint!("\n> ");
        }
        let mut line = String::new();
        let bytes = io::stdin().read_line(&mut line)?;
        Ok((bytes > 0).then(|| line.trim().to_owned()))
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

async fn send(
    args: &Args,
    client: &Client,
    device: &Hello,
    messages: &[Message],
) -> Result<RemoteTextStream> {
    let chat = serde_json::to_string(messages)?;
    let request = Control::GenerationRequest(GenerationRequest {
        options: RequestOptions {
            rung: args.rung.map(|rung| rung.0),
            // Of the first token.
            deadline_ms: u32::try_from(FIRST.as_millis())?,
            ..RequestOptions::default()
        },
        prompt: Prompt::Chat(&chat),
        sampling: SamplingParams {
            temperature: args.temperature,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: args.repetition_penalty,
            seed: 0,
        },
        max_tokens: Some(args.max_tokens),
        stop: [].into_iter().collect(),
    });
    Ok(client.request_text(device, &request, &[], FIRST).await?)
}

/// Prints an answer as it arrives; returns its text and its report.
async fn show(mut stream: RemoteTextStream) -> Result<(String, GenerationResponse)> {
    let mut answer = String::new();
    loop {
        match stream.next().await? {
            TextEvent::Delta(piece) => {
                print!("{piece}");
                io::stdout().flush()?;
                answer.push_str(&piece);
            }
            TextEvent::Finished(ended) => {
                println!();
                return Ok((answer, *ended));
            }
        }
    }
}
