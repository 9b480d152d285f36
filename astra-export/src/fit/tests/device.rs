//! A slow model of a device, which knows a bundle's tensors and codes alone.

use super::super::stages::FRAME;
use super::*;

/// One token on its way through a rung.
pub(super) struct Device<'a> {
    pub(super) rung: &'a FittedRung,
    pub(super) basis: &'a FittedBasis,
}

impl<'a> Device<'a> {
    pub(super) fn new(fitted: &'a Fitted, place: usize) -> Self {
        let rung = &fitted.rungs[place];
        let name = rung.spec.basis_name();
        let basis = fitted.bases.iter().find(|basis| basis.name == name);
        Self {
            rung,
            basis: basis.unwrap(),
        }
    }

    /// y in the coded order.
    pub(super) fn y(&self, block: usize, n: &[f32]) -> Vec<f64> {
        let transform = &self.basis.blocks[block];
        let axis = |&axis: &u16| {
            let row = transform.enc_w.chunks(n.len()).nth(usize::from(axis));
            let products = row.unwrap().iter().zip(n);
            let sum: f64 = products.map(|(w, n)| f64::from(*w) * f64::from(*n)).sum();
            sum + f64::from(transform.enc_b[usize::from(axis)])
        };
        self.rung.blocks[block].perm.iter().map(axis).collect()
    }

    /// What is expected in a block of a token with these states in the blocks before.
    fn expected(&self, states: &[Vec<f64>], block: usize) -> Vec<f64> {
        let rank = self.rung.spec.blocks[block].rank;
        let (Some(state), false) = (states.last(), self.rung.prediction.is_empty()) else {
            return vec![0.0; rank];
        };
        let FittedPrediction { w, b } = &self.rung.prediction[states.len() - 1];
        let column = |c: usize| {
            let rows = state.iter().enumerate();
            let sum: f64 = rows.map(|(r, z)| z * f64::from(w[r * rank + c])).sum();
            sum + f64::from(b[c])
        };
        (0..rank).map(column).collect()
    }

    /// The nearest word of each group of a stage, put together.
    pub(super) fn nearest(stage: &FittedStage, words: usize, point: &[f64]) -> Vec<f64> {
        let (mut table, mut rest) = (stage.words.as_slice(), point);
        let mut decoded = Vec::new();
        for &dim in &stage.dims {
            let dim = usize::from(dim);
            let (group, others) = table.split_at(dim * words);
            let (point, after) = rest.split_at(dim);
            (table, rest) = (others, after);
            let at = |axis: usize, word: usize| f64::from(group[axis * words + word]);
            let distance = |word: usize| -> f64 {
                let axes = point.iter().enumerate();
                axes.map(|(axis, x)| (x - at(axis, word)).powi(2)).sum()
            };
            let nearest = (0..words).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            decoded.extend((0..dim).map(|axis| at(axis, nearest.unwrap())));
        }
        decoded
    }

    /// What receivers decode of the residuals of the tokens of one frame.
    fn frame(&self, block: usize, residuals: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let books = &self.rung.blocks[block];
        let words = self.rung.spec.words();
        let first = residuals
            .iter()
            .map(|y| Self::nearest(&books.first, words, y));
        let mut decoded: Vec<Vec<f64>> = first.collect();
        let (Some(second), Some(refinement)) = (&books.second, self.rung.spec.refinement) else {
            return decoded;
        };
        let left = |decoded: &[Vec<f64>], row: usize| -> Vec<f64> {
            let pairs = residuals[row].iter().zip(&decoded[row]);
            pairs.map(|(y, z)| y - z).collect()
        };
        let error = |row: usize| left(&decoded, row).iter().map(|x| x * x).sum::<f64>();
        let mut order: Vec<usize> = (0..residuals.len()).collect();
        order.sort_by(|&a, &b| error(b).total_cmp(&error(a)));
        order.truncate(refinement.tokens(residuals.len()));
        for row in order {
            let added = Self::nearest(second, refinement.words(), &left(&decoded, row));
            decoded[row]
                .iter_mut()
                .zip(added)
                .for_each(|(z, x)| *z += x);
        }
        decoded
    }

    /// All tokens' states in each block, `[rows, R]`, sent in frames of [`FRAME`] tokens.
    pub(super) fn states(&self, blocks: &[Vec<f32>]) -> Vec<Vec<f64>> {
        let rows = blocks[0].len() / SHAPE.hidden;
        let mut states: Vec<Vec<Vec<f64>>> = vec![Vec::new(); rows];
        for (block, inputs) in blocks.iter().enumerate() {
            let tokens: Vec<&[f32]> = inputs.chunks(SHAPE.hidden).collect();
            for (states, tokens) in states.chunks_mut(FRAME).zip(tokens.chunks(FRAME)) {
                let expected: Vec<_> = states.iter().map(|s| self.expected(s, block)).collect();
                let residual = |(n, expected): (&&[f32], &Vec<f64>)| -> Vec<f64> {
                    let y = self.y(block, n);
                    y.iter().zip(expected).map(|(y, e)| y - e).collect()
                };
                let residuals: Vec<_> = tokens.iter().zip(&expected).map(residual).collect();
                let decoded = self.frame(block, &residuals);
                for ((states, decoded), expected) in states.iter_mut().zip(decoded).zip(expected) {
                    states.push(decoded.iter().zip(expected).map(|(x, e)| x + e).collect());
                }
            }
        }
        let of = |block: usize| states.iter().flat_map(|s| s[block].clone()).collect();
        (0..blocks.len()).map(of).collect()
    }

    pub(super) fn keys_and_values(&self, block: usize, states: &[f64]) -> Vec<f64> {
        let transform = &self.basis.blocks[block];
        let width = transform.dec_b.len();
        let token = |state: &[f64]| {
            let mut kv: Vec<f64> = transform.dec_b.iter().map(|&b| f64::from(b)).collect();
            for (z, &axis) in state.iter().zip(&self.rung.blocks[block].perm) {
                let row = &transform.dec_w[usize::from(axis) * width..][..width];
                kv.iter_mut()
                    .zip(row)
                    .for_each(|(kv, &w)| *kv += z * f64::from(w));
            }
            kv
        };
        let rank = self.rung.spec.blocks[block].rank;
        states.chunks(rank).flat_map(token).collect()
    }
}
