//! Tensors that live as long as a plan.

use ort::memory::Allocator;
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::{EngineError, Form, Input};

/// Everything a member computes in.
pub(super) struct Buffers {
    pub(super) source: Source,
    pub(super) x: Tensor<f32>,
    /// x with attention's result on it.
    pub(super) attended: Tensor<f32>,
    pub(super) n: Tensor<f32>,
    pub(super) y: Tensor<f32>,
    pub(super) q: Tensor<f32>,
    pub(super) k: Tensor<f32>,
    pub(super) v: Tensor<f32>,
    pub(super) remote: Tensor<f32>,
    /// What attention saw, where it is kept.
    pub(super) seen: Option<Seen>,
}

/// What `embed` reads.
pub(super) enum Source {
    Image {
        /// [t, patch * patch * 3]
        pixels: Tensor<u8>,
        /// [1]
        first: Tensor<i64>,
    },
    Text {
        /// [m]
        ids: Tensor<i64>,
        /// Position of each own row in the text: [m].
        positions: Tensor<i64>,
        /// The same for remote rows: [r].
        remote_positions: Tensor<i64>,
    },
}

/// Keys and values of all rows that attention saw in a block: [c + r + t, W] each.
pub(super) struct Seen {
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
    /// Columns of y.
    pub(super) coded: usize,
    /// Columns of `remote`.
    pub(super) rank: usize,
}

impl Sizes {
    /// Own rows: m.
    pub(super) fn rows(&self) -> usize {
        self.class_tokens + self.tokens
    }

    /// Token of a row of `remote` where all are there: those before the own, then those behind.
    pub(super) fn remote_token(&self, row: usize) -> usize {
        if row < self.first {
            row
        } else {
            row + self.tokens
        }
    }
}

impl Buffers {
    pub(super) fn new(form: Form, sizes: &Sizes, keep_seen: bool) -> Result<Self, EngineError> {
        let rows = sizes.rows();
        let all = rows + sizes.remote;
        let seen = || -> Result<Seen, EngineError> {
            Ok(Seen {
                keys: zeros([all, sizes.kv])?,
                values: zeros([all, sizes.kv])?,
            })
        };
        Ok(Self {
            source: Source::new(form, sizes)?,
            x: zeros([rows, sizes.hidden])?,
            attended: zeros([rows, sizes.hidden])?,
            n: zeros([rows, sizes.hidden])?,
            y: zeros([rows, sizes.coded])?,
            q: zeros([rows, sizes.queries])?,
            k: zeros([rows, sizes.kv])?,
            v: zeros([rows, sizes.kv])?,
            remote: zeros([sizes.remote, sizes.rank])?,
            seen: keep_seen.then(seen).transpose()?,
        })
    }
}

impl Source {
    fn new(form: Form, sizes: &Sizes) -> Result<Self, EngineError> {
        match form {
            Form::Image { pixels } => Ok(Self::Image {
                pixels: zeros([sizes.tokens, pixels])?,
                first: integers([sizes.first].into_iter())?,
            }),
            Form::Text { .. } => {
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

    /// Takes the input in.
    pub(super) fn fill(&mut self, input: Input<'_>) -> Result<(), EngineError> {
        match (self, input) {
            (Self::Image { pixels, .. }, Input::Pixels(given)) => {
                let (_, place) = pixels.extract_tensor_mut();
                EngineError::length("pixels", given.len(), place.len())?;
                place.copy_from_slice(given);
                Ok(())
            }
            (Self::Text { ids, .. }, Input::Ids(given)) => {
                let (_, place) = ids.extract_tensor_mut();
                EngineError::length("token ids", given.len(), place.len())?;
                for (place, &id) in place.iter_mut().zip(given) {
                    *place = i64::from(id);
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

/// A tensor in ONNX Runtime's memory, zeroed.
pub(super) fn zeros<T: PrimitiveTensorElementType + std::fmt::Debug, const N: usize>(
    shape: [usize; N],
) -> Result<Tensor<T>, EngineError> {
    Tensor::new(&Allocator::default(), shape).map_err(EngineError::run("allocate a tensor"))
}

/// Whole numbers as a tensor.
fn integers(values: impl Iterator<Item = usize>) -> Result<Tensor<i64>, EngineError> {
    // Tokens are numbered in 16 bits.
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    let mut tensor = zeros([values.len()])?;
    let (_, place) = tensor.extract_tensor_mut();
    place.copy_from_slice(&values);
    Ok(tensor)
}
