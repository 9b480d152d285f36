//! Small models with random weights.

use astra_export::family::vit::{
    BlockWeights, Classifier, Head, ImageScale, Pooling, Saliency, UpConvolution, VitModel,
};
use astra_export::family::weights::{Linear, Norm};
use astra_export::position::PositionTable;
use astra_export::source::{Content, Imported, ImportedVit};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(crate) const HIDDEN: usize = 24;
pub(crate) const HEADS: usize = 3;
pub(crate) const MLP: usize = 40;
pub(crate) const PATCH: usize = 3;
/// Side of the grid the position table is for.
pub(crate) const TRAINED_SIDE: usize = 4;
const BLOCKS: usize = 3;

/// Means and deviations that differ by channel.
pub(crate) const SCALE: ImageScale = ImageScale {
    mean: [0.5, 0.4, 0.3],
    std: [0.2, 0.25, 0.3],
};

/// What was read, which is a model that sees.
pub(crate) fn vit(imported: Imported) -> ImportedVit {
    match imported.content {
        Content::Image(vit) => vit,
        Content::Text(_) => panic!("a model that reads"),
    }
}

pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Uniform in `centre - width .. centre + width`.
    pub(crate) fn around(&mut self, centre: f32, width: f32, count: usize) -> Vec<f32> {
        let range = centre - width..centre + width;
        (0..count)
            .map(|_| self.0.random_range(range.clone()))
            .collect()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.random()).collect()
    }

    pub(crate) fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        let width = 2.0 / (inputs as f32).sqrt();
        Linear {
            inputs,
            outputs,
            weight: self.around(0.0, width, inputs * outputs),
            bias: self.around(0.0, 0.3, outputs),
            blocks: None,
        }
    }

    pub(crate) fn norm(&mut self) -> Norm {
        Norm {
            weight: self.around(1.0, 0.5, HIDDEN),
            bias: self.around(0.0, 0.5, HIDDEN),
            epsilon: 1e-6,
        }
    }

    fn block(&mut self) -> BlockWeights {
        BlockWeights {
            norm1: self.norm(),
            query: self.linear(HIDDEN, HIDDEN),
            key: self.linear(HIDDEN, HIDDEN),
            value: self.linear(HIDDEN, HIDDEN),
            output: self.linear(HIDDEN, HIDDEN),
            norm2: self.norm(),
            up: self.linear(HIDDEN, MLP),
            down: self.linear(MLP, HIDDEN),
        }
    }

    pub(crate) fn model(&mut self, head: Head) -> VitModel {
        let table = self.around(0.0, 1.0, TRAINED_SIDE * TRAINED_SIDE * HIDDEN);
        VitModel {
            hidden: HIDDEN,
            heads: HEADS,
            patch: PATCH,
            projection: self.linear(3 * PATCH * PATCH, HIDDEN),
            class_token: self.around(0.0, 1.0, HIDDEN),
            positions: PositionTable::new(table, HIDDEN).unwrap(),
            blocks: (0..BLOCKS).map(|_| self.block()).collect(),
            norm: self.norm(),
            head,
        }
    }

    pub(crate) fn saliency(&mut self) -> Head {
        let mut stage = |inputs: usize, outputs: usize| UpConvolution {
            inputs,
            outputs,
            kernel: 4,
            stride: 2,
            padding: 1,
            weight: self.around(0.0, 0.2, inputs * outputs * 16),
            bias: self.around(0.0, 0.2, outputs),
        };
        let stages = vec![stage(HIDDEN, 10), stage(10, 6)];
        Head::Saliency(Saliency {
            stages,
            last: self.linear(6, 1),
        })
    }

    pub(crate) fn classifier(&mut self, pooling: Pooling, classes: usize) -> Head {
        let inputs = match pooling {
            Pooling::Class => HIDDEN,
            Pooling::ClassAndMean => 2 * HIDDEN,
        };
        Head::Classification(Classifier {
            pooling,
            linear: self.linear(inputs, classes),
            labels: None,
        })
    }
}
