//! The per-block sessions of a bundle.

use std::path::Path;

use astra_bundle::Shape;
use ort::session::Session;

use super::{EngineError, Runtime};

/// Sessions of `embed`, and of `local` and `attend` of every block. One set serves every rung and token range, for the
/// codec's matrices are inputs.
pub struct Model {
    pub(super) embed: Session,
    pub(super) local: Vec<Session>,
    pub(super) attend: Vec<Session>,
    shape: Shape,
}

impl Model {
    /// Opens the graphs in `dir`, a bundle or one that is still being written.
    ///
    /// # Errors
    /// A graph is missing, is refused by ONNX Runtime, or has other inputs or outputs than the format says.
    pub fn open(runtime: &Runtime, dir: &Path, shape: &Shape) -> Result<Self, EngineError> {
        let embed = open(
            runtime,
            &dir.join("embed.onnx"),
            &["pixels", "first", "enc_w", "enc_b"],
            &["x", "n", "y"],
        )?;
        let mut local = Vec::with_capacity(shape.blocks);
        let mut attend = Vec::with_capacity(shape.blocks);
        for block in 0..shape.blocks {
            local.push(open(
                runtime,
                &dir.join(format!("local_{block:02}.onnx")),
                &["n"],
                &["q", "k", "v"],
            )?);
            let path = dir.join(format!("attend_{block:02}.onnx"));
            let last = block + 1 == shape.blocks;
            attend.push(if last {
                open(runtime, &path, &ATTEND_INPUTS[..7], &["x_out", "n_out"])?
            } else {
                open(runtime, &path, &ATTEND_INPUTS, &["x_out", "n_out", "y_out"])?
            });
        }
        Ok(Self {
            embed,
            local,
            attend,
            shape: *shape,
        })
    }

    /// Dimensions of the Transformer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// Inputs of `attend`; the last block has no next block to project for, and lacks the last two.
const ATTEND_INPUTS: [&str; 9] = [
    "x", "q", "k", "v", "remote", "dec_w", "dec_b", "enc_w", "enc_b",
];

pub(super) fn open(
    runtime: &Runtime,
    path: &Path,
    inputs: &[&str],
    outputs: &[&str],
) -> Result<Session, EngineError> {
    let session = runtime.session(path)?;
    let found: Vec<&str> = session.inputs().iter().map(|side| side.name()).collect();
    check(path, "inputs", &found, inputs)?;
    let found: Vec<&str> = session.outputs().iter().map(|side| side.name()).collect();
    check(path, "outputs", &found, outputs)?;
    Ok(session)
}

/// Bindings go by name, so the order does not matter.
fn check(
    path: &Path,
    what: &'static str,
    found: &[&str],
    expected: &[&str],
) -> Result<(), EngineError> {
    if found.len() == expected.len() && expected.iter().all(|name| found.contains(name)) {
        return Ok(());
    }
    Err(EngineError::Interface {
        path: path.to_owned(),
        what,
        found: found.join(", "),
        expected: expected.join(", "),
    })
}
