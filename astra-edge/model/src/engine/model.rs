//! The per-block sessions of a bundle.

use std::path::Path;

use astra_bundle::Shape;
use ort::session::Session;

use super::{Beat, EngineError, Form, Runtime};

/// Sessions of `embed`, and of `local`, `attend` and `mlp` of every block. One set serves every rung and token range, for the
/// codec's matrices are inputs.
pub struct Model {
    pub(super) embed: Session,
    pub(super) local: Vec<Session>,
    pub(super) attend: Vec<Session>,
    pub(super) mlp: Vec<Session>,
    /// Of bundles with rungs that predict.
    pub(super) predict: Option<Session>,
    shape: Shape,
    form: Form,
    beat: Beat,
}

impl Model {
    /// Opens the graphs in `dir`, a bundle or one that is still being written.
    ///
    /// # Errors
    /// A graph is missing, is refused by ONNX Runtime, or has other inputs or outputs than the format says.
    pub fn open(
        runtime: &Runtime,
        dir: &Path,
        shape: &Shape,
        form: Form,
    ) -> Result<Self, EngineError> {
        let mut local = Vec::with_capacity(shape.blocks);
        let mut attend = Vec::with_capacity(shape.blocks);
        let mut mlp = Vec::with_capacity(shape.blocks);
        for block in 0..shape.blocks {
            let path = dir.join(format!("local_{block:02}.onnx"));
            local.push(open(runtime, &path, &local_inputs(form), &["q", "k", "v"])?);
            let path = dir.join(format!("attend_{block:02}.onnx"));
            let (inputs, outputs) = (attend_inputs(form), attend_outputs(form));
            attend.push(open(runtime, &path, &inputs, outputs)?);
            let path = dir.join(format!("mlp_{block:02}.onnx"));
            let (inputs, outputs) = mlp_sides(block + 1 == shape.blocks);
            mlp.push(open(runtime, &path, inputs, outputs)?);
        }
        let predict = dir.join("predict.onnx");
        let predict = predict
            .exists()
            .then(|| open(runtime, &predict, &["state", "w", "b"], &["predicted"]))
            .transpose()?;
        Ok(Self {
            predict,
            embed: open(
                runtime,
                &dir.join("embed.onnx"),
                &embed_inputs(form),
                &["x", "n", "y"],
            )?,
            local,
            attend,
            mlp,
            shape: *shape,
            form,
            beat: Beat::default(),
        })
    }

    /// Has `beat` told of every block of a job.
    pub fn tell(&mut self, beat: Beat) {
        self.beat = beat;
    }

    /// A block of a job begins.
    pub fn beat(&self) {
        self.beat.beat();
    }

    /// Dimensions of the Transformer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What the model takes in, and which of its tokens attend to which.
    pub fn form(&self) -> Form {
        self.form
    }
}

fn embed_inputs(form: Form) -> Vec<&'static str> {
    let mut inputs = match form {
        Form::Image { .. } => vec!["pixels", "first"],
        Form::Text {
            learned_positions, ..
        } => [&["ids"][..], positions(learned_positions)].concat(),
    };
    inputs.extend(["enc_w", "enc_b"]);
    inputs
}

fn local_inputs(form: Form) -> Vec<&'static str> {
    [&["n"][..], positions(form.is_rotary())].concat()
}

fn positions(taken: bool) -> &'static [&'static str] {
    if taken { &["positions"] } else { &[] }
}

fn attend_inputs(form: Form) -> Vec<&'static str> {
    let mut inputs = vec!["x", "q", "k", "v", "remote", "dec_w", "dec_b"];
    if form.is_rotary() {
        inputs.push("remote_positions");
    }
    inputs
}

fn attend_outputs(form: Form) -> &'static [&'static str] {
    match form.is_causal() {
        true => &["x_out", "keys", "values"],
        false => &["x_out"],
    }
}

/// Inputs and outputs. The last block has no next block to project for.
fn mlp_sides(last: bool) -> (&'static [&'static str], &'static [&'static str]) {
    match last {
        true => (&["x"], &["x_out", "n_out"]),
        false => (&["x", "enc_w", "enc_b"], &["x_out", "n_out", "y_out"]),
    }
}

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
