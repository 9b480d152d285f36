//! The input of the measured requests: a picture, or prompts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use astra_bundle::Bundle;
use astra_edge::client::Client;
use astra_edge::cluster::request::coordinator::PLANS;
use astra_edge::measure::requests::prompts::prompts;
use astra_edge::report::Report;
use astra_edge::text::TextEvent;
use astra_model::agreement::Agreement;
use astra_model::engine;
use astra_model::tasks::text::sampling::GREEDY;
use astra_model::tasks::text::tokenizer::Tokenizer;
use astra_wire::{Control, GenerationRequest, Hello, ImageRequest, Prompt, RequestOptions};

use super::Args;

/// One token in `MAX_REUSED` of a prompt may be reused from the one before: prompts may begin with the same word.
const MAX_REUSED: usize = 250;

/// The input of the requests of a row.
pub(super) enum Subject {
    Picture {
        name: String,
        image: Vec<u8>,
    },
    /// Every request has a prompt of its own: the keys and values of the one before would be of use to the same.
    Texts {
        name: String,
        prompts: Vec<String>,
    },
}

/// An answer as far as it is compared.
pub(super) enum Answer {
    Picture(engine::ModelOutput),
    /// The first token after the prompt.
    Text(String),
}

/// The subjects of a command line: one, or one for each length of prompts.
pub(super) fn read(args: &Args) -> Result<Vec<Subject>> {
    let Some(file) = &args.text else {
        let image = args.image.as_deref().context("no picture was named")?;
        return Ok(vec![Subject::Picture {
            name: image.display().to_string(),
            image: super::super::infer::read_picture(image)?,
        }]);
    };
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let tokenizer = tokenizer(args.bundle.as_deref().context("no bundle was named")?)?;
    let count = usize::from(args.repeat) + usize::from(args.warm_up) + PLANS;
    let of_length = |&tokens: &u16| {
        let prompts = prompts(&text, &tokenizer, tokens.into(), count);
        Ok(Subject::Texts {
            name: format!("{} ({tokens} tokens)", file.display()),
            prompts: prompts.with_context(|| file.display().to_string())?,
        })
    };
    args.tokens.iter().map(of_length).collect()
}

fn tokenizer(dir: &Path) -> Result<Tokenizer> {
    let bundle = Bundle::open(dir)?;
    match &bundle.manifest().text {
        Some(text) => Ok(Tokenizer::open(dir, text)?),
        None => bail!(
            "{}: model: found one that takes pictures, expected one that takes text",
            dir.display()
        ),
    }
}

impl Subject {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Picture { name, .. } | Self::Texts { name, .. } => name.clone(),
        }
    }

    /// Whether a device keeps something of an input that the next request with the same one would find.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Texts { .. })
    }

    /// Sends request `number` to a device.
    pub(super) async fn request(
        &self,
        client: &Client,
        device: &Hello,
        number: usize,
        options: RequestOptions,
        within: Duration,
    ) -> Result<(Report, Answer)> {
        match self {
            Self::Picture { image, .. } => {
                let request = Control::ImageRequest(ImageRequest { options, image });
                let answered = client.request(device, &request, &[], within).await?;
                // Patch features do not come to a client.
                let answer = engine::ModelOutput {
                    cls: answered.cls,
                    map: answered.map,
                    ..engine::ModelOutput::default()
                };
                Ok((answered.report, Answer::Picture(answer)))
            }
            Self::Texts { prompts, .. } => {
                let prompt = prompts.get(number % prompts.len().max(1));
                let prompt = prompt.context("no prompt")?;
                first_token(client, device, prompt, options, within).await
            }
        }
    }
}

async fn first_token(
    client: &Client,
    device: &Hello,
    prompt: &str,
    options: RequestOptions,
    within: Duration,
) -> Result<(Report, Answer)> {
    let request = Control::GenerationRequest(GenerationRequest {
        options,
        prompt: Prompt::Text(prompt),
        sampling: GREEDY,
        max_tokens: Some(1),
        stop: Default::default(),
    });
    let mut stream = client.request_text(device, &request, &[], within).await?;
    let mut text = String::new();
    loop {
        match stream.next().await? {
            TextEvent::Delta(delta) => text.push_str(&delta),
            TextEvent::Finished(response) => {
                let reused = response.report.reused_tokens.unwrap_or(0);
                if reused > response.report.prompt_tokens.unwrap_or(0) / MAX_REUSED {
                    bail!(
                        "{reused} tokens of the prompt were not computed: they were reused from the one before"
                    );
                }
                return Ok((response.report, Answer::Text(text)));
            }
        }
    }
}

impl Answer {
    pub(super) fn agreement(&self, one_device: &Self) -> Agreement {
        match (self, one_device) {
            // Without patch features their width does not matter.
            (Self::Picture(answer), Self::Picture(one)) => Agreement::between(answer, one, 0),
            (Self::Text(answer), Self::Text(one)) => Agreement {
                top1: Some(if answer == one { 1.0 } else { 0.0 }),
                ..Agreement::default()
            },
            _ => Agreement::default(),
        }
    }
}
