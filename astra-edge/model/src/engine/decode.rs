//! A causal model as one graph with a cache of keys and values: one device's prompt, and every token after it.

use std::path::Path;

use astra_bundle::Manifest;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::bind::Bind;
use super::buffers::zeros;
use super::cache::Cache;
use super::{Beat, EngineError, Runtime};

/// Most tokens that go through the graph at once: attention needs memory for as many times the cache.
const CHUNK: usize = 512;

/// The fused model and its cache.
///
/// The cache outlives a generation: a text that begins with the tokens in it is not computed again. What is in it is as
/// exact as what it was [filled](Self::fill) with, which [`rung`](Self::rung) remembers.
pub struct Decoder {
    session: Session,
    names: Vec<Names>,
    cache: Cache,
    rung: u16,
    longest: usize,
    learned_positions: bool,
    step: Step,
    beat: Beat,
}

/// Names of a block's cache among the inputs and outputs.
struct Names {
    past_k: String,
    past_v: String,
    present_k: String,
    present_v: String,
}

/// Buffers of one token, and their binding once there is a cache to bind.
struct Step {
    rows: Rows,
    logits: Tensor<f32>,
    binding: Option<IoBinding>,
}

/// What goes in besides the cache.
struct Rows {
    ids: Tensor<i64>,
    positions: Tensor<i64>,
    seqlens_k: Tensor<i32>,
    total_length: Tensor<i32>,
}

impl Decoder {
    /// Opens `decode.onnx` in `dir`.
    ///
    /// # Errors
    /// The graph is missing, is refused, or is of another interface; the manifest is not one of text.
    pub fn open(runtime: &Runtime, dir: &Path, manifest: &Manifest) -> Result<Self, EngineError> {
        let Some(text) = &manifest.text else {
            return Err(EngineError::Input {
                found: "token ids",
                expected: "pixels",
            });
        };
        let shape = &manifest.shape;
        let names: Vec<Names> = (0..shape.blocks).map(Names::new).collect();
        let (inputs, outputs) = sides(&names, text.learned_positions);
        Ok(Self {
            session: super::model::open(runtime, &dir.join("decode.onnx"), &inputs, &outputs)?,
            names,
            cache: Cache::new(shape.blocks, shape.kv_heads, shape.head_dim)?,
            rung: 0,
            longest: text.max_tokens,
            learned_positions: text.learned_positions,
            step: Step {
                rows: Rows::new(1)?,
                logits: zeros([1, text.vocab])?,
                binding: None,
            },
            beat: Beat::default(),
        })
    }

    /// Has `beat` told of every piece of a prompt.
    pub fn tell(&mut self, beat: Beat) {
        self.beat = beat;
    }

    /// Tokens whose keys and values are in the cache.
    pub fn tokens(&self) -> &[u32] {
        self.cache.tokens()
    }

    /// Rung of the least exact keys and values in the cache; 0 if all are exact.
    pub fn rung(&self) -> u16 {
        self.rung
    }

    /// How many of a text's first tokens need not be computed at a rung; the last always is, for its scores are wanted.
    pub fn reusable(&self, ids: &[u32], rung: u16) -> usize {
        if self.rung != 0 && self.rung != rung {
            return 0;
        }
        let same = self.tokens().iter().zip(ids).take_while(|(a, b)| a == b);
        same.count().min(ids.len().saturating_sub(1))
    }

    /// Empties the cache and makes room for `length` tokens, to [`fill`](Self::fill).
    ///
    /// # Errors
    /// ONNX Runtime has no memory.
    pub fn clear(&mut self, length: usize) -> Result<(), EngineError> {
        self.cache.truncate(0);
        self.rung = 0;
        self.reserve(length)
    }

    /// Puts keys and values of a block, [rows, W] each, into a cache that was cleared.
    ///
    /// # Errors
    /// There is no such block, or no room for so many rows.
    pub fn fill(&mut self, block: usize, keys: &[f32], values: &[f32]) -> Result<(), EngineError> {
        self.cache.fill(block, keys, values)
    }

    /// Names the tokens that every block was filled with, and the rung they were computed at.
    pub fn filled(&mut self, tokens: &[u32], rung: u16) {
        self.cache.truncate(0);
        self.cache.extend(tokens);
        self.rung = rung;
    }

