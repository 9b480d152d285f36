//! A causal model as one fused graph with a KV cache: prefill and decode on a single device.

use std::path::Path;

use astra_bundle::Manifest;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::bind::BindingBuilder;
use super::graph::open;
use super::kv_cache::KvCache;
use super::tensors::zeros;
use super::{EngineError, Heartbeat, Runtime};

/// Most tokens in one run of the graph: attention needs memory for this number times the length of the cache.
const PREFILL_CHUNK: usize = 512;

/// The fused model and its KV cache.
///
/// The cache outlives a generation: tokens of the next prompt that are in it are not computed again. Keys and values that were
/// [written](Self::fill) to it were computed from codes of some rung, which [`rung`](Self::rung) returns.
pub struct Decoder {
    session: Session,
    names: Vec<CacheNames>,
    cache: KvCache,
    rung: u16,
    max_tokens: usize,
    learned_positions: bool,
    decode: DecodeBuffers,
    heartbeat: Heartbeat,
}

/// Names of a block's cache in the graph.
struct CacheNames {
    past_k: String,
    past_v: String,
    present_k: String,
    present_v: String,
}

/// Buffers of a decode step, which is of one token, and their binding, which a larger cache invalidates.
struct DecodeBuffers {
    inputs: Inputs,
    logits: Tensor<f32>,
    binding: Option<IoBinding>,
}

/// Inputs of the graph besides the cache.
struct Inputs {
    ids: Tensor<i64>,
    positions: Tensor<i64>,
    seqlens_k: Tensor<i32>,
    total_length: Tensor<i32>,
}

impl Decoder {
    /// Opens `decode.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or has other inputs or outputs; the model's input is not text.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let Some(text) = &manifest.text else {
            return Err(EngineError::Input {
                found: "token ids",
                expected: "pixels",
            });
        };
        let shape = &manifest.shape;
        let names: Vec<CacheNames> = (0..shape.blocks).map(CacheNames::new).collect();
        let (inputs, outputs) = interface(&names, text.learned_positions);
        Ok(Self {
            session: open(runtime, &dir.join("decode.onnx"), &inputs, &outputs)?,
            names,
            cache: KvCache::new(shape.blocks, shape.kv_heads, shape.head_dim)?,
            rung: 0,
            max_tokens: text.max_tokens,
            learned_positions: text.learned_positions,
            decode: DecodeBuffers {
                inputs: Inputs::new(1)?,
                logits: zeros([1, text.vocab])?,
                binding: None,
            },
            heartbeat: Heartbeat::default(),
        })
    }

    /// Sets what beats at every chunk of a prompt.
    pub fn set_heartbeat(&mut self, heartbeat: Heartbeat) {
        self.heartbeat = heartbeat;
    }

    /// Tokens whose keys and values are in the cache.
    pub fn tokens(&self) -> &[u32] {
        self.cache.tokens()
    }

    /// Rung of the least exact keys and values in the cache; 0 if all are exact.
    pub fn rung(&self) -> u16 {
        self.rung
    }

    /// Number of a prompt's first tokens whose keys and values can be reused at a rung. The last token is always computed, for its
    /// logits.
    pub fn reusable_tokens(&self, ids: &[u32], rung: u16) -> usize {
        if self.rung != 0 && self.rung != rung {
            return 0;
        }
        let same = self.tokens().iter().zip(ids).take_while(|(a, b)| a == b);
        same.count().min(ids.len().saturating_sub(1))
    }

    /// Empties the cache and reserves capacity for `length` tokens, to be written by [`fill`](Self::fill).
    ///
    /// # Errors
    /// ONNX Runtime has no memory.
    pub fn clear(&mut self, length: usize) -> Result<(), EngineError> {
        self.cache.truncate(0);
        self.rung = 0;
        self.reserve(length)
    }

    /// Writes keys and values of a block, [rows, W] each, to a cache that was cleared.
    ///
    /// # Errors
    /// There is no such block, or there are more rows than the cache has capacity for.
    pub fn fill(&mut self, block: usize, keys: &[f32], values: &[f32]) -> Result<(), EngineError> {
        self.cache.fill(block, keys, values)
    }

    /// Sets the tokens whose keys and values were written to every block, and the rung they were computed at.
    pub fn set_tokens(&mut self, tokens: &[u32], rung: u16) {
        self.cache.truncate(0);
        self.cache.extend(tokens);
        self.rung = rung;
    }

    /// Computes a prompt from token `reused` on; the first `reused` tokens must be the first in the cache. Returns the logits of the
    /// token after the last: `[V]`.
    ///
    /// # Errors
    /// No token is left to compute, the prompt is longer than the model's context, or ONNX Runtime fails; the cache then holds the
    /// tokens computed so far.
    pub fn prefill(&mut self, ids: &[u32], reused: usize) -> Result<&mut [f32], EngineError> {
        let rest = ids.get(reused..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(EngineError::Length {
            what: "token ids",
            found: ids.len(),
            expected: reused + 1,
        })?;
        self.cache.truncate(reused);
        if reused == 0 {
            self.rung = 0;
        }
        self.reserve(ids.len())?;
        for chunk in rest.chunks(PREFILL_CHUNK) {
            self.heartbeat.beat();
            self.run_chunk(chunk)?;
        }
        Ok(self.decode.logits.extract_tensor_mut().1)
    }

    /// Appends one token. Returns the logits of the token after it: `[V]`.
    ///
    /// # Errors
    /// The text fills the model's context, or ONNX Runtime fails.
    pub fn step(&mut self, token: u32) -> Result<&mut [f32], EngineError> {
        let length = self.cache.tokens().len() + 1;
        self.reserve(length)?;
        self.decode.inputs.set(&[token], length);
        let binding = match self.decode.binding.take() {
            Some(binding) => binding,
            None => bind(
                &self.session,
                &self.names,
                self.learned_positions,
                &self.decode.inputs,
                &mut self.cache,
                &mut self.decode.logits,
            )?,
        };
        let ran = self.session.run_binding(&binding).map(drop);
        self.decode.binding = Some(binding);
        ran.map_err(EngineError::run("decode"))?;
        self.cache.extend(&[token]);
        Ok(self.decode.logits.extract_tensor_mut().1)
    }

    fn run_chunk(&mut self, ids: &[u32]) -> Result<(), EngineError> {
        let mut inputs = Inputs::new(ids.len())?;
        inputs.set(ids, self.cache.tokens().len() + ids.len());
        let binding = bind(
            &self.session,
            &self.names,
            self.learned_positions,
            &inputs,
            &mut self.cache,
            &mut self.decode.logits,
        )?;
        let ran = self.session.run_binding(&binding).map(drop);
        ran.map_err(EngineError::run("decode"))?;
        self.cache.extend(ids);
        Ok(())
    }

    fn reserve(&mut self, length: usize) -> Result<(), EngineError> {
        if length > self.max_tokens {
            return Err(EngineError::Length {
                what: "tokens of the text",
                found: length,
                expected: self.max_tokens,
            });
        }
        if self.cache.reserve(length, self.max_tokens)? {
            self.decode.binding = None;
        }
        Ok(())
    }
}

