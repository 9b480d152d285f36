//! The tensors of a safetensors file.

use safetensors::{Dtype, SafeTensorError};

use crate::source::tensors::Tensors;
use crate::source::{Mismatch, Precision, Tensor};

pub(super) struct SafeTensors<'a>(safetensors::SafeTensors<'a>);

impl Tensors for SafeTensors<'_> {
    fn contains(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Mismatch> {
        let Ok(view) = self.0.tensor(name) else {
            return Err(Mismatch::missing(name, "a tensor of that name"));
        };
        let precision = match view.dtype() {
            Dtype::F32 => Precision::F32,
            Dtype::F16 => Precision::F16,
            Dtype::BF16 => Precision::Bf16,
            other => {
                let found = format!("{other:?} values");
                return Err(Mismatch::new(name, found, "F32, F16 or BF16"));
            }
        };
        Tensor::from_bytes(name, view.shape().to_vec(), precision, view.data())
    }
}

impl<'a> SafeTensors<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, SafeTensorError> {
        safetensors::SafeTensors::deserialize(bytes).map(Self)
    }

    /// Names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name)
    }

    /// What stands before `name`: `prefix` or nothing.
    pub(super) fn prefix(&self, prefix: &'a str, name: &str) -> Result<&'a str, Mismatch> {
        let with = format!("{prefix}{name}");
        if self.contains(&with) {
            Ok(prefix)
        } else if self.contains(name) {
            Ok("")
        } else {
            Err(Mismatch::missing(
                name,
                format!("a tensor of that name or {with}"),
            ))
        }
    }
}
