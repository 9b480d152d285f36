//! The training of one rung.

use std::path::Path;
use std::time::{Duration, Instant};

use astra_bundle::Bundle;
use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Origin, Position, State};
use super::codec::{BlockTensors, RungFrame, Values};
use super::data::{Example, Examples};
use super::held_out::{HeldOut, Score};
use super::model::Transformer;
use super::noise::Residuals;
use super::optimizer::{Optimizer, Rate, schedule};
use super::pass::{Pass, Step};
use super::{TuneError, workers};

/// Measurements without a better one after which a training ends.
const PATIENCE: usize = 8;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How fast.
    pub rate: Rate,
    /// Inputs of a step.
    pub batch: usize,
    /// Steps of a rung at most.
    pub steps: usize,
    /// Steps between measurements.
    pub measure_every: usize,
    /// Weight of the distortion of the codes in the loss.
    pub commitment: f64,
    /// Size of the noise, in that of the residuals.
    pub lambda: f64,
    /// Numbers of devices that inputs are divided among.
    pub devices: Vec<usize>,
    /// Seed of everything random.
    pub seed: u64,
}

/// What a training tells about itself after every step.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The rung.
    pub bits: u32,
    /// Steps done.
    pub step: usize,
    /// Share of the training that is over, by steps or time.
    pub done: f64,
    /// Loss of the step, mean over its inputs.
    pub loss: f64,
    /// Mean distortion of the codes, in the mean square of what is coded.
    pub distortion: f64,
    /// Agreement before training.
    pub before: Score,
    /// Best agreement so far.
    pub best: Score,
    /// Agreement now, where it was just measured.
    pub measured: Option<Score>,
}

/// What training came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// The rung.
    pub bits: u32,
    /// Steps done.
    pub steps: usize,
    /// Seconds of training.
    pub seconds: f64,
    /// Agreement before it.
    pub before: Score,
    /// Agreement of what was kept: at least that before.
    pub after: Score,
}

/// Everything that all rungs are trained with.
pub(super) struct Bench<'a> {
    pub(super) model: Transformer,
    pub(super) examples: Examples,
    pub(super) held_out: HeldOut,
    pub(super) settings: &'a Settings,
    /// Time for each rung at most.
    pub(super) limit: Option<Duration>,
    pub(super) threads: usize,
    pub(super) bundle: String,
}

/// A rung as read.
pub(super) struct Rung {
    pub(super) bits: u32,
    pub(super) frame: RungFrame,
    pub(super) shapes: Vec<BlockTensors<Vec<usize>>>,
    pub(super) values: Values,
}

impl Rung {
    /// # Errors
    /// The bundle has no such rung, or training it would change others.
    pub(super) fn read(bundle: &Bundle, bits: u32) -> Result<Self, TuneError> {
        let (frame, values) = RungFrame::read(bundle, bits)?;
        let shape = bundle.manifest().shape;
        let shapes = frame
            .blocks
            .iter()
            .zip(&values)
            .scan(0, |before, (frame, values)| {
                let rank = frame.perm.len();
                let words = |values: &Vec<f32>| vec![rank, values.len() / rank.max(1)];
                let shapes = BlockTensors {
                    enc_w: vec![rank, shape.hidden],
                    enc_b: vec![rank],
                    dec_w: vec![rank, 2 * shape.kv_width()],
                    dec_b: vec![2 * shape.kv_width()],
                    words: words(&values.words),
                    second: values.second.as_ref().map(words),
                    prediction: values
                        .prediction
                        .as_ref()
                        .map(|_| [vec![*before, rank], vec![rank]]),
                };
                *before = rank;
                Some(shapes)
            });
        Ok(Self {
            bits,
            shapes: shapes.collect(),
            frame,
            values,
        })
    }
}

/// Mean of a step over its inputs.
struct Mean {
    loss: f64,
    distortion: f64,
    gradients: Values,
}

