//! Bindings of a member's buffers to the inputs and outputs of sessions.

use ort::session::{IoBinding, Session};
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::buffers::{Buffers, EmbedInput, MlpBuffers};
use super::codec::Matrices;
use super::per_block::PerBlock;
use super::{EngineError, Modality};

/// Builds a binding.
pub(super) struct BindingBuilder {
    binding: IoBinding,
    step: &'static str,
}

impl BindingBuilder {
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

    pub(super) fn build(self) -> IoBinding {
        self.binding
    }
}

/// Runs a session on what is bound.
pub(super) fn run(
    session: &mut Session,
    binding: &IoBinding,
    step: &'static str,
) -> Result<(), EngineError> {
    session
        .run_binding(binding)
        .map(drop)
        .map_err(EngineError::run(step))
}

/// Runs the session of a block on what is bound for it.
pub(super) fn run_block(
    sessions: &mut [Session],
    bindings: &[IoBinding],
    block: usize,
    step: &'static str,
) -> Result<(), EngineError> {
    let blocks = sessions.len();
    match (sessions.get_mut(block), bindings.get(block)) {
        (Some(session), Some(binding)) => run(session, binding, step),
        _ => Err(EngineError::NoSuchBlock {
            found: block,
            blocks,
        }),
    }
}

pub(super) fn embed(
    session: &Session,
    modality: Modality,
    first_block: &Matrices,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let bind = BindingBuilder::new(session, "bind embed")?;
    let bind = match &buffers.input {
        EmbedInput::Image { pixels, first } => {
            bind.input("pixels", pixels)?.input("first", first)?
        }
        EmbedInput::Text { ids, positions, .. } => {
            let bind = bind.input("ids", ids)?;
            match modality {
                Modality::Text {
                    learned_positions: true,
                    ..
                } => bind.input("positions", positions)?,
                _ => bind,
            }
        }
    };
    Ok(bind
        .input("enc_w", &first_block.enc_w)?
        .input("enc_b", &first_block.enc_b)?
        .output("x", &mut buffers.x)?
        .output("n", &mut buffers.n)?
        .output("y", buffers.y.get_mut(0)?)?
        .build())
}

pub(super) fn local(
    session: &Session,
    modality: Modality,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let bind = BindingBuilder::new(session, "bind local")?.input("n", &buffers.n)?;
    let bind = match &buffers.input {
        EmbedInput::Text { positions, .. } if modality.is_rotary() => {
            bind.input("positions", positions)?
        }
        _ => bind,
    };
    Ok(bind
        .output("q", &mut buffers.q)?
        .output("k", &mut buffers.k)?
        .output("v", &mut buffers.v)?
        .build())
}

pub(super) fn exact(
    session: &Session,
    block: usize,
    remote: &PerBlock,
    remote_kv: &mut Tensor<f32>,
) -> Result<IoBinding, EngineError> {
    let bind = BindingBuilder::new(session, "bind exact")?.input("n", remote.get(block)?)?;
    Ok(bind.output("kv", remote_kv)?.build())
}

pub(super) fn attend(
    session: &Session,
    modality: Modality,
    (block, matrices): (usize, &Matrices),
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let remote = match &buffers.remote_kv {
        Some(remote_kv) => remote_kv,
        None => buffers.remote.get(block)?,
    };
    let mut bind = BindingBuilder::new(session, "bind attend")?
        .input("x", &buffers.x)?
        .input("q", &buffers.q)?
        .input("k", &buffers.k)?
        .input("v", &buffers.v)?
        .input("remote", remote)?
        .input("dec_w", &matrices.dec_w)?
        .input("dec_b", &matrices.dec_b)?
        .output("x_out", &mut buffers.attended)?;
    if let EmbedInput::Text {
        remote_positions, ..
    } = &buffers.input
        && modality.is_rotary()
    {
        bind = bind.input("remote_positions", remote_positions)?;
    }
    if let Some(kv) = &mut buffers.attended_kv {
        bind = bind
            .output("keys", &mut kv.keys)?
            .output("values", &mut kv.values)?;
    }
    Ok(bind.build())
}

/// `next` is the next block with its matrices, for which `mlp` also projects; the last block has none.
pub(super) fn mlp(
    session: &Session,
    next: Option<(usize, &Matrices)>,
    buffers: &mut MlpBuffers<'_>,
) -> Result<IoBinding, EngineError> {
    let bind = BindingBuilder::new(session, "bind mlp")?
        .input("x", buffers.attended)?
        .output("x_out", buffers.x)?
        .output("n_out", buffers.n)?;
    let Some((block, next)) = next else {
        return Ok(bind.build());
    };
    Ok(bind
        .input("enc_w", &next.enc_w)?
        .input("enc_b", &next.enc_b)?
        .output("y_out", buffers.y.get_mut(block)?)?
        .build())
}
