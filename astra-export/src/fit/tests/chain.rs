//! Prediction across blocks against slow models of devices, which know a bundle's tensors and codes alone.

use super::super::chain::Regression;
use super::*;

const BLOCKS: usize = 3;
/// Error of what a bundle stores, which has 11 bits.
const STORED: f64 = 1e-3;

fn predicted(rank: usize, groups: usize, code_bits: u32) -> RungSpec {
    RungSpec {
        predicted: true,
        ..rung(BLOCKS, rank, groups, code_bits)
    }
}

/// Inputs of blocks, each a mixture of the block before with noise: what a residual stream does to them.
fn linked(rows: usize, noise_level: f32, seed: u64) -> Vec<Vec<f32>> {
    let d = SHAPE.hidden;
    let mut blocks = vec![correlated(SHAPE, rows, seed)];
    let mut rng = StdRng::seed_from_u64(seed ^ 0xabcd);
    for block in 1..BLOCKS {
        let mixing = noise(&mut StdRng::seed_from_u64(block as u64), d * d);
        let before = &blocks[block - 1];
        let row = |n: &[f32]| {
            let rest = noise(&mut rng, d);
            let mixed = |c: usize| -> f32 { (0..d).map(|i| n[i] * mixing[i * d + c]).sum() };
            (0..d)
                .map(|c| n[c] + 0.3 * mixed(c) + noise_level * rest[c])
                .collect::<Vec<_>>()
        };
        let next = before.chunks(d).flat_map(row).collect();
        blocks.push(next);
    }
    blocks
}

/// Samples of blocks whose tokens matter more or less, otherwise in each block.
fn weighted(blocks: &[Vec<f32>]) -> Vec<BlockSamples> {
    let of = |(block, inputs): (usize, &Vec<f32>)| {
        let rows = inputs.len() / SHAPE.hidden;
        let mut rng = StdRng::seed_from_u64(block as u64);
        let importance: Vec<f32> = (0..rows).map(|_| rng.random_range(0.1..2.0)).collect();
        let values = noise(&mut rng, rows * SHAPE.kv_width());
        let queries = noise(&mut rng, rows * SHAPE.query_width());
        let mut samples = BlockSamples::new(SHAPE);
        samples.push_weighted(inputs, &values, &importance).unwrap();
        let reads = vec![1.0; rows * SHAPE.heads];
        samples.push_queries(&queries, &reads).unwrap();
        samples
    };
    blocks.iter().enumerate().map(of).collect()
}

fn weights() -> Vec<Weights> {
    (0..BLOCKS)
        .map(|block| Weights::new(SHAPE, 20 + block as u64))
        .collect()
}

fn fit_on(samples: &[BlockSamples], rungs: &[RungSpec], seed: u64) -> Fitted {
    let weights = weights();
    let weights: Vec<_> = weights.iter().map(Weights::borrow).collect();
    let weights = &weights[..samples.len()];
    fit(samples, weights, rungs, seed, &|_, _| ()).unwrap()
}

fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(f64::abs).fold(0.0, f64::max)
}

#[test]
fn a_regression_is_its_formula() {
    const RANK: usize = 3;
    let mut rng = StdRng::seed_from_u64(1);
    let rows = 9;
    let (states, y) = (noise(&mut rng, rows * RANK), noise(&mut rng, rows * RANK));
    let importance: Vec<f32> = (0..rows).map(|i| 0.5 + i as f32).collect();
    let total: f64 = importance.iter().map(|&w| f64::from(w)).sum();
    let mean = |f: &dyn Fn(usize) -> f64| {
        (0..rows)
            .map(|row| f64::from(importance[row]) * f(row))
            .sum::<f64>()
            / total
    };
    let z = |row: usize, i: usize| f64::from(states[row * RANK + i]);
    let y_of = |row: usize, i: usize| f64::from(y[row * RANK + i]);
    let z_mean = |i: usize| mean(&|row| z(row, i));
    let y_mean = |i: usize| mean(&|row| y_of(row, i));
    let covariance =
        |i: usize, j: usize| mean(&|row| (z(row, i) - z_mean(i)) * (z(row, j) - z_mean(j)));
    let ridge = 1e-3 * (0..RANK).map(|i| covariance(i, i)).sum::<f64>() / RANK as f64;

    let found = Regression::of((&states, RANK), (&y, RANK), &importance);
    let left = |row: usize, c: usize| {
        let sum: f64 = (0..RANK).map(|i| z(row, i) * found.w[(i, c)]).sum();
        y_of(row, c) - sum - found.b[c]
    };
    for a in 0..RANK {
        for c in 0..RANK {
            // The normal equations: (Z + ridge) w = E z y.
            let cross = mean(&|row| (z(row, a) - z_mean(a)) * (y_of(row, c) - y_mean(c)));
            let lifted: f64 = (0..RANK).map(|i| covariance(a, i) * found.w[(i, c)]).sum();
            let sides = (lifted + ridge * found.w[(a, c)], cross);
            assert!((sides.0 - sides.1).abs() < 1e-6, "{sides:?}");
            let both = mean(&|row| left(row, a) * left(row, c));
            let found = found.residual[(a, c)];
            assert!((found - both).abs() < 1e-6, "{found} {both}");
        }
        assert!(mean(&|row| left(row, a)).abs() < 1e-12);
    }
    assert!(found.w.amax() > 0.1, "{}", found.w);
}

