//! Training of a bundle's codec through the whole distributed computation.
//!
//! The exact model's own features are what the distributed model is to come close to, so no labels are needed. What is trained
//! belongs to the codec: the transform, the codebooks of both stages, the predictions, and the maps from what is decoded to keys
//! and values. The model's weights stay as they are, and with them the answer of one device.
//!
//! Layers, lowest first:
//! - `error`: why a bundle could not be tuned
//! - `ops`: operators with gradients
//! - `model`: the model in candle, from the bundle's weights
//! - `codec`: the trained tensors, and what receivers decode of them
//! - `pass`: one input through all members, and its gradients
//! - `loss`: how far features are from those of the exact model
//! - `noise`: noise like the error of the codes
//! - `optimizer`: AdamW, and its schedule
//! - `workers`: inputs of a step on several threads
//! - `data`: what is trained on
//! - `held_out`: agreement on what is not trained on
//! - `checkpoint`: the state of a training on disk
//! - `run`: the training of one rung
//! - `write`: trained rungs in a bundle

pub mod checkpoint;
mod codec;
mod data;
mod error;
mod held_out;
mod loss;
mod model;
mod noise;
mod ops;
mod optimizer;
mod pass;
mod run;
#[cfg(test)]
mod tests;
mod workers;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use astra_bundle::Bundle;
use astra_model::engine::Runtime;

use data::Examples;
use held_out::HeldOut;
use model::Transformer;
use run::{Bench, Rung};
use write::Trained;

pub use error::TuneError;
pub use held_out::{MEMBERS, Score};
pub use optimizer::Rate;
pub use run::{Outcome, Settings, Told};

/// Fewest inputs of either kind.
const FEWEST: usize = 4;

/// What to train, and on what.
pub struct Training<'a> {
    /// The bundle to begin with.
    pub bundle: &'a Bundle,
    /// Where the new one goes.
    pub out: &'a Path,
    /// Folder or file that the inputs are from, for people.
    pub data: &'a Path,
    /// Photographs to train on.
    pub train: Vec<PathBuf>,
    /// Photographs to measure agreement on.
    pub held_out: &'a [PathBuf],
    /// Rungs to train, one after another.
    pub rungs: &'a [u32],
    /// How.
    pub settings: &'a Settings,
    /// Time for each rung at most.
    pub limit: Option<Duration>,
    /// Threads that train.
    pub threads: usize,
}

impl Training<'_> {
    /// Trains the rungs and writes the bundle. A checkpoint of each rung is kept in [`checkpoint::folder`] until then.
    ///
    /// # Errors
    /// Any error that stops the training. Checkpoints are kept, and the same call resumes from them.
    pub fn run(
        self,
        runtime: &Runtime,
        tell: &mut dyn FnMut(&Told),
    ) -> Result<(Bundle, Vec<Outcome>), TuneError> {
        let bundle = self.bundle;
        self.check_inputs()?;
        let rungs = self.rungs.iter().map(|&bits| Rung::read(bundle, bits));
        let rungs = rungs.collect::<Result<Vec<_>, _>>()?;
        let settings = self.settings;
        let mut bench = Bench {
            model: Transformer::read(bundle)?,
            held_out: HeldOut::photographs(runtime, bundle, self.held_out)?,
            examples: Examples::photographs(
                runtime,
                bundle,
                self.train,
                &settings.devices,
                settings.seed,
            )?,
            settings,
            limit: self.limit,
            threads: self.threads,
            bundle: bundle.short_hash(),
        };
        let folder = checkpoint::folder(self.out);
        let source = self.data.file_name().unwrap_or(self.data.as_os_str());
        let (mut trained, mut outcomes) = (Vec::new(), Vec::new());
        for rung in rungs {
            let (bits, frame) = (rung.bits, rung.frame.clone());
            let (values, outcome) = bench.train(rung, &folder, tell)?;
            let better = outcome.after != outcome.before;
            trained.push(Trained {
                bits,
                frame,
                values,
                note: better
                    .then(|| format!("tuned, {} steps on {}", outcome.steps, source.display())),
            });
            outcomes.push(outcome);
        }
        let written = write::write(bundle, self.out, &trained)?;
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TuneError::io("remove", &folder)(error))
            }
            _ => Ok((written, outcomes)),
        }
    }

    fn check_inputs(&self) -> Result<(), TuneError> {
        let found = self.train.len() + self.held_out.len();
        if self.train.len() < FEWEST || self.held_out.len() < FEWEST {
            return Err(TuneError::TooFew {
                path: self.data.to_owned(),
                what: "photographs",
                found,
                expected: 2 * FEWEST,
            });
        }
        Ok(())
    }
}
