//! Similarity of a distributed output to the output of a single device.

use serde::{Deserialize, Serialize};

use crate::engine::ModelOutput;

/// Similarity of an output to the output of a single device; what the task does not have is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Cosine of the class tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cls_cosine: Option<f64>,
    /// Cosine of the patch features, mean over patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_cosine: Option<f64>,
    /// Mean absolute error of the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_mae: Option<f64>,
    /// Largest absolute error of the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_max: Option<f64>,
    /// Cosine of the logits of a text's next token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits_cosine: Option<f64>,
    /// 1 if the most likely next token of a text is the same, else 0; the mean over texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
}

impl Agreement {
    /// Compares two outputs of tokens `hidden` wide.
    pub fn between(output: &ModelOutput, one_device: &ModelOutput, hidden: usize) -> Self {
        let map = match (&output.map, &one_device.map) {
            (Some(a), Some(b)) => errors(&a.values, &b.values),
            _ => None,
        };
        Self {
            cls_cosine: cosine(&output.cls, &one_device.cls),
            patch_cosine: mean_cosine(&output.patches, &one_device.patches, hidden),
            map_mae: map.map(|(mean, _)| mean),
            map_max: map.map(|(_, max)| max),
            ..Self::default()
        }
    }

    /// Compares logits of the next token, `[V]`.
    pub fn between_logits(logits: &[f32], one_device: &[f32]) -> Self {
        let same = argmax(logits) == argmax(one_device);
        Self {
            logits_cosine: cosine(logits, one_device),
            top1: Some(if same { 1.0 } else { 0.0 }),
            ..Self::default()
        }
    }
}

fn argmax(logits: &[f32]) -> Option<usize> {
    let pairs = logits.iter().enumerate();
    pairs
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(index, _)| index)
}

/// Mean and largest absolute difference; `None` for empty vectors or different lengths.
fn errors(a: &[f32], b: &[f32]) -> Option<(f64, f64)> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    let (sum, max) = a
        .iter()
        .zip(b)
        .map(difference)
        .fold((0.0, 0.0_f64), |(sum, max), each| {
            (sum + each, max.max(each))
        });
    Some((sum / a.len() as f64, max))
}

/// Cosine of two vectors; `None` for empty vectors, different lengths, or a zero vector.
fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let dot = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    (norms > 0.0).then(|| dot(a, b) / norms)
}

fn mean_cosine(a: &[f32], b: &[f32], hidden: usize) -> Option<f64> {
    if a.len() != b.len() || hidden == 0 {
        return None;
    }
    let cosines: Vec<f64> = a
        .chunks_exact(hidden)
        .zip(b.chunks_exact(hidden))
        .filter_map(|(a, b)| cosine(a, b))
        .collect();
    (!cosines.is_empty()).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Map;

    fn output(cls: &[f32], patches: &[f32], map: &[f32]) -> ModelOutput {
        ModelOutput {
            cls: cls.to_vec(),
            patches: patches.to_vec(),
            map: Some(Map {
                height: 1,
                width: map.len(),
                values: map.to_vec(),
            }),
            logits: None,
        }
    }

    #[test]
    fn figures_of_known_vectors() {
        let one = output(&[1.0, 0.0], &[1.0, 0.0, 0.0, 2.0], &[0.0, 1.0]);
        let same = Agreement::between(&one, &one, 2);
        assert_eq!(same.cls_cosine, Some(1.0));
        assert_eq!(same.patch_cosine, Some(1.0));
        assert_eq!((same.map_mae, same.map_max), (Some(0.0), Some(0.0)));
        let other = output(&[1.0, 1.0], &[0.0, 1.0, 0.0, 1.0], &[0.5, 1.0]);
        let agreement = Agreement::between(&other, &one, 2);
        assert!((agreement.cls_cosine.unwrap() - 0.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(agreement.patch_cosine, Some(0.5));
        assert_eq!(
            (agreement.map_mae, agreement.map_max),
            (Some(0.25), Some(0.5))
        );
    }

    #[test]
    fn what_cannot_be_compared_is_absent() {
        let one = output(&[1.0], &[], &[]);
        let none = Agreement::between(&ModelOutput::default(), &one, 1);
        assert_eq!(none, Agreement::default());
        assert_eq!(serde_json::to_string(&none).unwrap(), "{}");
    }
}
