//! The fit against slow models of itself and against having no transform.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::kmeans::Clustering;
use super::*;

mod axes;
mod chain;
mod device;
mod mean;
mod stages;

use device::Device;

const SHAPE: AttentionShape = AttentionShape {
    hidden: 16,
    heads: 4,
    kv_heads: 2,
    head_dim: 4,
};

/// Weights of one block, owned.
struct Weights {
    shape: AttentionShape,
    wk: Vec<f32>,
    bk: Vec<f32>,
    wv: Vec<f32>,
    bv: Vec<f32>,
    wo: Vec<f32>,
}

impl Weights {
    fn new(shape: AttentionShape, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (d, w) = (shape.hidden, shape.kv_width());
        Self {
            shape,
            wk: noise(&mut rng, d * w),
            bk: noise(&mut rng, w),
            wv: noise(&mut rng, d * w),
            bv: noise(&mut rng, w),
            wo: noise(&mut rng, shape.query_width() * d),
        }
    }

    fn borrow(&self) -> BlockWeights<'_> {
        BlockWeights {
            shape: self.shape,
            wk: &self.wk,
            bk: &self.bk,
            wv: &self.wv,
            bv: &self.bv,
            wo: &self.wo,
        }
    }

    /// `[K | V]` of one token.
    fn keys_and_values(&self, n: &[f32]) -> Vec<f64> {
        let w = self.shape.kv_width();
        let column = |matrix: &[f32], bias: &[f32], column: usize| {
            let rows = n.iter().enumerate();
            let sum: f64 = rows
                .map(|(row, &x)| f64::from(x) * f64::from(matrix[row * w + column]))
                .sum();
            sum + f64::from(bias[column])
        };
        let keys = (0..w).map(|c| column(&self.wk, &self.bk, c));
        let values = (0..w).map(|c| column(&self.wv, &self.bv, c));
        keys.chain(values).collect()
    }
}

/// A rung with a second stage of twice the groups for a quarter of the tokens.
fn refined(blocks: usize, rank: usize, groups: usize, code_bits: u32) -> RungSpec {
    let mut spec = rung(blocks, rank, groups, code_bits);
    spec.refinement = Some(Refinement {
        share: 64,
        code_bits: 3,
    });
    for block in &mut spec.blocks {
        block.refined_groups = 2 * groups;
    }
    spec
}