    /// Computes a text's tokens from number `reused` on, up to which it is what is in the cache. Returns the scores of the
    /// token behind the last: [V].
    ///
    /// # Errors
    /// Nothing is left to compute, the text is longer than the model takes, or ONNX Runtime fails; the cache then holds what
    /// it held of the text before.
    pub fn prefill(&mut self, ids: &[u32], reused: usize) -> Result<&mut [f32], EngineError> {
        let rest = ids.get(reused..).unwrap_or_default();
        if rest.is_empty() {
            return Err(EngineError::Length {
                what: "token ids",
                found: ids.len(),
                expected: reused + 1,
            });
        }
        self.cache.truncate(reused);
        if reused == 0 {
            self.rung = 0;
        }
        self.reserve(ids.len())?;
        for chunk in rest.chunks(CHUNK) {
            self.beat.beat();
            self.run_chunk(chunk)?;
        }
        Ok(self.step.logits.extract_tensor_mut().1)
    }

    /// Appends one token. Returns the scores of the one behind it: [V].
    ///
    /// # Errors
    /// The text is as long as the model takes, or ONNX Runtime fails.
    pub fn step(&mut self, token: u32) -> Result<&mut [f32], EngineError> {
        let length = self.cache.tokens().len() + 1;
        self.reserve(length)?;
        self.step.rows.set(&[token], length);
        let binding = match self.step.binding.take() {
            Some(binding) => binding,
            None => bind(
                &self.session,
                &self.names,
                self.learned_positions,
                &self.step.rows,
                &mut self.cache,
                &mut self.step.logits,
            )?,
        };
        let ran = self.session.run_binding(&binding).map(drop);
        self.step.binding = Some(binding);
        ran.map_err(EngineError::run("decode"))?;
        self.cache.extend(&[token]);
        Ok(self.step.logits.extract_tensor_mut().1)
    }

    fn run_chunk(&mut self, ids: &[u32]) -> Result<(), EngineError> {
        let mut rows = Rows::new(ids.len())?;
        rows.set(ids, self.cache.tokens().len() + ids.len());
        let binding = bind(
            &self.session,
            &self.names,
            self.learned_positions,
            &rows,
            &mut self.cache,
            &mut self.step.logits,
        )?;
        let ran = self.session.run_binding(&binding).map(drop);
        ran.map_err(EngineError::run("decode"))?;
        self.cache.extend(ids);
        Ok(())
    }

    fn reserve(&mut self, length: usize) -> Result<(), EngineError> {
        if length > self.longest {
            return Err(EngineError::Length {
                what: "tokens of the text",
                found: length,
                expected: self.longest,
            });
        }
        if self.cache.reserve(length, self.longest)? {
            self.step.binding = None;
        }
        Ok(())
    }
}

impl Names {
    fn new(block: usize) -> Self {
        Self {
            past_k: format!("past_k_{block:02}"),
            past_v: format!("past_v_{block:02}"),
            present_k: format!("present_k_{block:02}"),
            present_v: format!("present_v_{block:02}"),
        }
    }
}

impl Rows {
    fn new(rows: usize) -> Result<Self, EngineError> {
        Ok(Self {
            ids: zeros([rows])?,
            positions: zeros([rows])?,
            seqlens_k: zeros([1])?,
            total_length: zeros([1])?,
        })
    }

    /// The last tokens of a text of `length`.
    fn set(&mut self, ids: &[u32], length: usize) {
        let first = length.saturating_sub(ids.len());
        for (place, &id) in self.ids.extract_tensor_mut().1.iter_mut().zip(ids) {
            *place = i64::from(id);
        }
        let positions = self.positions.extract_tensor_mut().1;
        for (place, position) in positions.iter_mut().zip(first..) {
            *place = position as i64;
        }
        // A text is no longer than 16 bits count.
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.seqlens_k.extract_tensor_mut().1.fill(length - 1);
        self.total_length.extract_tensor_mut().1.fill(length);
    }
}

/// Inputs and outputs of the graph.
fn sides(names: &[Names], learned_positions: bool) -> (Vec<&str>, Vec<&str>) {
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

/// Past and present of a block are the same memory.
fn bind(
    session: &Session,
    names: &[Names],
    learned_positions: bool,
    rows: &Rows,
    cache: &mut Cache,
    logits: &mut Tensor<f32>,
) -> Result<IoBinding, EngineError> {
    let mut bind = Bind::new(session, "bind decode")?
        .input("ids", &rows.ids)?
        .input("seqlens_k", &rows.seqlens_k)?
        .input("total_length", &rows.total_length)?
        .output("logits", logits)?;
    if learned_positions {
        bind = bind.input("positions", &rows.positions)?;
    }
    for (names, block) in names.iter().zip(&mut cache.blocks) {
        bind = bind
            .input(&names.past_k, &block.keys)?
            .input(&names.past_v, &block.values)?
            .output(&names.present_k, &mut block.keys)?
            .output(&names.present_v, &mut block.values)?;
    }
    Ok(bind.done())
}