impl Bench<'_> {
    /// Trains a rung, going on from the checkpoint in `folder` if there is one. Returns the best values.
    ///
    /// # Errors
    /// Any error that stops the training. The checkpoint is kept.
    pub(super) fn train(
        &mut self,
        rung: Rung,
        folder: &Path,
        tell: &mut dyn FnMut(&Told),
    ) -> Result<(Values, Outcome), TuneError> {
        let path = checkpoint::file(folder, rung.bits);
        let origin = self.origin(rung.bits)?;
        let mut state = self.begin(&rung)?;
        state.resume(&path, &origin)?;
        let mut residuals = Residuals::new(self.settings.lambda);
        let earlier = state.position.seconds;
        let started = Instant::now();
        while !state.position.is_done {
            let done = self.done(&state.position);
            let mean = self.step(&rung, &mut state, done, &mut residuals)?;
            state.position.seconds = earlier + started.elapsed().as_secs_f64();
            let done = self.done(&state.position);
            let step = state.position.step;
            let measure = step.is_multiple_of(self.settings.measure_every) || done >= 1.0;
            let measured = match measure {
                true => Some(self.measure(&rung, &mut state)?),
                false => None,
            };
            let patient = state.position.since_best < PATIENCE;
            state.position.is_done = done >= 1.0 || !patient;
            tell(&Told {
                bits: rung.bits,
                step,
                done: if patient { done } else { 1.0 },
                loss: mean.loss,
                distortion: mean.distortion,
                before: state.position.before,
                best: state.position.best,
                measured,
            });
            if measured.is_some() {
                state.save(&path, &origin)?;
            }
        }
        let position = &state.position;
        let outcome = Outcome {
            bits: rung.bits,
            steps: position.step,
            seconds: position.seconds,
            before: position.before,
            after: position.best,
        };
        Ok((state.best, outcome))
    }

    fn origin(&self, bits: u32) -> Result<Origin, TuneError> {
        let settings = serde_json::to_string(self.settings);
        let settings = settings.map_err(|error| candle_core::Error::msg(error.to_string()))?;
        Ok(Origin {
            bundle: self.bundle.clone(),
            bits,
            settings: format!("{settings} on {}", self.examples.name()),
        })
    }

    /// The state before the first step.
    fn begin(&mut self, rung: &Rung) -> Result<State, TuneError> {
        let before = self.held_out.score(&rung.frame, &rung.values)?;
        Ok(State {
            position: Position {
                step: 0,
                seconds: 0.0,
                before,
                best: before,
                since_best: 0,
                is_done: false,
            },
            values: rung.values.clone(),
            best: rung.values.clone(),
            optimizer: Optimizer::new(&rung.values),
        })
    }

    /// Share of the training that is over.
    fn done(&self, position: &Position) -> f64 {
        let steps = position.step as f64 / self.settings.steps.max(1) as f64;
        let limit = self.limit.map(|limit| limit.as_secs_f64());
        let time = limit.map_or(0.0, |limit| position.seconds / limit.max(f64::MIN_POSITIVE));
        steps.max(time).min(1.0)
    }

    /// Measures the present values, and keeps them if they are the best.
    fn measure(&mut self, rung: &Rung, state: &mut State) -> Result<Score, TuneError> {
        let score = self.held_out.score(&rung.frame, &state.values)?;
        let position = &mut state.position;
        let better = score.left(position.before) < position.best.left(position.before);
        if score.keeps(position.before) && better {
            position.best = score;
            position.since_best = 0;
            state.best.clone_from(&state.values);
        } else {
            position.since_best += 1;
        }
        Ok(score)
    }

    fn step(
        &mut self,
        rung: &Rung,
        state: &mut State,
        done: f64,
        residuals: &mut Residuals,
    ) -> Result<Mean, TuneError> {
        let batch = self.settings.batch;
        let first = (state.position.step * batch) as u64;
        let numbers = first..first + batch as u64;
        let examples = numbers.clone().map(|number| self.examples.get(number));
        let examples: Vec<_> = examples.collect::<Result<_, _>>()?;
        let examples: Vec<_> = examples.iter().zip(numbers).collect();
        let step = Step::new(&rung.frame, &rung.shapes, &state.values)?;
        let of_example =
            |(example, number): &(&Example, u64)| self.pass(&step, example, *number, residuals);
        let found = workers::map(self.threads, &examples, of_example)?;
        let mut mean: Option<Mean> = None;
        for (one, of_blocks) in found {
            if residuals.are_used() {
                residuals.measure(&of_blocks)?;
            }
            match &mut mean {
                Some(mean) => mean.add(&one),
                None => mean = Some(one),
            }
        }
        let mut mean = mean.ok_or_else(|| candle_core::Error::msg("found no inputs"))?;
        mean.divide(batch as f64);
        if !mean.loss.is_finite() {
            return Err(TuneError::Diverged {
                bits: rung.bits,
                step: state.position.step,
                loss: mean.loss,
            });
        }
        let rate = &self.settings.rate;
        let optimizer = &mut state.optimizer;
        optimizer.step(&mut state.values, &mean.gradients, rate, schedule(done));
        state.position.step += 1;
        Ok(mean)
    }

    /// Loss, distortion and gradients of one input, and its residuals if noise is made of them.
    fn pass(
        &self,
        step: &Step<'_>,
        example: &Example,
        number: u64,
        residuals: &Residuals,
    ) -> Result<(Mean, Vec<candle_core::Tensor>), TuneError> {
        let division = &example.division;
        let pass = Pass {
            model: &self.model,
            step,
            division,
            noise: &residuals.draw(division.tokens(), self.settings.seed ^ number)?,
            commitment: self.settings.commitment,
        };
        let trace = pass.forward(example.input())?;
        let target = &example.target;
        let (loss, gradient) = target.loss(&self.model, &trace.x, division)?;
        let gradients = pass.backward(&trace, gradient)?;
        let values = |block: &BlockTensors<candle_core::Tensor>| {
            block.try_map(|tensor| tensor.flatten_all()?.to_vec1::<f32>())
        };
        let gradients = gradients.iter().map(values);
        let kept = match residuals.are_used() {
            true => pass.residuals(&trace)?,
            false => Vec::new(),
        };
        let mean = Mean {
            loss,
            distortion: trace.distortion,
            gradients: gradients.collect::<Result<_, _>>()?,
        };
        Ok((mean, kept))
    }
}

impl Mean {
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.distortion += other.distortion;
        let blocks = self.gradients.iter_mut().zip(&other.gradients);
        for (sum, other) in blocks.flat_map(|(sum, other)| sum.each_mut().zip(other.each())) {
            sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
        }
    }

    fn divide(&mut self, count: f64) {
        self.loss /= count;
        self.distortion /= count;
        let tensors = self.gradients.iter_mut().flat_map(BlockTensors::each_mut);
        for values in tensors {
            values.iter_mut().for_each(|x| *x /= count as f32);
        }
    }
}
