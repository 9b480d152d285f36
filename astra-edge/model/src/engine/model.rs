//! The per-block sessions of a bundle.

use std::path::Path;

use astra_bundle::{Shape, exact_name};
use ort::session::Session;

use super::graph::open;
use super::{EngineError, Heartbeat, Modality, Runtime};

/// Sessions of `embed`, and of `local`, `attend` and `mlp` of every block. They serve every rung and token range, because the codec's
/// matrices are inputs.
pub struct Model {
    pub(super) embed: Session,
    pub(super) local: Vec<Session>,
    pub(super) attend: Vec<Session>,
    pub(super) mlp: Vec<Session>,
    /// Of every block, where exact mode decodes with graphs.
    pub(super) exact: Vec<Session>,
    /// In bundles with rungs that predict.
    pub(super) predict: Option<Session>,
    shape: Shape,
    modality: Modality,
    heartbeat: Heartbeat,
}

impl Model {
    /// Opens the graphs in `dir`, a bundle or the draft of one.
    ///
    /// # Errors
    /// A graph is missing, is refused by ONNX Runtime, or has other inputs or outputs than the format defines.
    pub fn open(
        runtime: &Runtime,
        dir: &Path,
        shape: &Shape,
        modality: Modality,
    ) -> Result<Self, EngineError> {
        let mut local = Vec::with_capacity(shape.blocks);
        let mut attend = Vec::with_capacity(shape.blocks);
        let mut mlp = Vec::with_capacity(shape.blocks);
        for block in 0..shape.blocks {
            let path = dir.join(format!("local_{block:02}.onnx"));
            local.push(open(
                runtime,
                &path,
                &local_inputs(modality),
                &["q", "k", "v"],
            )?);
            let path = dir.join(format!("attend_{block:02}.onnx"));
            let (inputs, outputs) = (attend_inputs(modality), attend_outputs(modality));
            attend.push(open(runtime, &path, &inputs, outputs)?);
            let path = dir.join(format!("mlp_{block:02}.onnx"));
            let (inputs, outputs) = mlp_interface(block + 1 == shape.blocks);
            mlp.push(open(runtime, &path, inputs, outputs)?);
        }
        let exact = |block| dir.join(format!("{}.onnx", exact_name(block)));
        let with_graphs = (0..shape.blocks).filter(|_| exact(0).exists());
        let exact = with_graphs.map(|block| open(runtime, &exact(block), &["n"], &["kv"]));
        let predict = dir.join("predict.onnx");
        let predict = predict
            .exists()
            .then(|| open(runtime, &predict, &["state", "w", "b"], &["predicted"]))
            .transpose()?;
        Ok(Self {
            predict,
            exact: exact.collect::<Result<_, _>>()?,
            embed: open(
                runtime,
                &dir.join("embed.onnx"),
                &embed_inputs(modality),
                &["x", "n", "y"],
            )?,
            local,
            attend,
            mlp,
            shape: *shape,
            modality,
            heartbeat: Heartbeat::default(),
        })
    }

    /// Sets what beats at every block of a job.
    pub fn set_heartbeat(&mut self, heartbeat: Heartbeat) {
        self.heartbeat = heartbeat;
    }

    /// Reports that a block of a job begins.
    pub fn beat(&self) {
        self.heartbeat.beat();
    }

    /// Dimensions of the Transformer.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The kind of input the model takes.
    pub fn modality(&self) -> Modality {
        self.modality
    }
}

fn embed_inputs(modality: Modality) -> Vec<&'static str> {
    let mut inputs = match modality {
        Modality::Image { .. } => vec!["pixels", "first"],
        Modality::Text {
            learned_positions, ..
        } => [&["ids"][..], positions(learned_positions)].concat(),
    };
    inputs.extend(["enc_w", "enc_b"]);
    inputs
}

fn local_inputs(modality: Modality) -> Vec<&'static str> {
    [&["n"][..], positions(modality.is_rotary())].concat()
}

fn positions(taken: bool) -> &'static [&'static str] {
    if taken { &["positions"] } else { &[] }
}

fn attend_inputs(modality: Modality) -> Vec<&'static str> {
    let mut inputs = vec!["x", "q", "k", "v", "remote", "dec_w", "dec_b"];
    if modality.is_rotary() {
        inputs.push("remote_positions");
    }
    inputs
}

fn attend_outputs(modality: Modality) -> &'static [&'static str] {
    match modality.is_causal() {
        true => &["x_out", "keys", "values"],
        false => &["x_out"],
    }
}

/// Inputs and outputs of `mlp`. In the last block there is no next block to project for.
fn mlp_interface(last: bool) -> (&'static [&'static str], &'static [&'static str]) {
    match last {
        true => (&["x"], &["x_out", "n_out"]),
        false => (&["x", "enc_w", "enc_b"], &["x_out", "n_out", "y_out"]),
    }
}
