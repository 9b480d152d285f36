//! The keys below `general.architecture`: which are read, which change nothing, and which are refused.
//!
//! The names are those of `llama-arch.cpp` in llama.cpp; what they mean for `llama` and `qwen2`, and their defaults, those of
//! `llama-model.cpp`.

use super::reader::{Gguf, Value};
use crate::source::llama::Dimensions;
use crate::source::{MAX_TOKENS, Mismatch};

/// Divisors of the frequencies of rotary positions, by channel.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Keys that are read.
const READ: [&str; 15] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.type",
];

/// Keys that change nothing in these architectures, whatever their value.
const IGNORED: [&str; 6] = [
    // Of LayerNorm; these architectures have RMSNorm.
    "attention.layer_norm_epsilon",
    // What matters of these is read by the types of scaling that are refused.
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    // Rows of queries and keys are ordered by the architecture.
    "tensor_data_layout",
    // The tokens of the tokenizer are counted.
    "vocab_size",
    // Which precision a converter aimed for.
    "quantization_version",
];

/// Keys that change nothing at one value, and are refused at others.
const NEUTRAL: [(&str, f64); 17] = [
    ("attention.causal", 1.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.output_scale", 1.0),
    ("attention.scale", 0.0),
    ("attention.value_scale", 1.0),
    ("attn_logit_softcapping", 0.0),
    ("embedding_scale", 1.0),
    ("expert_count", 0.0),
    ("expert_used_count", 0.0),
    ("final_logit_softcapping", 0.0),
    ("logit_scale", 1.0),
    ("nextn_predict_layers", 0.0),
    ("pooling_type", 0.0),
    ("residual_scale", 1.0),
    ("rope.scaling.attn_factor", 1.0),
    ("use_parallel_residual", 0.0),
];

/// Keys of one architecture.
pub(super) struct Keys<'a> {
    pub(super) gguf: &'a Gguf<'a>,
    pub(super) architecture: &'a str,
}

