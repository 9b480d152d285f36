//! The input of a request, and its parts for each device.

use anyhow::{Context, Result, ensure};
use astra_bundle::{Bundle, ImageInput};
use astra_edge::measure::requests::prompts::prompts;
use astra_model::engine::OwnedInput;
use astra_model::partition::TokenRange;
use astra_model::tasks::image::prepare;
use astra_model::tasks::strip;
use astra_model::tasks::text::tokenizer::Tokenizer;

use crate::Args;

/// Sizes and format of the input, which all devices know from the bundle and the arguments.
#[derive(Clone, Debug)]
pub(crate) struct InputLayout {
    /// Divided tokens.
    pub(crate) tokens: u16,
    /// Class tokens, which every device computes.
    pub(crate) class_tokens: usize,
    /// For models that take images.
    spec: Option<ImageInput>,
}

impl InputLayout {
    pub(crate) fn new(args: &Args, bundle: &Bundle) -> Result<Self> {
        let manifest = bundle.manifest();
        let class_tokens = manifest.shape.class_tokens;
        let tokens = match manifest.image {
            Some(_) => manifest.shape.tokens,
            None => args.tokens.saturating_sub(class_tokens),
        };
        ensure!(
            tokens > 0,
            "a prompt of {} tokens leaves none to divide",
            args.tokens
        );
        Ok(Self {
            tokens: u16::try_from(tokens).context("too many tokens")?,
            class_tokens,
            spec: manifest.image,
        })
    }

    /// All tokens.
    pub(crate) fn all(&self) -> TokenRange {
        TokenRange {
            first: 0,
            tokens: self.tokens,
        }
    }

    /// The input of rank 0's requests.
    pub(crate) fn read(&self, args: &Args, bundle: &Bundle) -> Result<OwnedInput> {
        if let Some(spec) = &self.spec {
            let path = args
                .photo
                .as_deref()
                .context("the model takes images: expected --photo FILE")?;
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            return Ok(OwnedInput::Pixels(prepare(&bytes, spec)?.pixels));
        }
        let text = bundle.manifest().text.as_ref();
        let text = text.context("the bundle takes neither pictures nor text")?;
        let path = args
            .text
            .as_deref()
            .context("the model takes text: expected --text FILE")?;
        let source = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let tokenizer = Tokenizer::open(bundle.dir(), text)?;
        let prompt = prompts(&source, &tokenizer, args.tokens, 1)?;
        Ok(OwnedInput::Ids(tokenizer.encode(&prompt.concat())?))
    }

    /// The input of a device that computes `range`.
    pub(crate) fn part(&self, input: &OwnedInput, range: TokenRange) -> Result<OwnedInput> {
        let total = usize::from(self.tokens);
        let part = input
            .borrow()
            .part(range.indexes(), total, self.class_tokens);
        Ok(part?)
    }

    /// The same, encoded to be sent.
    pub(crate) fn write(
        &self,
        input: &OwnedInput,
        range: TokenRange,
        lossless: bool,
    ) -> Result<Vec<u8>> {
        match (input, &self.spec) {
            (OwnedInput::Pixels(pixels), Some(spec)) => {
                Ok(strip::encode(pixels, range, spec, lossless)?)
            }
            _ => match self.part(input, range)? {
                OwnedInput::Ids(ids) => Ok(ids.iter().flat_map(|id| id.to_le_bytes()).collect()),
                OwnedInput::Pixels(pixels) => Ok(pixels),
            },
        }
    }

    /// Decodes a received input.
    pub(crate) fn parse(&self, bytes: &[u8], range: TokenRange) -> Result<OwnedInput> {
        match &self.spec {
            Some(spec) => Ok(OwnedInput::Pixels(strip::decode(bytes, range, spec)?)),
            None => {
                let ids = bytes.as_chunks::<4>().0.iter();
                Ok(OwnedInput::Ids(
                    ids.map(|id| u32::from_le_bytes(*id)).collect(),
                ))
            }
        }
    }
}