#[test]
fn states_that_are_all_the_same_predict_the_mean() {
    let y: Vec<f32> = noise(&mut StdRng::seed_from_u64(1), 8);
    let found = Regression::of((&[0.0; 8], 2), (&y, 2), &[1.0; 4]);
    assert_eq!(found.w.amax(), 0.0);
    let mean = y.iter().step_by(2).map(|&y| f64::from(y)).sum::<f64>() / 4.0;
    assert!((found.b[0] - mean).abs() < 1e-12);
}

/// A block is predicted from what receivers have of the block before, and its axes are those of what is left.
#[test]
fn predictions_are_from_states_that_a_decoder_comes_to() {
    let blocks = linked(300, 0.2, 7);
    let samples = weighted(&blocks);
    let fitted = fit_on(&samples, &[predicted(6, 3, 4)], 1);
    let device = Device::new(&fitted, 0);
    let rank = device.rung.spec.rank();
    let states = device.states(&blocks);
    assert_eq!(device.rung.prediction.len(), BLOCKS - 1);
    for block in 1..BLOCKS {
        let y_of = |block: usize| {
            let tokens = blocks[block].chunks(SHAPE.hidden);
            tokens.flat_map(|n| device.y(block, n)).collect::<Vec<_>>()
        };
        let y = singles(&y_of(block));
        let importance = samples[block].importance();
        let found = &device.rung.prediction[block - 1];
        let off = |regression: &Regression| {
            let rows = (0..rank * rank)
                .map(|i| f64::from(found.w[i]) - regression.w[(i / rank, i % rank)]);
            largest(rows) / regression.w.amax()
        };
        let from_states =
            Regression::of((&singles(&states[block - 1]), rank), (&y, rank), importance);
        assert!(
            off(&from_states) < STORED,
            "block {block}: {}",
            off(&from_states)
        );
        let offsets = (0..rank).map(|i| f64::from(found.b[i]) - from_states.b[i]);
        assert!(largest(offsets) < STORED * from_states.b.amax().max(1.0));
        // From the tokens as they are, which receivers do not have, it would be another.
        let exact = Regression::of((&singles(&y_of(block - 1)), rank), (&y, rank), importance);
        assert!(off(&exact) > 1e-2, "block {block}: {}", off(&exact));

        let variances = &device.basis.blocks[block].variances;
        assert!(variances.is_sorted_by(|a, b| a >= b));
        for (a, &axis) in device.rung.blocks[block].perm.iter().enumerate() {
            for c in 0..rank {
                let expected = if a == c {
                    variances[usize::from(axis)]
                } else {
                    0.0
                };
                let error = (from_states.residual[(a, c)] - expected).abs();
                assert!(
                    error < STORED * variances[0],
                    "block {block}: {a} {c} {error}"
                );
            }
        }
    }
}

/// Axes that are turned decode to the same keys and values.
#[test]
fn all_axes_that_predict_give_keys_and_values_back() {
    let blocks = linked(200, 0.2, 7);
    let rank = SHAPE.hidden;
    let fitted = fit_on(&weighted(&blocks), &[predicted(rank, 4, 3)], 1);
    let device = Device::new(&fitted, 0);
    for (block, weights) in weights().iter().enumerate() {
        for n in blocks[block].chunks(SHAPE.hidden).take(20) {
            let expected = weights.keys_and_values(n);
            let found = device.keys_and_values(block, &device.y(block, n));
            let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            let off = largest(found.iter().zip(&expected).map(|(a, b)| a - b));
            assert!(off < 1e-3 * length, "block {block}: {off} of {length}");
        }
    }
}

#[test]
fn blocks_that_follow_from_one_another_are_coded_better() {
    let (fit_tokens, scored) = (linked(2000, 0.1, 7), linked(300, 0.1, 8));
    let rungs = [
        RungSpec {
            bits: 1,
            ..rung(BLOCKS, 6, 3, 4)
        },
        predicted(6, 3, 4),
    ];
    let fitted = fit_on(&weighted(&fit_tokens), &rungs, 1);
    let errors = [0, 1].map(|place| {
        let device = Device::new(&fitted, place);
        let states = device.states(&scored);
        let weights = weights();
        let blocks = (0..BLOCKS).map(|block| {
            let decoded = device.keys_and_values(block, &states[block]);
            error(&weights[block], &scored[block], &decoded)
        });
        blocks.collect::<Vec<_>>()
    });
    let [alone, predicted] = errors;
    let first = predicted[0] / alone[0];
    assert!(
        (0.9..1.1).contains(&first),
        "{predicted:?} against {alone:?}"
    );
    for block in 1..BLOCKS {
        let better = predicted[block] < 0.7 * alone[block];
        assert!(better, "block {block}: {predicted:?} against {alone:?}");
    }
}