impl Keys<'_> {
    fn of(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// Refuses every key that changes what is computed and is not read.
    pub(super) fn check(&self) -> Result<(), Mismatch> {
        self.rope_factor()?;
        let prefix = self.of("");
        let keys = self.gguf.keys();
        for name in keys.filter_map(|key| key.strip_prefix(&prefix)) {
            if READ.contains(&name) || IGNORED.contains(&name) {
                continue;
            }
            let value = self.gguf.get(&self.of(name));
            let shown = value.map(Value::shown).unwrap_or_default();
            let neutral = NEUTRAL.iter().find(|(known, _)| *known == name);
            match neutral {
                Some((_, neutral)) if value.is_some_and(|value| value.is_all(*neutral)) => {}
                Some((_, neutral)) => {
                    let expected = format!("{neutral}: other values are not supported");
                    return Err(Mismatch::new(self.of(name), shown, expected));
                }
                None => {
                    let expected = "no such key: what it changes is not supported";
                    return Err(Mismatch::new(self.of(name), shown, expected));
                }
            }
        }
        Ok(())
    }

    pub(super) fn dimensions(&self) -> Result<Dimensions, Mismatch> {
        let size = |name: &str| self.gguf.size(&self.of(name));
        let or = |name: &str, default| self.gguf.size_or(&self.of(name), default);
        let float = |name: &str, default| self.gguf.float_or(&self.of(name), default);
        let heads = size("attention.head_count")?;
        let hidden = size("embedding_length")?;
        let head_dim = or("attention.key_length", hidden / heads.max(1))?;
        for name in ["attention.value_length", "rope.dimension_count"] {
            let found = or(name, head_dim)?;
            if found != head_dim {
                let expected = format!("{head_dim}, all channels of a head");
                return Err(Mismatch::new(self.of(name), found, expected));
            }
        }
        Ok(Dimensions {
            hidden,
            layers: size("block_count")?,
            heads,
            kv_heads: or("attention.head_count_kv", heads)?,
            head_dim,
            mlp: size("feed_forward_length")?,
            vocab: self.gguf.texts("tokenizer.ggml.tokens")?.len(),
            rope_base: float("rope.freq_base", 10_000.0)?,
            epsilon: float("attention.layer_norm_rms_epsilon", 1e-5)? as f32,
        })
    }

    /// Longest text, and a warning where it is shorter than the context because tokens would attend to a window only: texts
    /// up to the length of the window are computed exactly.
    pub(super) fn max_tokens(&self) -> Result<(usize, Option<String>), Mismatch> {
        let context = self.gguf.size(&self.of("context_length"))?.min(MAX_TOKENS);
        let key = self.of("attention.sliding_window");
        let window = self.gguf.size_or(&key, 0)?;
        if window == 0 || window >= context {
            return Ok((context, None));
        }
        let warning = format!(
            "{key}: texts are limited to the window of {window} tokens, of a context of {context}: \
             attention to a window is not supported"
        );
        Ok((window, Some(warning)))
    }

    /// Divides the frequencies of rotary positions as the file says: all by the factor of linear scaling, and each by its own
    /// (Llama 3.1's scaling, computed when the file was made).
    pub(super) fn scale(&self, frequencies: &mut [f64]) -> Result<(), Mismatch> {
        let factor = self.rope_factor()?;
        frequencies.iter_mut().for_each(|each| *each /= factor);
        if !self.gguf.contains(ROPE_FACTORS) {
            return Ok(());
        }
        let own = self.gguf.tensor(ROPE_FACTORS)?;
        let own = own.into_values(&[frequencies.len()])?;
        for (frequency, factor) in frequencies.iter_mut().zip(own) {
            if !(factor.is_finite() && factor > 0.0) {
                let expected = "finite factors above 0";
                return Err(Mismatch::new(ROPE_FACTORS, factor, expected));
            }
            *frequency /= f64::from(factor);
        }
        Ok(())
    }

    /// What linear scaling divides positions by; 1 where there is none.
    fn rope_factor(&self) -> Result<f64, Mismatch> {
        let key = self.of("rope.scaling.type");
        match self.gguf.optional_text(&key)? {
            Some("none") => return Ok(1.0),
            None | Some("linear") => {}
            Some(other) => {
                let expected =
                    "\"none\" or \"linear\": other scaling of positions is not supported";
                return Err(Mismatch::new(key, format!("{other:?}"), expected));
            }
        }
        let names = ["rope.scaling.factor", "rope.scale_linear"].map(|name| self.of(name));
        let name = names.into_iter().find(|name| self.gguf.get(name).is_some());
        let Some(name) = name else {
            return Ok(1.0);
        };
        let factor = self.gguf.float_or(&name, 1.0)?;
        if !(factor.is_finite() && factor >= 0.0) {
            return Err(Mismatch::new(name, factor, "a finite number, 0 or above"));
        }
        // llama.cpp takes 0 for "not scaled".
        Ok(if factor == 0.0 { 1.0 } else { factor })
    }
}

impl Value {
    /// Whether it is this number, or a flag that is it, or an array of nothing else.
    fn is_all(&self, number: f64) -> bool {
        match self {
            Self::Bool(flag) => f64::from(u8::from(*flag)) == number,
            Self::Array(values) => values.iter().all(|value| value.is_all(number)),
            value => value.number() == Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[&str]) -> String {
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        keys.join(", ")
    }

    #[test]
    fn the_table_of_the_documentation_is_that_of_the_lists() {
        let neutral = NEUTRAL.map(|(key, value)| format!("`{key}` ({value})"));
        let table = format!(
            "| read | {} |\n| ignored | {} |\n| refused unless | {} |\n",
            names(&READ),
            names(&IGNORED),
            neutral.join(", ")
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SOURCES.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&table), "SOURCES.md lacks:\n{table}");
    }

    #[test]
    fn a_key_is_in_one_list() {
        let mut all: Vec<&str> = READ.iter().chain(&IGNORED).copied().collect();
        all.extend(NEUTRAL.map(|(key, _)| key));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