fn noise(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Tokens whose channels go together: few causes, mixed, and a little noise.
fn correlated(shape: AttentionShape, rows: usize, seed: u64) -> Vec<f32> {
    const CAUSES: usize = 5;
    let mut rng = StdRng::seed_from_u64(99);
    let mixing = noise(&mut rng, CAUSES * shape.hidden);
    let mut rng = StdRng::seed_from_u64(seed);
    let row = |_| {
        let causes = noise(&mut rng, CAUSES);
        let rest = noise(&mut rng, shape.hidden);
        let mixing = &mixing;
        (0..shape.hidden)
            .map(move |c| {
                let mixed: f32 = (0..CAUSES)
                    .map(|i| causes[i] * mixing[i * shape.hidden + c])
                    .sum();
                0.5 + mixed + 0.05 * rest[c]
            })
            .collect::<Vec<_>>()
    };
    (0..rows).flat_map(row).collect()
}

fn samples(shape: AttentionShape, inputs: &[f32], seed: u64) -> BlockSamples {
    let rows = inputs.len() / shape.hidden;
    let mut rng = StdRng::seed_from_u64(seed);
    let queries = noise(&mut rng, rows * shape.query_width());
    let values = noise(&mut rng, rows * shape.kv_width());
    let mut samples = BlockSamples::new(shape);
    samples.push(inputs, &queries, &values).unwrap();
    samples
}

/// A rung of one stage, the same in all blocks.
fn rung(blocks: usize, rank: usize, groups: usize, code_bits: u32) -> RungSpec {
    let block = BlockSpec {
        rank,
        groups,
        refined_groups: 0,
        frame_mean_bits: 0,
    };
    RungSpec {
        bits: groups as u32 * code_bits,
        code_bits,
        basis: BasisKind::Attention,
        predicted: false,
        refinement: None,
        blocks: vec![block; blocks],
    }
}

/// Mean over tokens of e M eᵀ where e is what the metric sees of the error in keys and values: here simply |K - K^|² + |V - V^|².
fn error(weights: &Weights, inputs: &[f32], decoded: &[f64]) -> f64 {
    let width = 2 * weights.shape.kv_width();
    let tokens = inputs
        .chunks(weights.shape.hidden)
        .zip(decoded.chunks(width));
    let squares = tokens.map(|(n, decoded)| {
        let exact = weights.keys_and_values(n);
        let both = exact.iter().zip(decoded);
        both.map(|(a, b)| (a - b) * (a - b)).sum::<f64>()
    });
    squares.sum::<f64>() / (inputs.len() / weights.shape.hidden) as f64
}

/// Keys and values that receivers see of one block.
fn through_codec(fitted: &Fitted, inputs: &[f32]) -> Vec<f64> {
    let device = Device::new(fitted, 0);
    let states = device.states(&[inputs.to_vec()]);
    device.keys_and_values(0, &states[0])
}

/// Grouped k-means on the channels as they are, as published: the same bits, no transform.
fn without_transform(
    weights: &Weights,
    fit_on: &[f32],
    inputs: &[f32],
    spec: &RungSpec,
) -> Vec<f64> {
    let groups = spec.blocks[0].groups;
    let (hidden, dim) = (SHAPE.hidden, SHAPE.hidden / groups);
    let mut decoded = vec![0.0; inputs.len()];
    for group in 0..groups {
        let axes: Vec<u16> = (0..dim).map(|i| (group * dim + i) as u16).collect();
        let points = pick(fit_on, hidden, &axes);
        let clustering = Clustering {
            dim,
            words: spec.words(),
            rounds: 20,
        };
        let words = clustering
            .fit(
                &points,
                &vec![1.0; points.len() / dim],
                &mut StdRng::seed_from_u64(1),
            )
            .unwrap();
        for (token, point) in pick(inputs, hidden, &axes).chunks(dim).enumerate() {
            let at = |axis: usize, word: usize| words[axis * spec.words() + word];
            let distance = |word: usize| -> f32 {
                point
                    .iter()
                    .enumerate()
                    .map(|(i, x)| (x - at(i, word)).powi(2))
                    .sum()
            };
            let nearest = (0..spec.words()).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            for i in 0..dim {
                decoded[token * hidden + group * dim + i] = at(i, nearest.unwrap());
            }
        }
    }
    decoded
        .chunks(hidden)
        .flat_map(|n| weights.keys_and_values(n))
        .collect()
}

#[test]
fn a_fit_beats_the_same_bits_without_a_transform() {
    let weights = Weights::new(SHAPE, 6);
    let (fit_on, scored) = (correlated(SHAPE, 3000, 7), correlated(SHAPE, 500, 8));
    let samples = samples(SHAPE, &fit_on, 9);
    let spec = rung(1, 8, 4, 5);
    let fitted = fit(
        &[samples],
        &[weights.borrow()],
        std::slice::from_ref(&spec),
        1,
        &|_, _| (),
    )
    .unwrap();
    let ours = error(&weights, &scored, &through_codec(&fitted, &scored));
    let plain = error(
        &weights,
        &scored,
        &without_transform(&weights, &fit_on, &scored, &spec),
    );
    assert!(ours < 0.5 * plain, "{ours} against {plain}");
}

#[test]
fn a_seed_decides_the_fit_however_many_threads_do_it() {
    let weights = Weights::new(SHAPE, 6);
    let samples = [
        samples(SHAPE, &correlated(SHAPE, 300, 7), 9),
        samples(SHAPE, &correlated(SHAPE, 300, 8), 9),
    ];
    let weights = [weights.borrow(), weights.borrow()];
    let rungs = [rung(2, 8, 2, 4), rung(2, 16, 8, 3)];
    let with = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let fit = || fit(&samples, &weights, &rungs, seed, &|_, _| ()).unwrap();
        pool.unwrap().install(fit)
    };
    assert_eq!(with(1, 5), with(4, 5));
    assert_ne!(with(1, 5), with(1, 6));
}

