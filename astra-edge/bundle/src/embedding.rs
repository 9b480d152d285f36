//! How the features of a text's tokens become one vector.
//!
//! The steps and their names are those of the `sentence-transformers` library.

use serde::{Deserialize, Serialize};

use crate::checks::{MAX_HIDDEN, in_range};
use crate::error::Invalid;
use crate::shape::{Shape, TensorRef};

/// What makes one vector of a text.
///
/// In the manifest an embedding with neither prompt nor steps other than a last [`EmbeddingStep::Normalize`] has the field
/// `normalize`. Every other one has `steps` in its place, so that readers that know `normalize` only refuse it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Embedding {
    /// What of the tokens makes a vector.
    pub pooling: TextPooling,
    /// Text that is put before every text; mostly empty.
    pub prompt: String,
    /// Tokens at the beginning that are left out of the pooling: those of a prompt that is not pooled.
    pub skip: usize,
    /// What is done to the pooled vector, in order.
    pub steps: Vec<EmbeddingStep>,
}

/// What makes one vector of the features of a text's tokens, special tokens included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextPooling {
    /// Their mean.
    Mean,
    /// The first one that is not skipped.
    Cls,
    /// The largest of each channel.
    Max,
    /// Their sum divided by the square root of their number.
    MeanSqrtLenTokens,
    /// Their mean, weighted by their position in the text: 1, 2, 3, ...; skipped tokens count as positions.
    Weightedmean,
    /// The last one.
    Lasttoken,
}

/// A step from the pooled vector to the embedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingStep {
    /// Scaled to length 1.
    Normalize,
    /// `activation(weight x + bias)`
    Dense {
        /// `[outputs, inputs]`
        weight: TensorRef,
        /// `[outputs]`
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bias: Option<TensorRef>,
        /// Applied to each output.
        activation: Activation,
    },
    /// The first channels alone.
    Truncate {
        /// How many.
        width: usize,
    },
}

/// What a dense layer does to each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(0, x)`
    Relu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
}

/// [`Embedding`] as the manifest has it.
#[derive(Serialize, Deserialize)]
struct Fields {
    pooling: TextPooling,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prompt: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    skip: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<EmbeddingStep>>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl TryFrom<Fields> for Embedding {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let plain = fields.prompt.is_empty() && fields.skip == 0;
        let steps = match (fields.normalize, fields.steps) {
            (Some(true), None) if plain => vec![EmbeddingStep::Normalize],
            (Some(false), None) if plain => Vec::new(),
            (None, Some(steps)) => steps,
            (Some(_), None) => return Err("`prompt` or `skip` without `steps`"),
            (Some(_), Some(_)) => return Err("`normalize` beside `steps`"),
            (None, None) => return Err("missing field `normalize` or `steps`"),
        };
        Ok(Self {
            pooling: fields.pooling,
            prompt: fields.prompt,
            skip: fields.skip,
            steps,
        })
    }
}

impl From<Embedding> for Fields {
    fn from(embedding: Embedding) -> Self {
        let Embedding {
            pooling,
            prompt,
            skip,
            steps,
        } = embedding;
        let normalize = match steps.as_slice() {
            [] => Some(false),
            [EmbeddingStep::Normalize] => Some(true),
            _ => None,
        };
        let normalize = normalize.filter(|_| prompt.is_empty() && skip == 0);
        Self {
            pooling,
            steps: normalize.is_none().then_some(steps),
            normalize,
            prompt,
            skip,
        }
    }
}

impl Embedding {
    /// Pooled and, if `normalize`, scaled to length 1.
    pub fn plain(pooling: TextPooling, normalize: bool) -> Self {
        let steps = match normalize {
            true => vec![EmbeddingStep::Normalize],
            false => Vec::new(),
        };
        Self {
            pooling,
            prompt: String::new(),
            skip: 0,
            steps,
        }
    }

    /// Numbers of the vector of a model whose tokens are `hidden` wide.
    pub fn width(&self, hidden: usize) -> usize {
        self.steps
            .iter()
            .fold(hidden, |width, step| step.width(width))
    }

    /// Every tensor of the steps.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &TensorRef> {
        self.steps.iter().flat_map(EmbeddingStep::tensors)
    }

    pub(crate) fn validate(&self, shape: &Shape) -> Result<(), Invalid> {
        let most = shape.tokens + shape.class_tokens - 1;
        in_range("task.skip", self.skip, 0..=most)?;
        let mut inputs = shape.hidden;
        for (number, step) in self.steps.iter().enumerate() {
            let at = |name| format!("task.steps[{number}].{name}");
            let outputs = step.width(inputs);
            match step {
                EmbeddingStep::Normalize => {}
                EmbeddingStep::Dense { weight, bias, .. } => {
                    in_range(at("weight.shape[0]"), outputs, 1..=MAX_HIDDEN)?;
                    weight.validate(&at("weight"), &[outputs, inputs])?;
                    if let Some(bias) = bias {
                        bias.validate(&at("bias"), &[outputs])?;
                    }
                }
                EmbeddingStep::Truncate { width } => in_range(at("width"), *width, 1..=inputs)?,
            }
            inputs = outputs;
        }
        Ok(())
    }
}

impl EmbeddingStep {
    /// Number of outputs for a number of inputs.
    fn width(&self, inputs: usize) -> usize {
        match self {
            Self::Normalize => inputs,
            Self::Dense { weight, .. } => weight.shape.first().copied().unwrap_or(0),
            Self::Truncate { width } => *width,
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &TensorRef> {
        let of_dense = match self {
            Self::Dense { weight, bias, .. } => Some((weight, bias)),
            Self::Normalize | Self::Truncate { .. } => None,
        };
        of_dense
            .into_iter()
            .flat_map(|(weight, bias)| std::iter::once(weight).chain(bias))
    }
}