#[test]
fn a_seed_decides_predictions_however_many_threads_fit_them() {
    let samples = weighted(&linked(300, 0.2, 7));
    let rungs = [
        predicted(8, 2, 4),
        rung(BLOCKS, 16, 8, 3),
        refined(BLOCKS, 6, 3, 3),
    ];
    let with = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| fit_on(&samples, &rungs, seed))
    };
    assert_eq!(with(1, 5), with(4, 5));
    assert_ne!(with(1, 5), with(1, 6));
}

/// Ranks that differ, and a second stage.
fn ragged() -> RungSpec {
    let mut spec = RungSpec {
        predicted: true,
        ..refined(BLOCKS, 9, 2, 4)
    };
    for (block, rank) in spec.blocks.iter_mut().zip([5, 9, 7]) {
        block.rank = rank;
    }
    spec
}

#[test]
fn a_rung_of_ragged_ranks_has_matrices_from_one_rank_to_the_next() {
    let blocks = linked(300, 0.2, 7);
    let samples = weighted(&blocks);
    let plain = RungSpec {
        basis: BasisKind::Plain,
        ..predicted(4, 1, 4)
    };
    let rungs = [plain, ragged()];
    let fitted = fit_on(&samples, &rungs, 1);
    let names: Vec<_> = fitted.bases.iter().map(|b| (&*b.name, b.rank)).collect();
    assert_eq!(names, [("rung-4", 4), ("rung-8", 9)]);
    let rung = &fitted.rungs[1];
    let sizes = rung.prediction.iter().map(|p| (p.w.len(), p.b.len()));
    assert_eq!(sizes.collect::<Vec<_>>(), [(45, 9), (63, 7)]);
    for (basis, rank) in fitted.bases[1].blocks.iter().zip([5, 9, 7]) {
        let sizes = [&basis.enc_w, &basis.enc_b, &basis.dec_w, &basis.dec_b].map(Vec::len);
        assert_eq!(sizes, [rank * 16, rank, rank * 16, 16]);
        assert_eq!(basis.variances.len(), rank);
    }
    // A rung does not depend on which others are fitted.
    assert_eq!(fit_on(&samples, &rungs[1..], 1).rungs[0], *rung);
    let one = [plain_of_one_block()];
    let one = fit_on(&samples[..1], &one, 1);
    assert!(!one.rungs[0].spec.predicted && one.rungs[0].prediction.is_empty());
}

fn plain_of_one_block() -> RungSpec {
    RungSpec {
        basis: BasisKind::Plain,
        predicted: true,
        ..rung(1, 4, 1, 4)
    }
}

/// What the fit thinks receivers decode is what they decode: the residual variances of a block follow from it.
#[test]
fn a_second_stage_feeds_the_state_that_predicts() {
    let blocks = linked(320, 0.2, 7);
    let samples = weighted(&blocks);
    let fitted = fit_on(&samples, &[ragged()], 1);
    let device = Device::new(&fitted, 0);
    let states = device.states(&blocks);
    for block in 1..BLOCKS {
        let ranks = [block - 1, block].map(|b| fitted.rungs[0].spec.blocks[b].rank);
        let y: Vec<f64> = blocks[block]
            .chunks(SHAPE.hidden)
            .flat_map(|n| device.y(block, n))
            .collect();
        let before = singles(&states[block - 1]);
        let found = Regression::of(
            (&before, ranks[0]),
            (&singles(&y), ranks[1]),
            samples[block].importance(),
        );
        let w = &fitted.rungs[0].prediction[block - 1].w;
        let off = (0..w.len()).map(|i| f64::from(w[i]) - found.w[(i / ranks[1], i % ranks[1])]);
        let off = largest(off) / found.w.amax();
        assert!(off < 2e-3, "block {block}: {off}");
    }
}

#[test]
fn prediction_needs_the_same_tokens_of_every_block() {
    let mut blocks = linked(30, 0.2, 7);
    blocks[1].truncate(20 * SHAPE.hidden);
    let samples = weighted(&blocks);
    let weights = weights();
    let weights: Vec<_> = weights.iter().map(Weights::borrow).collect();
    let fails = |rung| fit(&samples, &weights, &[rung], 1, &|_, _| ()).map(|_| ());
    assert!(fails(rung(BLOCKS, 8, 2, 4)).is_ok());
    assert_eq!(
        fails(predicted(8, 2, 4)).unwrap_err().to_string(),
        "block 1: tokens to predict: found 20, expected the 30 of the block before"
    );
}