impl CacheNames {
    fn new(block: usize) -> Self {
        Self {
            past_k: format!("past_k_{block:02}"),
            past_v: format!("past_v_{block:02}"),
            present_k: format!("present_k_{block:02}"),
            present_v: format!("present_v_{block:02}"),
        }
    }
}

impl Inputs {
    fn new(rows: usize) -> Result<Self, EngineError> {
        Ok(Self {
            ids: zeros([rows])?,
            positions: zeros([rows])?,
            seqlens_k: zeros([1])?,
            total_length: zeros([1])?,
        })
    }

    /// Sets the last tokens of a text of `length` tokens.
    fn set(&mut self, ids: &[u32], length: usize) {
        let first = length.saturating_sub(ids.len());
        for (input, &id) in self.ids.extract_tensor_mut().1.iter_mut().zip(ids) {
            *input = i64::from(id);
        }
        let positions = self.positions.extract_tensor_mut().1;
        for (input, position) in positions.iter_mut().zip(first..) {
            *input = position as i64;
        }
        // The context of a model is below 2^16 tokens.
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.seqlens_k.extract_tensor_mut().1.fill(length - 1);
        self.total_length.extract_tensor_mut().1.fill(length);
    }
}

/// Names of the graph's inputs and outputs.
fn interface(names: &[CacheNames], learned_positions: bool) -> (Vec<&str>, Vec<&str>) {
    let mut inputs = vec!["ids", "seqlens_k", "total_length"];
    if learned_positions {
        inputs.push("positions");
    }
    let mut outputs = vec!["logits", "features"];
    for block in names {
        inputs.extend([block.past_k.as_str(), &block.past_v]);
        outputs.extend([block.present_k.as_str(), &block.present_v]);
    }
    (inputs, outputs)
}

/// Past and present of a block are bound to the same memory.
fn bind(
    session: &Session,
    names: &[CacheNames],
    learned_positions: bool,
    inputs: &Inputs,
    cache: &mut KvCache,
    logits: &mut Tensor<f32>,
) -> Result<IoBinding, EngineError> {
    let mut bind = BindingBuilder::new(session, "bind decode")?
        .input("ids", &inputs.ids)?
        .input("seqlens_k", &inputs.seqlens_k)?
        .input("total_length", &inputs.total_length)?
        .output("logits", logits)?;
    if learned_positions {
        bind = bind.input("positions", &inputs.positions)?;
    }
    for (names, block) in names.iter().zip(&mut cache.blocks) {
        bind = bind
            .input(&names.past_k, &block.keys)?
            .input(&names.past_v, &block.values)?
            .output(&names.present_k, &mut block.keys)?
            .output(&names.present_v, &mut block.values)?;
    }
    Ok(bind.build())
}
