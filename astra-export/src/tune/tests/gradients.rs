//! Gradients against finite differences of the loss, codes and refined tokens held fixed.

use astra_model::engine::Input;
use candle_core::{Device, Tensor};

use super::models::{BITS, HIDDEN, PATCH, PATCHES, Random};
use super::*;
use crate::tune::loss::Target;

/// A model and a rung, an input and what it is to become.
struct Case {
    model: Transformer,
    rung: Rung,
    division: Division,
    pixels: Vec<u8>,
    ids: Vec<u32>,
    is_image: bool,
    target: Target,
    commitment: f64,
}

impl Case {
    fn new(small: Small, tokens: &[u16], commitment: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = small.bundle(folder.path(), true);
        let model = Transformer::read(&bundle).unwrap();
        let shape = model.shape;
        let division = Division::new(shape.class_tokens, model.causal, &ranges(tokens));
        let mut random = Random::new(11);
        let count = division.tokens();
        let mut rows = |rows: usize| {
            let values = random.around(0.0, 1.0, rows * HIDDEN);
            Tensor::from_vec(values, (rows, HIDDEN), &Device::Cpu).unwrap()
        };
        Self {
            target: Target {
                class: (shape.class_tokens > 0).then(|| rows(shape.class_tokens)),
                tokens: rows(count),
            },
            rung: Rung::read(&bundle, BITS).unwrap(),
            pixels: random.bytes(PATCHES * 3 * PATCH * PATCH),
            ids: random.ids(shape.class_tokens + count),
            is_image: matches!(small, Small::Vit),
            model,
            division,
            commitment,
        }
    }

    fn input(&self) -> Input<'_> {
        match self.is_image {
            true => Input::Pixels(&self.pixels),
            false => Input::Ids(&self.ids),
        }
    }

    fn with_pass<T>(&self, values: &[BlockTensors<Vec<f32>>], f: impl FnOnce(&Pass<'_>) -> T) -> T {
        let step = Step::new(&self.rung.frame, &self.rung.shapes, values).unwrap();
        f(&Pass {
            model: &self.model,
            step: &step,
            division: &self.division,
            noise: &[],
            commitment: self.commitment,
        })
    }

    fn loss(&self, trace: &crate::tune::pass::Trace) -> f64 {
        let loss = self.target.loss(&self.model, &trace.x, &self.division);
        loss.unwrap().0 + self.commitment * trace.distortion
    }

    /// Largest difference of a gradient along random directions to finite differences, in the size of the gradient; and gradients
    /// that are zero.
    fn check(&self) {
        let values = &self.rung.values;
        let (trace, gradients) = self.with_pass(values, |pass| {
            let trace = pass.forward(self.input()).unwrap();
            let (_, gradient) = self
                .target
                .loss(&self.model, &trace.x, &self.division)
                .unwrap();
            let gradients = pass.backward(&trace, gradient).unwrap();
            (trace, gradients)
        });
        let mut random = Random::new(13);
        for (block, of_block) in gradients.iter().enumerate() {
            for (place, name) in of_block.names().enumerate() {
                let gradient = of_block.each().nth(place).unwrap();
                let gradient: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
                assert!(gradient.iter().any(|&g| g != 0.0), "{name} of {block}");
                // Along the gradient itself the difference is the largest, and rounding counts least.
                let mut direction = gradient.clone();
                let size = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
                let mixed = random.around(
                    0.0,
                    size(&gradient) / (gradient.len() as f32).sqrt(),
                    gradient.len(),
                );
                direction.iter_mut().zip(&mixed).for_each(|(d, m)| *d += m);
                let length = 4e-3 / size(&direction);
                let along = |sign: f32| {
                    let mut values = values.clone();
                    let moved = values[block].each_mut().nth(place).unwrap();
                    let steps = moved.iter_mut().zip(&direction);
                    steps.for_each(|(x, d)| *x += sign * length * d);
                    self.with_pass(&values, |pass| {
                        self.loss(&pass.forward_as(self.input(), &trace).unwrap())
                    })
                };
                let found = (along(1.0) - along(-1.0)) / f64::from(2.0 * length);
                let products = gradient.iter().zip(&direction).map(|(g, d)| g * d);
                let expected = f64::from(products.sum::<f32>());
                let scale = f64::from(size(&gradient) * size(&direction));
                let wrong = (found - expected).abs() / scale;
                assert!(wrong < 0.03, "{name} of {block}: {found} and {expected}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for small in Small::ALL {
        for tokens in [&[8, 8][..], &[3, 7, 1, 5]] {
            Case::new(small, tokens, 0.5).check();
        }
    }
}

#[test]
fn commitment_pulls_what_is_coded_to_the_words() {
    let gradient = |commitment: f64| {
        let case = Case::new(Small::Vit, &[8, 8], commitment);
        case.with_pass(&case.rung.values, |pass| {
            let trace = pass.forward(case.input()).unwrap();
            // Without a loss of the features, the distortion alone is left.
            let nothing = trace.x.zeros_like().unwrap();
            let gradients = pass.backward(&trace, nothing).unwrap();
            let before = trace.distortion;
            let values = case.rung.values.iter().zip(&gradients);
            let moved = values.map(|(values, gradients)| {
                let mut gradients = gradients.each();
                let moved = values.try_map(|values| {
                    let gradient = gradients.next().unwrap().flatten_all()?.to_vec1::<f32>()?;
                    let moved = values.iter().zip(gradient).map(|(x, g)| x - 0.02 * g);
                    Ok::<Vec<f32>, candle_core::Error>(moved.collect())
                });
                moved.unwrap()
            });
            let moved: Vec<_> = moved.collect();
            let after = case.with_pass(&moved, |pass| {
                pass.forward_as(case.input(), &trace).unwrap().distortion
            });
            (before, after)
        })
    };
    let (before, after) = gradient(1.0);
    assert!(after < 0.999 * before, "{before} to {after}");
    let (before, after) = gradient(0.0);
    assert_eq!(before, after);
}
