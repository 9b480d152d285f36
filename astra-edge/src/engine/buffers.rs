//! Tensors that live as long as a plan and the bindings that tie them to sessions.

use ort::memory::Allocator;
use ort::session::IoBinding;
use ort::session::Session;
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::EngineError;

/// Everything a member computes in. `x` has two places, for a block reads one and writes the other.
pub(super) struct Buffers {
    pub(super) pixels: Tensor<u8>,
    pub(super) first: Tensor<i64>,
    pub(super) x: [Tensor<f32>; 2],
    pub(super) n: Tensor<f32>,
    pub(super) y: Tensor<f32>,
    pub(super) q: Tensor<f32>,
    pub(super) k: Tensor<f32>,
    pub(super) v: Tensor<f32>,
    pub(super) remote: Tensor<f32>,
}

/// Sizes of [`Buffers`].
pub(super) struct Sizes {
    /// Own rows, class tokens counted: m.
    pub(super) rows: usize,
    /// Own patch tokens: t.
    pub(super) tokens: usize,
    /// Bytes of pixels a token.
    pub(super) pixels: usize,
    /// Remote tokens: r.
    pub(super) remote: usize,
    /// Hidden width: D.
    pub(super) hidden: usize,
    /// Width of keys: W.
    pub(super) kv: usize,
    /// Columns of y.
    pub(super) coded: usize,
    /// Columns of `remote`.
    pub(super) rank: usize,
}

impl Buffers {
    pub(super) fn new(sizes: &Sizes) -> Result<Self, EngineError> {
        Ok(Self {
            pixels: zeros([sizes.tokens, sizes.pixels])?,
            first: zeros([1])?,
            x: [
                zeros([sizes.rows, sizes.hidden])?,
                zeros([sizes.rows, sizes.hidden])?,
            ],
            n: zeros([sizes.rows, sizes.hidden])?,
            y: zeros([sizes.tokens, sizes.coded])?,
            q: zeros([sizes.rows, sizes.hidden])?,
            k: zeros([sizes.rows, sizes.kv])?,
            v: zeros([sizes.rows, sizes.kv])?,
            remote: zeros([sizes.remote, sizes.rank])?,
        })
    }
}

/// A tensor in ONNX Runtime's memory, zeroed.
pub(super) fn zeros<T: PrimitiveTensorElementType + std::fmt::Debug, const N: usize>(
    shape: [usize; N],
) -> Result<Tensor<T>, EngineError> {
    Tensor::new(&Allocator::default(), shape).map_err(EngineError::run("allocate a tensor"))
}

/// A binding under construction.
pub(super) struct Bind {
    binding: IoBinding,
    step: &'static str,
}

impl Bind {
    pub(super) fn new(session: &Session, step: &'static str) -> Result<Self, EngineError> {
        let binding = session.create_binding().map_err(EngineError::run(step))?;
        Ok(Self { binding, step })
    }

    pub(super) fn input<T: PrimitiveTensorElementType + std::fmt::Debug>(
        mut self,
        name: &str,
        tensor: &Tensor<T>,
    ) -> Result<Self, EngineError> {
        self.binding
            .bind_input(name, tensor)
            .map_err(EngineError::run(self.step))?;
        Ok(self)
    }

    pub(super) fn output(
        mut self,
        name: &str,
        tensor: &mut Tensor<f32>,
    ) -> Result<Self, EngineError> {
        self.binding
            .bind_output(name, tensor)
            .map_err(EngineError::run(self.step))?;
        Ok(self)
    }

    pub(super) fn done(self) -> IoBinding {
        self.binding
    }
}