#[test]
fn what_is_fitted_has_the_shapes_of_a_bundle() {
    let weights = Weights::new(SHAPE, 6);
    let samples = samples(SHAPE, &correlated(SHAPE, 300, 7), 9);
    let plain = RungSpec {
        basis: BasisKind::Plain,
        ..rung(1, 4, 1, 6)
    };
    let rungs = [plain, rung(1, 5, 2, 4), refined(1, 12, 3, 4)];
    let done = std::sync::Mutex::new(Vec::new());
    let progress = |now, all| done.lock().unwrap().push((now, all));
    let fitted = fit(&[samples], &[weights.borrow()], &rungs, 1, &progress).unwrap();

    let bases = fitted.bases.iter().map(|b| (b.name.as_str(), b.rank));
    let expected = [("rung-6", 4), ("rung-8", 5), ("rung-12", 12)];
    assert_eq!(bases.collect::<Vec<_>>(), expected);
    let basis = &fitted.bases[2].blocks[0];
    let lengths = [&basis.enc_w, &basis.enc_b, &basis.dec_w, &basis.dec_b].map(Vec::len);
    assert_eq!(lengths, [12 * 16, 12, 12 * 16, 16]);
    let books: Vec<_> = fitted.rungs.iter().map(|rung| &rung.blocks[0]).collect();
    assert_eq!(books[1].first.dims, [3, 2]);
    let sizes: Vec<_> = books
        .iter()
        .map(|b| (b.perm.len(), b.first.words.len()))
        .collect();
    assert_eq!(sizes, [(4, 4 * 64), (5, 5 * 16), (12, 12 * 16)]);
    let second = books[2].second.as_ref().unwrap();
    assert_eq!((second.dims.len(), second.words.len()), (6, 12 * 8));
    assert_eq!(second.dims.iter().sum::<u16>(), 12);
    let done = done.into_inner().unwrap();
    let all = done[0].1;
    assert_eq!(
        (done[0].0, done.iter().max().copied()),
        (0, Some((all, all)))
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let weights = Weights::new(SHAPE, 6);
    let good = samples(SHAPE, &correlated(SHAPE, 30, 7), 9);
    let fails = |samples: &[BlockSamples], weights: &[BlockWeights<'_>], rung| {
        let fitted = fit(samples, weights, &[rung], 1, &|_, _| ());
        fitted.unwrap_err().to_string()
    };
    let one = std::slice::from_ref(&good);
    let mut short = weights.borrow();
    short.wv = &short.wv[1..];
    let mut broken = correlated(SHAPE, 30, 7);
    broken[17] = f32::NAN;
    let without_groups = RungSpec {
        refinement: refined(1, 8, 2, 4).refinement,
        ..rung(1, 8, 2, 4)
    };
    let cases = [
        (
            fails(one, &[], rung(1, 8, 2, 4)),
            "samples: found 1 blocks, expected 0 as of the weights",
        ),
        (
            fails(one, &[short], rung(1, 8, 2, 4)),
            "block 0: wv: found 127 values, expected 128",
        ),
        (
            fails(
                &[BlockSamples::new(SHAPE)],
                &[weights.borrow()],
                rung(1, 8, 2, 4),
            ),
            "block 0: tokens to fit on: found none, expected at least one",
        ),
        (
            fails(
                &[samples(SHAPE, &broken, 9)],
                &[weights.borrow()],
                rung(1, 8, 2, 4),
            ),
            "block 0: sampled tokens: found a value that is not finite, expected finite numbers",
        ),
        (
            fails(one, &[weights.borrow()], rung(1, 17, 2, 4)),
            "rung of 8 bits: block 0: 2 and 0 groups over 17 axes of 16",
        ),
        (
            fails(one, &[weights.borrow()], rung(2, 8, 2, 4)),
            "rung of 8 bits: found 2 blocks, expected 1",
        ),
        (
            fails(one, &[weights.borrow()], without_groups),
            "rung of 8 bits: block 0: 2 and 0 groups over 8 axes of 16",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn samples_of_other_sizes_are_refused() {
    let error = BlockSamples::new(SHAPE).push(&[0.0; 32], &[0.0; 32], &[0.0; 15]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "v: found 15 values, expected 2 rows of 8"
    );
    let error = BlockSamples::new(SHAPE).push(&[0.0; 32], &[0.0; 33], &[0.0; 16]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "q: found 33 values, expected 2 rows of 16"
    );
}
