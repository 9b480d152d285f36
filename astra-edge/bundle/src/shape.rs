//! Dimensions of the model, and of tensors in `weights.bin`.

use serde::{Deserialize, Serialize};

use crate::checks::require;
use crate::error::Invalid;

/// Dimensions of the Transformer. [`Shape::validate`] says which are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Width of a token, D.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of K and V; equal to `heads` except with grouped queries.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Transformer layers.
    pub blocks: usize,
    /// Tokens that are divided among the members, T: the patches of an image, without class tokens; for text the most there
    /// can be, [`TextInput::max_tokens`](crate::TextInput::max_tokens) without `class_tokens`.
    pub tokens: usize,
    /// Tokens that every member computes itself: the class token of an image; the first tokens of a text for a causal model,
    /// its attention sink, P.
    pub class_tokens: usize,
}

impl Shape {
    /// Width of K, and of V, of a token.
    pub fn kv_width(&self) -> usize {
        self.kv_heads.saturating_mul(self.head_dim)
    }
}

/// Where a tensor lies in `weights.bin`: little-endian, last dimension fastest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorRef {
    /// First byte, a multiple of [`ALIGN`](crate::ALIGN).
    pub offset: u64,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Type of its values.
    #[serde(default, skip_serializing_if = "Dtype::is_float32")]
    pub dtype: Dtype,
}

/// Type of a tensor's values in `weights.bin`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// IEEE 754 binary32.
    #[default]
    Float32,
    /// IEEE 754 binary16; read as float32.
    Float16,
    /// Bytes: integers of the blocks of a [`Matrix`](crate::Matrix).
    Uint8,
}

impl Dtype {
    /// Its name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Uint8 => "uint8",
        }
    }

    fn is_float32(&self) -> bool {
        *self == Self::Float32
    }

    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
            Self::Uint8 => 1,
        }
    }
}

impl TensorRef {
    /// Number of values, or `None` if the dimensions overflow.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
    }

    /// Size in bytes, or `None` if the dimensions overflow.
    pub fn byte_len(&self) -> Option<u64> {
        u64::try_from(self.elements()?)
            .ok()?
            .checked_mul(self.dtype.bytes())
    }

    /// Checks the dimensions of a tensor that is read as float32.
    pub(crate) fn validate(&self, field: &str, shape: &[usize]) -> Result<(), Invalid> {
        require(
            self.dtype != Dtype::Uint8,
            format!("{field}.dtype"),
            self.dtype.name(),
            "float32 or float16",
        )?;
        self.validate_shape(field, shape)
    }

    /// Checks dimensions and type of a tensor that graphs read.
    pub(crate) fn validate_as(
        &self,
        field: &str,
        shape: &[usize],
        dtype: Dtype,
    ) -> Result<(), Invalid> {
        let (found, expected) = (self.dtype, dtype.name());
        require(
            found == dtype,
            format!("{field}.dtype"),
            found.name(),
            expected,
        )?;
        self.validate_shape(field, shape)
    }

    fn validate_shape(&self, field: &str, shape: &[usize]) -> Result<(), Invalid> {
        require(
            self.shape == shape,
            format!("{field}.shape"),
            format!("{:?}", self.shape),
            format!("{shape:?}"),
        )
    }
}
