//! Rungs and numbers of devices against one device, on texts.

use astra_bundle::{Agreement, Bundle, Embedding, Manifest, QualityMeasure, Task};
use astra_model::engine::{Codec, Encoder, Input, LanguageHead, Modality, Model, Runtime};
use astra_model::partition::{TokenRange, split};
use astra_model::simulate::{Features, Simulation};
use astra_model::tasks::embedding::{combine, pool_part};

use super::VerifyError;
use super::interval::Interval;
use super::row::{Division, LostFrames, Row};
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
    divisions: &[Division],
    progress: Progress<'_>,
) -> Result<Vec<Row>, VerifyError> {
    let manifest = bundle.manifest();
    let measure = Measure::of(runtime, bundle)?;
    let devices = divisions.iter().map(|division| division.devices);
    let most = devices.max().unwrap_or(1);
    let sink = manifest.shape.class_tokens;
    let texts: Vec<&[u32]> = texts
        .iter()
        .map(Vec::as_slice)
        .filter(|text| text.len() >= sink + most)
        .collect();
    if texts.is_empty() {
        return Err(VerifyError::NoTexts);
    }
    let each = divisions.iter().map(|division| division.count(texts.len()));
    let all = texts.len() + rungs.len() * each.sum::<usize>();
    let modality = Modality::of(manifest);
    let mut bed = Bed {
        model: Model::open(runtime, bundle.dir(), &manifest.shape, modality)?,
        measure,
        sink,
        meter: Meter::new(all as u64, progress),
    };
    let exact = bed.one_device(manifest, &texts)?;
    let texts: Vec<(&[u32], Figure)> = texts.into_iter().zip(exact).collect();
    let mut rows = Vec::with_capacity(rungs.len() * divisions.len());
    for &bits in rungs {
        let codec = Codec::load(bundle, bits)?;
        for &division in divisions {
            let (texts, exact): (Vec<&[u32]>, Vec<&Figure>) = division
                .of(&texts)
                .map(|(text, exact)| (*text, exact))
                .unzip();
            let (found, masked_tokens) = bed.divided(&codec, division, &texts)?;
            let (agreement, scores) = agreement(division.devices, &exact, &found);
            rows.push(Row {
                bits,
                rank: codec.mean_rank(),
                agreement,
                scores,
                masked_tokens,
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

/// What was measured of one text.
#[derive(Debug, PartialEq)]
enum Figure {
    /// Negative logarithms of the probability of all tokens that follow another, summed, and how many they are.
    Surprise { sum: f64, tokens: usize },
    /// Its vector.
    Embedding(Vec<f32>),
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

    /// Of the features of a text's tokens.
    fn figure(
        &mut self,
        features: Features,
        text: &[u32],
        hidden: usize,
    ) -> Result<Figure, VerifyError> {
        let mut rows = features.cls;
        rows.extend(features.patches);
        match self {
            Self::Perplexity(head) => {
                let following = text.get(1..).unwrap_or_default();
                let mut sum = 0.0;
                for (rows, ids) in rows.chunks(ROWS * hidden).zip(following.chunks(ROWS)) {
                    let rows = rows.get(..ids.len() * hidden).unwrap_or_default();
                    sum += surprise(&head.run(rows)?, ids);
                }
                let tokens = following.len();
                Ok(Figure::Surprise { sum, tokens })
            }
            Self::Embedding {
                bundle, embedding, ..
            } => Ok(Figure::Embedding(embed(bundle, embedding, &rows)?)),
        }
    }
}

struct Bed<'a> {
    model: Model,
    measure: Measure<'a>,
    /// Tokens that every member computes.
    sink: usize,
    meter: Meter<'a>,
}

impl Bed<'_> {
    /// The answers to compare with.
    fn one_device(
        &mut self,
        manifest: &Manifest,
        texts: &[&[u32]],
    ) -> Result<Vec<Figure>, VerifyError> {
        match &mut self.measure {
            Measure::Perplexity(_) => {
                let alone = Codec::single_device(&manifest.shape)?;
                let alone = self.divided(&alone, Division::of_all_inputs(1), texts);
                alone.map(|(figures, _)| figures)
            }
            Measure::Embedding {
                whole,
                bundle,
                embedding,
            } => {
                let embed = |text: &&[u32]| {
                    let features = whole.run(text)?;
                    self.meter.add(1);
                    Ok(Figure::Embedding(embed(bundle, embedding, &features)?))
                };
                texts.iter().map(embed).collect()
            }
        }
    }

    /// The figure of each text, and the tokens that members missed.
    fn divided(
        &mut self,
        codec: &Codec,
        division: Division,
        texts: &[&[u32]],
    ) -> Result<(Vec<Figure>, u64), VerifyError> {
        let LostFrames { share, mut seed } = division.lost;
        let mut masked_tokens = 0;
        let mut figures = Vec::with_capacity(texts.len());
        let mut kept: Option<(Vec<TokenRange>, Simulation)> = None;
        for text in texts {
            let divided = text.len() - self.sink;
            let divided = u16::try_from(divided).unwrap_or(u16::MAX);
            let ranges = split(divided, &vec![1.0; division.devices])?;
            let mut simulation = match kept.take() {
                Some((of, simulation)) if of == ranges => simulation,
                _ => {
                    // Texts of another length lose other frames.
                    seed = seed.wrapping_add(1);
                    Simulation::new(&self.model, codec, &ranges)?.with_losses(share, seed)
                }
            };
            let features = simulation.run(&mut self.model, codec, Input::Ids(text))?;
            masked_tokens += simulation.masked_tokens();
            let hidden = self.model.shape().hidden;
            figures.push(self.measure.figure(features, text, hidden)?);
            kept = Some((ranges, simulation));
            self.meter.add(1);
        }
        Ok((figures, masked_tokens))
    }
}

/// How close `found` comes to `exact`, which is of one device; with the score of each text.
fn agreement(devices: usize, exact: &[&Figure], found: &[Figure]) -> (Agreement, Vec<f64>) {
    let agreement = Agreement {
        devices,
        inputs: found.len(),
        ..Agreement::default()
    };
    let cosines: Vec<f64> = (exact.iter().zip(found))
        .filter_map(|(a, b)| match (a, b) {
            (Figure::Embedding(a), Figure::Embedding(b)) => Some(cosine(a, b)),
            _ => None,
        })
        .collect();
    if !cosines.is_empty() {
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let agreement = Agreement {
            embedding_cosine: Some(mean),
            quality: Interval::quality(QualityMeasure::EmbeddingCosine, &cosines),
            ..agreement
        };
        return (agreement, cosines);
    }
    let differences: Vec<f64> = (exact.iter().zip(found))
        .filter_map(|(exact, found)| Some(found.mean_surprise()? - exact.mean_surprise()?))
        .collect();
    let agreement = Agreement {
        perplexity: perplexity(found.iter()),
        perplexity_exact: perplexity(exact.iter().copied()),
        quality: Interval::quality(QualityMeasure::PerplexityIncrease, &differences),
        ..agreement
    };
    (agreement, differences)
}

impl Figure {
    /// Mean over the tokens.
    fn mean_surprise(&self) -> Option<f64> {
        match self {
            Self::Surprise { sum, tokens } if *tokens > 0 => Some(sum / *tokens as f64),
            _ => None,
        }
    }
}

/// Of all tokens of all texts.
fn perplexity<'a>(figures: impl Iterator<Item = &'a Figure>) -> Option<f64> {
    let mut all = (0.0, 0);
    for figure in figures {
        if let Figure::Surprise { sum, tokens } = figure {
            all = (all.0 + sum, all.1 + tokens);
        }
    }
    (all.1 > 0).then(|| (all.0 / all.1 as f64).exp())
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
    fn perplexities_are_compared_text_by_text() {
        let figures = |sums: [f64; 3]| sums.map(|sum| Figure::Surprise { sum, tokens: 10 });
        let exact = figures([10.0, 20.0, 30.0]);
        let exact: Vec<&Figure> = exact.iter().collect();
        // The texts differ by far more than the rung makes of them.
        let (found, scores) = agreement(4, &exact, &figures([10.1, 20.2, 30.3]));
        assert!((found.perplexity_exact.unwrap() - 2.0_f64.exp()).abs() < 1e-9);
        assert!((found.perplexity.unwrap() - 2.02_f64.exp()).abs() < 1e-9);
        for (score, expected) in scores.iter().zip([0.01, 0.02, 0.03]) {
            assert!((score - expected).abs() < 1e-12);
        }
        // 0.02 ± 4.302653 x 0.01 / sqrt(3)
        let quality = found.quality.unwrap();
        assert_eq!(quality.measure, QualityMeasure::PerplexityIncrease);
        for (found, expected) in [
            (quality.mean, 0.020_201_3),
            (quality.low, -0.004_829),
            (quality.high, 0.045_861),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
        }
    }

    #[test]
    fn embeddings_have_a_cosine_each() {
        let exact = Figure::Embedding(vec![1.0, 0.0]);
        let found = [
            Figure::Embedding(vec![1.0, 0.0]),
            Figure::Embedding(vec![3.0, 4.0]),
        ];
        let (found, scores) = agreement(2, &[&exact, &exact], &found);
        assert_eq!((found.devices, found.inputs), (2, 2));
        assert!((found.embedding_cosine.unwrap() - 0.8).abs() < 1e-9);
        assert!((scores[1] - 0.6).abs() < 1e-9);
        let quality = found.quality.unwrap();
        assert_eq!(quality.measure, QualityMeasure::EmbeddingCosine);
        assert!((quality.mean - 0.8).abs() < 1e-9 && quality.high <= 1.0);
    }

    #[test]
    fn cosine_by_hand() {
        assert!((cosine(&[1.0, 1.0], &[3.0, 0.0]) - 0.5_f64.sqrt()).abs() < 1e-12);
    }
}
