//! The metric against its formula, and the axes that follow from it.

use super::super::metric::attention_metric;
use super::super::transform::{Spread, fit_transform};
use super::*;

/// The metric's formula, loop by loop.
fn slow_metric(weights: &Weights, queries: &[f32], reads: &[f32], values: &[f32]) -> Vec<f64> {
    let AttentionShape {
        hidden,
        heads,
        kv_heads,
        head_dim: d,
    } = weights.shape;
    let (qw, w) = (heads * d, kv_heads * d);
    let rows = queries.len() / qw;
    let mut metric = vec![0.0; hidden * hidden];
    for head in 0..heads {
        let kv = head * kv_heads / heads;
        let wo = |i: usize, c: usize| f64::from(weights.wo[(head * d + i) * hidden + c]);
        let value = |row: usize, i: usize| f64::from(values[row * w + kv * d + i]);
        let mean: Vec<f64> = (0..d)
            .map(|i| (0..rows).map(|row| value(row, i)).sum::<f64>() / rows as f64)
            .collect();
        let read = |row: usize| f64::from(reads[head * rows + row]);
        let all_read = (0..rows).map(read).sum::<f64>() / rows as f64;
        let mut worth = 0.0;
        for row in 0..rows {
            for c in 0..hidden {
                let out: f64 = (0..d).map(|i| (value(row, i) - mean[i]) * wo(i, c)).sum();
                worth += out * out / rows as f64;
            }
        }
        for a in 0..hidden {
            for b in 0..hidden {
                let wk = |c: usize, i: usize| f64::from(weights.wk[c * w + kv * d + i]);
                let wv = |c: usize, i: usize| f64::from(weights.wv[c * w + kv * d + i]);
                for i in 0..d {
                    for j in 0..d {
                        let query =
                            |row: usize, i: usize| f64::from(queries[row * qw + head * d + i]);
                        let both = (0..rows)
                            .map(|row| read(row) * query(row, i) * query(row, j))
                            .sum::<f64>();
                        let both = both / rows as f64 / d as f64;
                        let outputs: f64 = (0..hidden).map(|c| wo(i, c) * wo(j, c)).sum();
                        metric[a * hidden + b] += worth * wk(a, i) * both * wk(b, j)
                            + all_read * wv(a, i) * outputs * wv(b, j);
                    }
                }
            }
        }
    }
    metric
}

#[test]
fn metric_is_its_formula() {
    let shapes = [
        SHAPE,
        AttentionShape {
            kv_heads: 4,
            ..SHAPE
        },
        AttentionShape {
            kv_heads: 1,
            ..SHAPE
        },
    ];
    for shape in shapes {
        let weights = Weights::new(shape, 1);
        let rows = 6;
        let mut rng = StdRng::seed_from_u64(2);
        let inputs = noise(&mut rng, rows * shape.hidden);
        let queries = noise(&mut rng, rows * shape.query_width());
        let values = noise(&mut rng, rows * shape.kv_width());
        let mut samples = BlockSamples::new(shape);
        // In two parts, as calibration does.
        let split = |x: &[f32], width: usize| (x[..2 * width].to_vec(), x[2 * width..].to_vec());
        let (n1, n2) = split(&inputs, shape.hidden);
        let (q1, q2) = split(&queries, shape.query_width());
        let (v1, v2) = split(&values, shape.kv_width());
        samples.push_weighted(&n1, &v1, &[1.0; 2]).unwrap();
        samples.push_weighted(&n2, &v2, &[1.0; 4]).unwrap();
        let reads: Vec<f32> = (0..shape.heads * rows).map(|i| 0.1 + i as f32).collect();
        let of = |from: usize, to: usize| {
            let heads = reads.chunks(rows);
            heads
                .flat_map(|head| head[from..to].to_vec())
                .collect::<Vec<_>>()
        };
        samples.push_queries(&q1, &of(0, 2)).unwrap();
        samples.push_queries(&q2, &of(2, rows)).unwrap();

        let fast = attention_metric(&samples, &weights.borrow());
        let slow = slow_metric(&weights, &queries, &reads, &values);
        let largest = slow.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for (fast, slow) in fast.iter().zip(&slow) {
            assert!(
                (fast - slow).abs() < 1e-9 * largest,
                "{fast} {slow} {shape:?}"
            );
        }
    }
}

#[test]
fn all_axes_give_keys_and_values_back() {
    let weights = Weights::new(SHAPE, 3);
    let inputs = correlated(SHAPE, 200, 4);
    let samples = samples(SHAPE, &inputs, 5);
    let spread = Spread::of(&inputs, samples.importance(), SHAPE.hidden);
    let metric = attention_metric(&samples, &weights.borrow());
    for metric in [None, Some(&metric)] {
        let transform = fit_transform(&spread, metric, &weights.borrow(), SHAPE.hidden);
        let y = transform.encode(&inputs);
        for (y, n) in y.chunks(SHAPE.hidden).zip(inputs.chunks(SHAPE.hidden)) {
            let expected = weights.keys_and_values(n);
            let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (column, expected) in expected.iter().enumerate() {
                let rows = y.iter().zip(transform.dec_w.chunks(transform.dec_b.len()));
                let sum: f32 = rows.map(|(y, row)| y * row[column]).sum();
                let found = f64::from(sum + transform.dec_b[column]);
                assert!(
                    (found - expected).abs() < 1e-3 * length,
                    "{found} {expected}"
                );
            }
        }
    }
}

#[test]
fn axes_are_uncorrelated_centred_and_in_order() {
    let weights = Weights::new(SHAPE, 3);
    let inputs = correlated(SHAPE, 400, 4);
    let samples = samples(SHAPE, &inputs, 5);
    let spread = Spread::of(&inputs, samples.importance(), SHAPE.hidden);
    let metric = attention_metric(&samples, &weights.borrow());
    let transform = fit_transform(&spread, Some(&metric), &weights.borrow(), 8);
    let coded = Spread::of(&transform.encode(&inputs), samples.importance(), 8);
    assert!(transform.variances.is_sorted_by(|a, b| a >= b));
    let scale = transform.variances[0];
    assert!(coded.mean.amax() < 1e-5 * scale.sqrt());
    for a in 0..8 {
        for b in 0..8 {
            let expected = if a == b { transform.variances[a] } else { 0.0 };
            let error = (coded.covariance[(a, b)] - expected).abs();
            assert!(error < 1e-4 * scale, "{a} {b}: {error}");
        }
    }
}

#[test]
fn importance_counts_a_token_as_often_as_it_says() {
    let inputs = correlated(SHAPE, 3, 8);
    let d = SHAPE.hidden;
    let repeated = [&inputs[..d], &inputs[..d], &inputs[..d], &inputs[d..]].concat();
    let weighted = Spread::of(&inputs, &[3.0, 1.0, 1.0], d);
    let counted = Spread::of(&repeated, &[1.0; 5], d);
    assert!((&weighted.mean - &counted.mean).amax() < 1e-9);
    assert!((&weighted.covariance - &counted.covariance).amax() < 1e-9);
    assert!(counted.covariance.amax() > 1e-3);
}
