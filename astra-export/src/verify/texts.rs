//! Rungs and numbers of devices against one device, on texts.

use astra_bundle::{Agreement, Bundle, Embedding, Manifest, Task};
use astra_model::engine::{Codec, Encoder, Input, LanguageHead, Modality, Model, Runtime};
use astra_model::partition::{TokenRange, split};
use astra_model::simulate::{Features, Simulation};
use astra_model::tasks::embedding::{combine, pool_part};

use super::VerifyError;
use super::score::Row;
use crate::progress::{Meter, Progress};

/// Rows of scores at once; each is as long as the vocabulary.
const ROWS: usize = 64;

/// Scores each of `rungs` at every number of devices, with tokens divided evenly: perplexity of language models, cosine of
/// embeddings. Texts that are too short to be divided among these devices are left out.
///
/// # Errors
/// The bundle is of another kind, does not read or has no such rung, or a step fails.
pub fn measure_texts(
    runtime: &Runtime,
    bundle: &Bundle,
    texts: &[Vec<u32>],
    rungs: &[u16],
    devices: &[usize],
    progress: Progress<'_>,
) -> Result<Vec<Row>, VerifyError> {
    let manifest = bundle.manifest();
    let measure = Measure::of(runtime, bundle)?;
    let most = devices.iter().copied().max().unwrap_or(1);
    let sink = manifest.shape.class_tokens;
    let texts: Vec<&[u32]> = texts
        .iter()
        .map(Vec::as_slice)
        .filter(|text| text.len() >= sink + most)
        .collect();
    if texts.is_empty() {
        return Err(VerifyError::NoTexts);
    }
    let all = (1 + rungs.len() * devices.len()) * texts.len();
    let mut bed = Bed {
        model: Model::open(
            runtime,
            bundle.dir(),
            &manifest.shape,
            Modality::of(manifest),
        )?,
        measure,
        texts: &texts,
        sink,
        meter: Meter::new(all as u64, progress),
    };
    let exact = bed.one_device(manifest)?;
    let mut rows = Vec::with_capacity(rungs.len() * devices.len());
    for &bits in rungs {
        let codec = Codec::load(bundle, bits)?;
        for &devices in devices {
            let figures = bed.divided(&codec, devices)?;
            rows.push(Row {
                bits,
                rank: codec.mean_rank(),
                agreement: exact.agreement(devices, &figures),
            });
        }
    }
    Ok(rows)
}

/// What is made of the features to compare them by.
enum Measure<'a> {
    Perplexity(LanguageHead),
    Embedding {
        whole: Encoder,
        bundle: &'a Bundle,
        embedding: &'a Embedding,
    },
}

/// What came of all texts.
enum Figures {
    /// Negative logarithms of the probability of all tokens that follow another, summed, and how many they are.
    Surprise {
        sum: f64,
        tokens: usize,
        texts: usize,
    },
    /// A vector each.
    Embeddings(Vec<Vec<f32>>),
}

impl<'a> Measure<'a> {
    fn of(runtime: &Runtime, bundle: &'a Bundle) -> Result<Self, VerifyError> {
        let manifest = bundle.manifest();
        match &manifest.task {
            Task::Generation => {
                let head = LanguageHead::open(runtime, bundle.dir(), manifest.shape.hidden)?;
                Ok(Self::Perplexity(head))
            }
            Task::Embedding(embedding) => Ok(Self::Embedding {
                whole: Encoder::open(runtime, bundle.dir())?,
                bundle,
                embedding,
            }),
            _ => Err(VerifyError::NotOfTexts),
        }
    }

    fn nothing(&self) -> Figures {
        match self {
            Self::Perplexity(_) => Figures::Surprise {
                sum: 0.0,
                tokens: 0,
                texts: 0,
            },
            Self::Embedding { .. } => Figures::Embeddings(Vec::new()),
        }
    }
}

struct Bed<'a> {
    model: Model,
    measure: Measure<'a>,
    texts: &'a [&'a [u32]],
    /// Tokens that every member computes.
    sink: usize,
    meter: Meter<'a>,
}

