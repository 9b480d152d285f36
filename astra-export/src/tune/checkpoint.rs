//! The state of a training on disk, from which a stopped run goes on.
//!
//! One safetensors file a rung: values, moments and the best values so far as tensors; the rest as JSON in its metadata.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::TuneError;
use super::codec::{BlockTensors, Values};
use super::held_out::Score;
use super::optimizer::Optimizer;

/// Key of the metadata.
const STATE: &str = "state";

/// What a checkpoint must agree with to be gone on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Short hash of the bundle.
    pub(super) bundle: String,
    pub(super) bits: u32,
    /// Everything that decides what is trained.
    pub(super) settings: String,
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) step: usize,
    /// Seconds of training so far.
    pub(super) seconds: f64,
    /// Of the bundle as it was given.
    pub(super) before: Score,
    pub(super) best: Score,
    /// Measurements since the best.
    pub(super) since_best: usize,
    /// Whether it ended.
    pub(super) is_done: bool,
}

/// The state of a training.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) position: Position,
    pub(super) values: Values,
    pub(super) best: Values,
    pub(super) optimizer: Optimizer,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    origin: Origin,
    position: Position,
    optimizer_steps: usize,
    gradient_length: f64,
}

/// Where checkpoints of a bundle that is to lie at `out` are kept: beside it.
pub fn folder(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".tuning");
    out.with_file_name(name)
}

/// The file of a rung.
pub(super) fn file(folder: &Path, bits: u32) -> PathBuf {
    folder.join(format!("rung-{bits}.safetensors"))
}

impl State {
    /// Tensors of one kind: `values.03.enc_w`.
    fn parts(&self) -> [(&'static str, &[BlockTensors<Vec<f32>>]); 4] {
        let [first, second] = &self.optimizer.moments;
        [
            ("values", &self.values),
            ("best", &self.best),
            ("first", first),
            ("second", second),
        ]
    }

    fn parts_mut(&mut self) -> [(&'static str, &mut [BlockTensors<Vec<f32>>]); 4] {
        let [first, second] = &mut self.optimizer.moments;
        [
            ("values", &mut self.values),
            ("best", &mut self.best),
            ("first", first),
            ("second", second),
        ]
    }

    /// Writes the checkpoint, whole or not at all.
    ///
    /// # Errors
    /// [`TuneError::Io`]
    pub(super) fn save(&self, path: &Path, origin: &Origin) -> Result<(), TuneError> {
        let metadata = Metadata {
            origin: origin.clone(),
            position: self.position.clone(),
            optimizer_steps: self.optimizer.steps,
            gradient_length: self.optimizer.length,
        };
        let invalid = |error: String| TuneError::io("write", path)(std::io::Error::other(error));
        let json = serde_json::to_string(&metadata).map_err(|error| invalid(error.to_string()))?;
        let mut views = Vec::new();
        for (kind, blocks) in self.parts() {
            for (block, tensors) in blocks.iter().enumerate() {
                for (name, values) in tensors.names().zip(tensors.each()) {
                    let bytes = bytemuck::cast_slice(values);
                    let view = TensorView::new(Dtype::F32, vec![values.len()], bytes)
                        .map_err(|error| invalid(error.to_string()))?;
                    views.push((tensor_name(kind, block, name), view));
                }
            }
        }
        let metadata = HashMap::from([(STATE.to_owned(), json)]);
        let bytes = serialize(views, Some(metadata)).map_err(|error| invalid(error.to_string()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(TuneError::io("create", folder))?;
        }
        let unfinished = path.with_extension("unfinished");
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(TuneError::io("write", &unfinished))?;
        std::fs::rename(&unfinished, path).map_err(TuneError::io("rename", &unfinished))
    }

    /// Takes over what a checkpoint has; false if there is none.
    ///
    /// # Errors
    /// It does not read, or is of another training.
    pub(super) fn resume(&mut self, path: &Path, origin: &Origin) -> Result<bool, TuneError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(TuneError::io("read", path)(error)),
        };
        let damaged = |found: String| {
            let expected = "a checkpoint of tune; remove it to begin anew";
            TuneError::mismatch(path, "content", found, expected)
        };
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let json = header.metadata().as_ref().and_then(|all| all.get(STATE));
        let json = json.ok_or_else(|| damaged("no state".to_owned()))?;
        let metadata: Metadata =
            serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
        check_origin(path, &metadata.origin, origin)?;
        let tensors =
            SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        for (kind, blocks) in self.parts_mut() {
            for (block, of_block) in blocks.iter_mut().enumerate() {
                let names: Vec<_> = of_block.names().collect();
                for (name, values) in names.into_iter().zip(of_block.each_mut()) {
                    let name = tensor_name(kind, block, name);
                    let tensor = tensors.tensor(&name).map_err(|e| damaged(e.to_string()))?;
                    let found: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
                    if tensor.dtype() != Dtype::F32 || found.len() != values.len() {
                        return Err(damaged(format!("{name} of another shape")));
                    }
                    *values = found;
                }
            }
        }
        self.position = metadata.position;
        self.optimizer.steps = metadata.optimizer_steps;
        self.optimizer.length = metadata.gradient_length;
        Ok(true)
    }
}

fn check_origin(path: &Path, found: &Origin, expected: &Origin) -> Result<(), TuneError> {
    let remove = |expected: &dyn std::fmt::Display| {
        format!("{expected}; remove it to begin anew, or give the settings it was made with")
    };
    for (what, found, expected) in [
        ("bundle", &found.bundle, &expected.bundle),
        ("settings", &found.settings, &expected.settings),
    ] {
        if found != expected {
            return Err(TuneError::mismatch(path, what, found, remove(expected)));
        }
    }
    if found.bits != expected.bits {
        let expected = remove(&expected.bits);
        return Err(TuneError::mismatch(path, "rung", found.bits, expected));
    }
    Ok(())
}

fn tensor_name(kind: &str, block: usize, name: &str) -> String {
    format!("{kind}.{block:02}.{name}")
}
