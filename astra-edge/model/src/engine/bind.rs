//! Bindings of a member's buffers to the sessions.

use ort::session::{IoBinding, Session};
use ort::value::{PrimitiveTensorElementType, Tensor};

use super::buffers::{Buffers, Source};
use super::codec::Matrices;
use super::pieces::MlpRows;
use super::{EngineError, Form};

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
    form: Form,
    first_block: &Matrices,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let bind = Bind::new(session, "bind embed")?;
    let bind = match &buffers.source {
        Source::Image { pixels, first } => bind.input("pixels", pixels)?.input("first", first)?,
        Source::Text { ids, positions, .. } => {
            let bind = bind.input("ids", ids)?;
            match form {
                Form::Text {
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
        .output("y", &mut buffers.y)?
        .done())
}

pub(super) fn local(
    session: &Session,
    form: Form,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let bind = Bind::new(session, "bind local")?.input("n", &buffers.n)?;
    let bind = match &buffers.source {
        Source::Text { positions, .. } if form.is_rotary() => bind.input("positions", positions)?,
        _ => bind,
    };
    Ok(bind
        .output("q", &mut buffers.q)?
        .output("k", &mut buffers.k)?
        .output("v", &mut buffers.v)?
        .done())
}

pub(super) fn attend(
    session: &Session,
    form: Form,
    own: &Matrices,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let mut bind = Bind::new(session, "bind attend")?
        .input("x", &buffers.x)?
        .input("q", &buffers.q)?
        .input("k", &buffers.k)?
        .input("v", &buffers.v)?
        .input("remote", &buffers.remote)?
        .input("dec_w", &own.dec_w)?
        .input("dec_b", &own.dec_b)?
        .output("x_out", &mut buffers.attended)?;
    if let Source::Text {
        remote_positions, ..
    } = &buffers.source
        && form.is_rotary()
    {
        bind = bind.input("remote_positions", remote_positions)?;
    }
    if let Some(seen) = &mut buffers.seen {
        bind = bind
            .output("keys", &mut seen.keys)?
            .output("values", &mut seen.values)?;
    }
    Ok(bind.done())
}

/// `next` is of the block behind, where there is one.
pub(super) fn mlp(
    session: &Session,
    next: Option<&Matrices>,
    rows: &mut MlpRows<'_>,
) -> Result<IoBinding, EngineError> {
    let bind = Bind::new(session, "bind mlp")?
        .input("x", rows.attended)?
        .output("x_out", rows.x)?
        .output("n_out", rows.n)?;
    let Some(next) = next else {
        return Ok(bind.done());
    };
    Ok(bind
        .input("enc_w", &next.enc_w)?
        .input("enc_b", &next.enc_b)?
        .output("y_out", rows.y)?
        .done())
}
