//! The embedding of a text from the features of its tokens.
//!
//! Members of a cluster pool their own tokens ([`pool_part`]); the coordinator combines the partial results and applies the steps after
//! pooling ([`combine`]). Definitions are those of `Pooling`, `Dense` and `Normalize` of the `sentence-transformers` library, version 6.2.

use astra_bundle::{Activation, Bundle, BundleError, Embedding, EmbeddingStep, TextPooling};

use crate::partition::TokenRange;

/// Partial pooling, `[D]`, of the features `[t, D]` of a member's own tokens `range` of `total`. Empty if the pooling uses none of them.
pub fn pool_part(
    embedding: &Embedding,
    range: TokenRange,
    total: usize,
    features: &[f32],
    hidden: usize,
) -> Vec<f32> {
    let rows = range.indexes().zip(features.chunks_exact(hidden.max(1)));
    let mut rows = rows.filter(|(position, _)| *position >= embedding.skip);
    let weighted = |rows: &mut dyn Iterator<Item = (usize, &[f32])>, weight: fn(usize) -> f64| {
        let mut sums = Vec::new();
        for (position, row) in rows {
            sums.resize(hidden, 0.0_f64);
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value) * weight(position);
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    };
    match embedding.pooling {
        TextPooling::Mean | TextPooling::MeanSqrtLenTokens => weighted(&mut rows, |_| 1.0),
        TextPooling::Weightedmean => weighted(&mut rows, |position| (position + 1) as f64),
        TextPooling::Cls => {
            let first = rows.find(|(position, _)| *position == embedding.skip);
            first.map(|(_, row)| row.to_vec()).unwrap_or_default()
        }
        TextPooling::Lasttoken => {
            let last = rows.find(|(position, _)| position + 1 == total);
            last.map(|(_, row)| row.to_vec()).unwrap_or_default()
        }
        TextPooling::Max => {
            let max = |mut max: Vec<f32>, (_, row): (usize, &[f32])| {
                max.resize(hidden, f32::NEG_INFINITY);
                let pairs = max.iter_mut().zip(row);
                pairs.for_each(|(max, value)| *max = max.max(*value));
                max
            };
            rows.fold(Vec::new(), max)
        }
    }
}

/// The embedding of a text from the members' partial results ([`pool_part`]) with their token ranges. `None` if there is no partial result.
///
/// # Errors
/// The bundle lacks the weights of a step.
pub fn combine(
    bundle: &Bundle,
    embedding: &Embedding,
    parts: &[(TokenRange, Vec<f32>)],
) -> Result<Option<Vec<f32>>, BundleError> {
    let hidden = bundle.manifest().shape.hidden;
    let Some(mut vector) = combine_parts(embedding, parts, hidden) else {
        return Ok(None);
    };
    for step in &embedding.steps {
        vector = apply(bundle, step, &vector)?;
    }
    Ok(Some(vector.into_iter().map(|value| value as f32).collect()))
}

/// The pooled vector, `[D]`.
fn combine_parts(
    embedding: &Embedding,
    parts: &[(TokenRange, Vec<f32>)],
    hidden: usize,
) -> Option<Vec<f64>> {
    let weight = |position: usize| match embedding.pooling {
        TextPooling::Weightedmean => (position + 1) as f64,
        _ => 1.0,
    };
    let mut parts = parts
        .iter()
        .filter(|(_, part)| part.len() == hidden)
        .map(|(range, part)| {
            let pooled = range.indexes().filter(|at| *at >= embedding.skip);
            let values: Vec<f64> = part.iter().copied().map(f64::from).collect();
            (pooled.map(weight).sum::<f64>(), values)
        });
    let (mut weights, mut vector) = parts.next()?;
    for (part_weights, part) in parts {
        weights += part_weights;
        for (value, other) in vector.iter_mut().zip(part) {
            *value = match embedding.pooling {
                TextPooling::Max => value.max(other),
                _ => *value + other,
            };
        }
    }
    let divisor = match embedding.pooling {
        TextPooling::Mean | TextPooling::Weightedmean => weights,
        TextPooling::MeanSqrtLenTokens => weights.sqrt(),
        TextPooling::Cls | TextPooling::Lasttoken | TextPooling::Max => 1.0,
    };
    vector.iter_mut().for_each(|value| *value /= divisor);
    Some(vector)
}

fn apply(bundle: &Bundle, step: &EmbeddingStep, vector: &[f64]) -> Result<Vec<f64>, BundleError> {
    match step {
        EmbeddingStep::Normalize => {
            let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            // The epsilon of torch.nn.functional.normalize.
            let length = length.max(1e-12);
            Ok(vector.iter().map(|x| x / length).collect())
        }
        EmbeddingStep::Dense {
            weight,
            bias,
            activation,
        } => {
            let weight = bundle.tensor(weight)?;
            let bias = bias.as_ref().map(|bias| bundle.tensor(bias)).transpose()?;
            let bias = bias.as_deref().unwrap_or_default();
            let bias = bias.iter().copied().map(f64::from);
            let rows = weight.chunks_exact(vector.len().max(1));
            let outputs = rows.zip(bias.chain(std::iter::repeat(0.0)));
            let outputs = outputs.map(|(row, bias)| activate(*activation, dot(row, vector) + bias));
            Ok(outputs.collect())
        }
        EmbeddingStep::Truncate { width } => Ok(vector.iter().take(*width).copied().collect()),
    }
}

fn dot(row: &[f32], vector: &[f64]) -> f64 {
    let products = row.iter().zip(vector).map(|(w, x)| f64::from(*w) * x);
    products.sum()
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
