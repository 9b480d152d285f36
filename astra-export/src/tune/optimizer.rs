//! AdamW on tensors of different magnitude, and its schedule.

use serde::{Deserialize, Serialize};

use super::codec::{BlockTensors, Values};

const BETA: [f32; 2] = [0.9, 0.99];
const EPSILON: f32 = 1e-12;
/// Smallest unit, for tensors of zeros.
const SMALLEST: f32 = 1e-4;
/// Steps of warm-up, as a share of all.
const WARM_UP: f64 = 0.05;

/// How fast to train.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Largest change of a value a step, in units of the root of the mean square of its tensor.
    pub rate: f64,
    /// Share of a value that is lost a step, in units of the rate (Loshchilov and Hutter, 2019).
    pub decay: f64,
    /// Longest gradient, in units of the mean length so far.
    pub clip: f64,
}

/// AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019). Tensors are trained in units of the root of their mean square, so
/// that one rate is right for all; so is the length of their gradient, which is clipped where it is much longer than usual.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Optimizer {
    /// Units of the tensors.
    units: Vec<BlockTensors<f32>>,
    /// First and second moments of gradients in these units.
    pub(super) moments: [Values; 2],
    pub(super) steps: usize,
    /// Mean length of the gradients so far.
    pub(super) length: f64,
}

impl Optimizer {
    pub(super) fn new(values: &[BlockTensors<Vec<f32>>]) -> Self {
        let zeros: Vec<_> = values
            .iter()
            .map(|block| block.map(|values| vec![0.0; values.len()]))
            .collect();
        Self {
            units: values.iter().map(|block| block.map(|v| unit(v))).collect(),
            moments: [zeros.clone(), zeros],
            steps: 0,
            length: 0.0,
        }
    }

    /// One step by `gradients` at `rate` times what the schedule says.
    pub(super) fn step(
        &mut self,
        values: &mut [BlockTensors<Vec<f32>>],
        gradients: &[BlockTensors<Vec<f32>>],
        rate: &Rate,
        scheduled: f64,
    ) {
        self.steps += 1;
        let scale = self.clipped(gradients, rate.clip);
        let correction = BETA.map(|beta| 1.0 - beta.powf(self.steps as f32));
        let step = (rate.rate * scheduled) as f32;
        let kept = 1.0 - step * rate.decay as f32;
        let [first, second] = &mut self.moments;
        let tensors = values.iter_mut().flat_map(BlockTensors::each_mut);
        let gradients = gradients.iter().flat_map(BlockTensors::each);
        let moments = first.iter_mut().flat_map(BlockTensors::each_mut);
        let moments = moments.zip(second.iter_mut().flat_map(BlockTensors::each_mut));
        let units = self.units.iter().flat_map(BlockTensors::each);
        for ((values, gradients), ((first, second), &unit)) in
            tensors.zip(gradients).zip(moments.zip(units))
        {
            let moments = first.iter_mut().zip(second);
            for ((value, g), (m, v)) in values.iter_mut().zip(gradients).zip(moments) {
                let g = g * unit * scale;
                *m += (1.0 - BETA[0]) * (g - *m);
                *v += (1.0 - BETA[1]) * (g * g - *v);
                let change = *m / correction[0] / ((*v / correction[1]).sqrt() + EPSILON);
                *value = kept * *value - step * unit * change;
            }
        }
    }

    /// What gradients are multiplied by so that they are at most `clip` times as long as usual.
    fn clipped(&mut self, gradients: &[BlockTensors<Vec<f32>>], clip: f64) -> f32 {
        let gradients = gradients.iter().flat_map(BlockTensors::each);
        let units = self.units.iter().flat_map(BlockTensors::each);
        let squares = gradients.zip(units).map(|(gradient, &unit)| {
            let squares = gradient.iter().map(|&g| f64::from(g * unit).powi(2));
            squares.sum::<f64>()
        });
        let length = squares.sum::<f64>().sqrt();
        let longest = clip * self.length;
        let scale = match self.steps > 1 && length > longest {
            true => longest / length,
            false => 1.0,
        };
        let share = 1.0 / self.steps.min(20) as f64;
        self.length += share * (length * scale - self.length);
        scale as f32
    }
}

fn unit(values: &[f32]) -> f32 {
    let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let root = (squares / values.len().max(1) as f64).sqrt() as f32;
    root.max(SMALLEST)
}

/// Share of the rate when the share `done` of the training is over: linear warm-up, then half a cosine (Loshchilov and Hutter,
/// SGDR, 2017).
pub(super) fn schedule(done: f64) -> f64 {
    if done < WARM_UP {
        return (done / WARM_UP).max(0.02);
    }
    let rest = ((done - WARM_UP) / (1.0 - WARM_UP)).clamp(0.0, 1.0);
    0.5 * (1.0 + (std::f64::consts::PI * rest).cos())
}