impl Bed<'_> {
    /// The answer to compare with.
    fn one_device(&mut self, manifest: &Manifest) -> Result<Figures, VerifyError> {
        match &mut self.measure {
            Measure::Perplexity(_) => {
                let alone = Codec::single_device(&manifest.shape)?;
                self.divided(&alone, 1)
            }
            Measure::Embedding {
                whole,
                bundle,
                embedding,
            } => {
                let embed = |text: &&[u32]| {
                    let features = whole.run(text)?;
                    self.meter.add(1);
                    embed(bundle, embedding, &features)
                };
                let embeddings = self.texts.iter().map(embed);
                Ok(Figures::Embeddings(
                    embeddings.collect::<Result<_, VerifyError>>()?,
                ))
            }
        }
    }

    fn divided(&mut self, codec: &Codec, devices: usize) -> Result<Figures, VerifyError> {
        let mut figures = self.measure.nothing();
        let mut kept: Option<(Vec<TokenRange>, Simulation)> = None;
        for text in self.texts {
            let divided = text.len() - self.sink;
            let divided = u16::try_from(divided).unwrap_or(u16::MAX);
            let ranges = split(divided, &vec![1.0; devices])?;
            let mut simulation = match kept.take() {
                Some((of, simulation)) if of == ranges => simulation,
                _ => Simulation::new(&self.model, codec, &ranges)?,
            };
            let features = simulation.run(&mut self.model, codec, Input::Ids(text))?;
            figures.add(&mut self.measure, features, text, self.model.shape().hidden)?;
            kept = Some((ranges, simulation));
            self.meter.add(1);
        }
        Ok(figures)
    }
}

impl Figures {
    fn add(
        &mut self,
        measure: &mut Measure<'_>,
        features: Features,
        text: &[u32],
        hidden: usize,
    ) -> Result<(), VerifyError> {
        let mut rows = features.cls;
        rows.extend(features.patches);
        match (self, measure) {
            (Self::Surprise { sum, tokens, texts }, Measure::Perplexity(head)) => {
                let following = text.get(1..).unwrap_or_default();
                for (rows, ids) in rows.chunks(ROWS * hidden).zip(following.chunks(ROWS)) {
                    let rows = rows.get(..ids.len() * hidden).unwrap_or_default();
                    *sum += surprise(&head.run(rows)?, ids);
                }
                *tokens += following.len();
                *texts += 1;
            }
            (
                Self::Embeddings(embeddings),
                Measure::Embedding {
                    bundle, embedding, ..
                },
            ) => embeddings.push(embed(bundle, embedding, &rows)?),
            _ => {}
        }
        Ok(())
    }

    /// How close `found` comes to these, which are of one device.
    fn agreement(&self, devices: usize, found: &Self) -> Agreement {
        let agreement = Agreement {
            devices,
            ..Agreement::default()
        };
        match (self, found) {
            (Self::Surprise { .. }, Self::Surprise { .. }) => Agreement {
                inputs: found.count(),
                perplexity: found.perplexity(),
                perplexity_exact: self.perplexity(),
                ..agreement
            },
            (Self::Embeddings(expected), Self::Embeddings(found)) => {
                let cosines = expected.iter().zip(found).map(|(a, b)| cosine(a, b));
                Agreement {
                    inputs: found.len(),
                    embedding_cosine: Some(cosines.sum::<f64>() / found.len().max(1) as f64),
                    ..agreement
                }
            }
            _ => agreement,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Surprise { texts, .. } => *texts,
            Self::Embeddings(embeddings) => embeddings.len(),
        }
    }

    fn perplexity(&self) -> Option<f64> {
        match self {
            Self::Surprise { sum, tokens, .. } => Some((sum / (*tokens).max(1) as f64).exp()),
            Self::Embeddings(_) => None,
        }
    }
}

/// Sum over rows of the negative logarithm of the probability that `logits` `[rows, vocab]` give to each of `ids`.
fn surprise(logits: &[f32], ids: &[u32]) -> f64 {
    let vocab = logits.len().checked_div(ids.len()).unwrap_or(0);
    let of_row = |(row, &id): (&[f32], &u32)| {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - top).exp()).sum();
        let found = usize::try_from(id).ok().and_then(|id| row.get(id));
        let found = found.copied().unwrap_or(f32::NEG_INFINITY);
        sum.ln() - f64::from(found - top)
    };
    logits.chunks(vocab.max(1)).zip(ids).map(of_row).sum()
}

/// One vector of the features of all tokens; of zeros where the text is too short to be one.
fn embed(
    bundle: &Bundle,
    embedding: &Embedding,
    features: &[f32],
) -> Result<Vec<f32>, VerifyError> {
    let hidden = bundle.manifest().shape.hidden;
    let tokens = features.len() / hidden.max(1);
    let all = TokenRange {
        first: 0,
        tokens: u16::try_from(tokens).unwrap_or(u16::MAX),
    };
    let share = pool_part(embedding, all, tokens, features, hidden);
    let vector = combine(bundle, embedding, &[(all, share)])?;
    Ok(vector.unwrap_or_else(|| vec![0.0; embedding.width(hidden)]))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_by_hand() {
        // Of two equal scores either has half; of [ln 3, 0] the first has three quarters.
        let logits = [0.0, 0.0, 3.0_f32.ln(), 0.0];
        let found = surprise(&logits, &[1, 0]);
        let expected = -(0.5_f64.ln() + 0.75_f64.ln());
        assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
    }

    #[test]
    fn cosine_by_hand() {
        assert!((cosine(&[1.0, 1.0], &[3.0, 0.0]) - 0.5_f64.sqrt()).abs() < 1e-12);
    }
}
