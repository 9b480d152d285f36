//! Tensors that a member allocates once for a plan.

use ort::value::Tensor;

use super::per_block::PerBlock;
use super::tensors::zeros;
use super::{Codec, EngineError, Input, Modality};

/// Inputs and outputs of a member's steps.
pub(super) struct Buffers {
    pub(super) input: EmbedInput,
    pub(super) x: Tensor<f32>,
    /// x after attention: [m, D].
    pub(super) attended: Tensor<f32>,
    pub(super) n: Tensor<f32>,
    /// Input of the encoder: [m, R] of each block; no columns in exact mode.
    pub(super) y: PerBlock,
    pub(super) q: Tensor<f32>,
    pub(super) k: Tensor<f32>,
    pub(super) v: Tensor<f32>,
    /// Decoded tokens of other members: [r, R] of each block; in exact mode n.
    pub(super) remote: PerBlock,
    /// Keys and values of other members' tokens, where graphs compute them in exact mode: [r, 2W].
    pub(super) remote_kv: Option<Tensor<f32>>,
    /// Keys and values that attention read, where they are kept.
    pub(super) attended_kv: Option<AttendedKv>,
}

/// Inputs of `embed`, and positions that other steps read too.
pub(super) enum EmbedInput {
    Image {
        /// [t, patch * patch * 3]
        pixels: Tensor<u8>,
        /// [1]
        first: Tensor<i64>,
    },
    Text {
        /// `[m]`
        ids: Tensor<i64>,
        /// Position of each own row in the text: `[m]`.
        positions: Tensor<i64>,
        /// The same for remote rows: `[r]`.
        remote_positions: Tensor<i64>,
    },
}

/// Keys and values of all rows that attention read in a block: [c + r + t, W] each.
pub(super) struct AttendedKv {
    pub(super) keys: Tensor<f32>,
    pub(super) values: Tensor<f32>,
}

/// Sizes of [`Buffers`].
pub(super) struct Sizes {
    /// Rows that every member computes: c.
    pub(super) class_tokens: usize,
    /// First own token.
    pub(super) first: usize,
    /// Own tokens: t.
    pub(super) tokens: usize,
    /// Remote tokens: r.
    pub(super) remote: usize,
    /// Hidden width: D.
    pub(super) hidden: usize,
    /// Width of queries.
    pub(super) queries: usize,
    /// Width of keys: W.
    pub(super) kv: usize,
}

/// Inputs and outputs of `mlp` for some of a member's rows: [rows, D], y [rows, R] of each block.
pub(super) struct MlpBuffers<'a> {
    pub(super) attended: &'a Tensor<f32>,
    pub(super) x: &'a mut Tensor<f32>,
    pub(super) n: &'a mut Tensor<f32>,
    pub(super) y: &'a mut PerBlock,
}

impl Sizes {
    /// Own rows: m.
    pub(super) fn rows(&self) -> usize {
        self.class_tokens + self.tokens
    }

    /// Token of a row of `remote` where none is missing: those before the own tokens, then those after them.
    pub(super) fn remote_token(&self, row: usize) -> usize {
        if row < self.first {
            row
        } else {
            row + self.tokens
        }
    }
}

impl Buffers {
    pub(super) fn new(
        modality: Modality,
        codec: &Codec,
        sizes: &Sizes,
        keep_kv: bool,
    ) -> Result<Self, EngineError> {
        let rows = sizes.rows();
        let all = rows + sizes.remote;
        let remote_kv = || zeros([sizes.remote, 2 * sizes.kv]);
        let attended_kv = || -> Result<AttendedKv, EngineError> {
            Ok(AttendedKv {
                keys: zeros([all, sizes.kv])?,
                values: zeros([all, sizes.kv])?,
            })
        };
        Ok(Self {
            input: EmbedInput::new(modality, sizes)?,
            x: zeros([rows, sizes.hidden])?,
            attended: zeros([rows, sizes.hidden])?,
            n: zeros([rows, sizes.hidden])?,
            y: encoder_input(codec, rows)?,
            q: zeros([rows, sizes.queries])?,
            k: zeros([rows, sizes.kv])?,
            v: zeros([rows, sizes.kv])?,
            remote: PerBlock::new(sizes.remote, codec.ranks())?,
            remote_kv: codec.has_exact_graphs().then(remote_kv).transpose()?,
            attended_kv: keep_kv.then(attended_kv).transpose()?,
        })
    }
}

/// y of `rows` rows.
pub(super) fn encoder_input(codec: &Codec, rows: usize) -> Result<PerBlock, EngineError> {
    let coded = usize::from(!codec.is_exact());
    PerBlock::new(rows, codec.ranks().map(|rank| coded * rank))
}

impl EmbedInput {
    fn new(modality: Modality, sizes: &Sizes) -> Result<Self, EngineError> {
        match modality {
            Modality::Image { pixels } => Ok(Self::Image {
                pixels: zeros([sizes.tokens, pixels])?,
                first: integers([sizes.first].into_iter())?,
            }),
            Modality::Text { .. } => {
                let class = sizes.class_tokens;
                let own = (sizes.first..sizes.first + sizes.tokens).map(|token| class + token);
                let remote = (0..sizes.remote).map(|row| class + sizes.remote_token(row));
                Ok(Self::Text {
                    ids: zeros([sizes.rows()])?,
                    positions: integers((0..class).chain(own))?,
                    remote_positions: integers(remote)?,
                })
            }
        }
    }

    /// Copies the input in.
    pub(super) fn fill(&mut self, input: Input<'_>) -> Result<(), EngineError> {
        match (self, input) {
            (Self::Image { pixels, .. }, Input::Pixels(given)) => {
                let (_, pixels) = pixels.extract_tensor_mut();
                EngineError::length("pixels", given.len(), pixels.len())?;
                pixels.copy_from_slice(given);
                Ok(())
            }
            (Self::Text { ids, .. }, Input::Ids(given)) => {
                let (_, ids) = ids.extract_tensor_mut();
                EngineError::length("token ids", given.len(), ids.len())?;
                for (id, &given) in ids.iter_mut().zip(given) {
                    *id = i64::from(given);
                }
                Ok(())
            }
            (Self::Image { .. }, Input::Ids(_)) => Err(EngineError::Input {
                found: "token ids",
                expected: "pixels",
            }),
            (Self::Text { .. }, Input::Pixels(_)) => Err(EngineError::Input {
                found: "pixels",
                expected: "token ids",
            }),
        }
    }
}

/// Token numbers as a tensor.
fn integers(values: impl Iterator<Item = usize>) -> Result<Tensor<i64>, EngineError> {
    // Tokens are numbered in 16 bits.
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    let mut tensor = zeros([values.len()])?;
    tensor.extract_tensor_mut().1.copy_from_slice(&values);
    Ok(tensor)
}
