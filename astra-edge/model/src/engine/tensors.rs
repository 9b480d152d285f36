//! Tensors in ONNX Runtime's memory.

use ort::memory::Allocator;
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::EngineError;

/// A tensor of zeros in ONNX Runtime's memory.
pub(super) fn zeros<T: PrimitiveTensorElementType + std::fmt::Debug, const N: usize>(
    shape: [usize; N],
) -> Result<Tensor<T>, EngineError> {
    Tensor::new(&Allocator::default(), shape).map_err(EngineError::run("allocate a tensor"))
}

/// A tensor in ONNX Runtime's memory, which bindings share without a copy.
pub(super) fn tensor<const N: usize>(
    values: &[f32],
    shape: [usize; N],
) -> Result<Tensor<f32>, EngineError> {
    let mut tensor = Tensor::<f32>::new(&Allocator::default(), shape)
        .map_err(EngineError::run("allocate a tensor"))?;
    let (_, place) = tensor.extract_tensor_mut();
    EngineError::length("tensor", values.len(), place.len())?;
    place.copy_from_slice(values);
    Ok(tensor)
}
