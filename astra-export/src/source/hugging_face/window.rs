//! Attention to a window: what a text may be long so that the window holds all of it.
//!
//! Token i attends to the tokens after i - window (`sliding_window_overlay` in transformers' `masking_utils.py`), so of a text of
//! at most `window` tokens each attends to all before it, as in full attention, which is what is computed here.

use serde::{Deserialize, Deserializer};

use crate::source::Mismatch;

/// Width of the window where a configuration of Mistral or Qwen2 has no such field.
const WIDTH: usize = 4096;
/// The first layer of Qwen2 with a window where its configuration does not say.
const FIRST_LAYER: usize = 28;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// What a configuration says of windows.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Windows {
    /// Null is not the same as left out.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Windows {
    /// Width of the narrowest window of a model with `layers` layers, `None` if all have full attention.
    ///
    /// Mistral's layers have a window wherever the configuration has one. Of Qwen2 `layer_types`, or `use_sliding_window` and
    /// `max_window_layers` decide (`configuration_qwen2.py`). Llama has none; what a file says is respected.
    pub(super) fn width(&self, model_type: &str, layers: usize) -> Result<Option<usize>, Mismatch> {
        let types = self.types(layers)?;
        let width = match (model_type, self.sliding_window) {
            ("mistral" | "qwen2", None) => Some(WIDTH),
            (_, width) => width.flatten(),
        };
        let slides = match (model_type, types) {
            (_, Some(sliding)) if sliding => true,
            ("mistral", _) => width.is_some(),
            (_, Some(_)) => false,
            ("qwen2", None) => {
                let first = self.max_window_layers.unwrap_or(FIRST_LAYER);
                self.use_sliding_window == Some(true) && width.is_some() && layers > first
            }
            (_, None) => self.use_sliding_window != Some(false) && width.is_some(),
        };
        if !slides {
            return Ok(None);
        }
        match width {
            Some(0) => Err(Mismatch::new("sliding_window", 0, "1 or more, or null")),
            Some(width) => Ok(Some(width)),
            None => {
                let expected = "the width of the window of the layers of sliding_attention";
                Err(Mismatch::new("sliding_window", "null", expected))
            }
        }
    }

    /// Whether `layer_types` has a layer with a window, where there is such a field.
    fn types(&self, layers: usize) -> Result<Option<bool>, Mismatch> {
        let Some(types) = &self.layer_types else {
            return Ok(None);
        };
        if types.len() != layers {
            let found = format!("{} types", types.len());
            return Err(Mismatch::new("layer_types", found, format!("{layers}")));
        }
        if let Some(other) = types.iter().find(|kind| *kind != FULL && *kind != SLIDING) {
            let expected = format!("{FULL:?} or {SLIDING:?}");
            return Err(Mismatch::new("layer_types", format!("{other:?}"), expected));
        }
        Ok(Some(types.iter().any(|kind| kind == SLIDING)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn width(model_type: &str, config: Json) -> Result<Option<usize>, String> {
        let windows: Windows = serde_json::from_value(config).unwrap();
        let width = windows.width(model_type, 2);
        width.map_err(|error| error.to_string())
    }

    /// `sliding_window` and `layer_types` of transformers' `MistralConfig` and `Qwen2Config`.
    #[test]
    fn windows_are_those_of_transformers() {
        let types = |second: &str| json!(["full_attention", second]);
        for (model_type, config, expected) in [
            ("mistral", json!({}), Some(4096)),
            ("mistral", json!({ "sliding_window": null }), None),
            ("mistral", json!({ "sliding_window": 8 }), Some(8)),
            // It has no such field as layer_types.
            (
                "mistral",
                json!({ "sliding_window": 8, "layer_types": types(FULL) }),
                Some(8),
            ),
            ("qwen2", json!({}), None),
            ("qwen2", json!({ "sliding_window": 8 }), None),
            (
                "qwen2",
                json!({ "sliding_window": 8, "use_sliding_window": true }),
                None,
            ),
            (
                "qwen2",
                json!({ "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 1 }),
                Some(8),
            ),
            (
                "qwen2",
                json!({ "use_sliding_window": true, "max_window_layers": 0 }),
                Some(4096),
            ),
            (
                "qwen2",
                json!({ "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 2 }),
                None,
            ),
            (
                "qwen2",
                json!({ "sliding_window": 8, "use_sliding_window": true, "layer_types": types(SLIDING) }),
                Some(8),
            ),
            (
                "qwen2",
                json!({ "sliding_window": null, "use_sliding_window": false, "layer_types": types(FULL) }),
                None,
            ),
            ("llama", json!({}), None),
            (
                "llama",
                json!({ "sliding_window": 8, "use_sliding_window": false }),
                None,
            ),
            ("llama", json!({ "sliding_window": 8 }), Some(8)),
        ] {
            assert_eq!(
                width(model_type, config.clone()),
                Ok(expected),
                "{model_type} {config}"
            );
        }
    }

    #[test]
    fn windows_without_width_and_other_layers_are_refused() {
        let sliding = json!({ "sliding_window": null, "layer_types": [SLIDING, FULL] });
        let chunked = json!({ "layer_types": ["chunked_attention", FULL] });
        for (config, said) in [
            (sliding, "sliding_window: found null"),
            (chunked, "layer_types: found \"chunked_attention\""),
            (
                json!({ "layer_types": [FULL] }),
                "layer_types: found 1 types, expected 2",
            ),
            (
                json!({ "sliding_window": 0, "layer_types": [SLIDING, FULL] }),
                "sliding_window: found 0",
            ),
        ] {
            let refusal = width("qwen2", config).unwrap_err();
            assert!(refusal.starts_with(said), "{refusal}");
        }
    }
}
