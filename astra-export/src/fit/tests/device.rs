//! A slow model of a device, which knows a bundle's tensors and codes alone.

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
    pub(super) fn expected(&self, states: &[Vec<f64>]) -> Vec<f64> {
        let rank = self.rung.spec.rank;
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

    /// Each group's words, a list of coordinates.
    pub(super) fn words(&self, block: usize) -> Vec<Vec<Vec<f64>>> {
        let books = &self.rung.blocks[block];
        let count = self.rung.spec.words();
        let mut rest = books.words.as_slice();
        let group = |&dim: &u16| {
            let (table, others) = rest.split_at(usize::from(dim) * count);
            rest = others;
            let word = |word: usize| table.iter().skip(word).step_by(count);
            let word = |w: usize| word(w).map(|&x| f64::from(x)).collect::<Vec<_>>();
            (0..count).map(word).collect()
        };
        books.dims.iter().map(group).collect()
    }

    /// What follows from a token's codes alone: its states, block by block.
    pub(super) fn receive(&self, codes: &[Vec<usize>]) -> Vec<Vec<f64>> {
        let mut states: Vec<Vec<f64>> = Vec::new();
        for (block, codes) in codes.iter().enumerate() {
            let words = self.words(block);
            let decoded = words.iter().zip(codes).flat_map(|(group, &c)| &group[c]);
            let expected = self.expected(&states);
            states.push(decoded.zip(expected).map(|(x, e)| x + e).collect());
        }
        states
    }

    /// The codes of a token with these inputs to the blocks.
    pub(super) fn send(&self, inputs: &[&[f32]]) -> Vec<Vec<usize>> {
        let mut codes = Vec::new();
        for (block, n) in inputs.iter().enumerate() {
            let expected = self.expected(&self.receive(&codes));
            let left: Vec<f64> = self
                .y(block, n)
                .iter()
                .zip(expected)
                .map(|(y, e)| y - e)
                .collect();
            let mut left = left.as_slice();
            let nearest = |group: &Vec<Vec<f64>>| {
                let (point, others) = left.split_at(group[0].len());
                left = others;
                let distance = |word: &[f64]| -> f64 {
                    word.iter().zip(point).map(|(a, b)| (a - b).powi(2)).sum()
                };
                (0..group.len())
                    .min_by(|&a, &b| distance(&group[a]).total_cmp(&distance(&group[b])))
                    .unwrap()
            };
            codes.push(self.words(block).iter().map(nearest).collect());
        }
        codes
    }

    /// All tokens' states in each block, `[rows, R]`.
    pub(super) fn states(&self, blocks: &[Vec<f32>]) -> Vec<Vec<f64>> {
        let rows = blocks[0].len() / SHAPE.hidden;
        let mut all = vec![Vec::new(); blocks.len()];
        for row in 0..rows {
            let of = |block: &'_ Vec<f32>| block[row * SHAPE.hidden..][..SHAPE.hidden].to_vec();
            let inputs: Vec<Vec<f32>> = blocks.iter().map(of).collect();
            let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            let states = self.receive(&self.send(&inputs));
            all.iter_mut()
                .zip(states)
                .for_each(|(all, state)| all.extend(state));
        }
        all
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
        states.chunks(self.rung.spec.rank).flat_map(token).collect()
    }
}
