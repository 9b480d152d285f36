//! The second stage against a codec without one.

use super::*;

/// Tokens of which every sixteenth is far outside the others.
fn with_outliers(rows: usize, seed: u64) -> Vec<f32> {
    let mut inputs = correlated(SHAPE, rows, seed);
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5555);
    for token in inputs.chunks_mut(SHAPE.hidden).step_by(16) {
        for x in token {
            *x += rng.random_range(-6.0..6.0);
        }
    }
    inputs
}

fn error_of(spec: RungSpec, importance: f32) -> (f64, Fitted) {
    let weights = Weights::new(SHAPE, 6);
    let (fit_on, scored) = (with_outliers(3200, 7), with_outliers(640, 8));
    let rows = fit_on.len() / SHAPE.hidden;
    let mut rng = StdRng::seed_from_u64(9);
    let mut samples = BlockSamples::new(SHAPE);
    let values = noise(&mut rng, rows * SHAPE.kv_width());
    samples
        .push_weighted(&fit_on, &values, &vec![importance; rows])
        .unwrap();
    let queries = noise(&mut rng, rows * SHAPE.query_width());
    samples
        .push_queries(&queries, &vec![1.0; rows * SHAPE.heads])
        .unwrap();
    let fitted = fit(&[samples], &[weights.borrow()], &[spec], 1, &|_, _| ()).unwrap();
    let decoded = through_codec(&fitted, &scored);
    (error(&weights, &scored, &decoded), fitted)
}

#[test]
fn a_few_tokens_with_more_bits_lower_the_error_at_the_same_bits() {
    // 4 groups of 5 bits are 20; 3 groups and 16 groups of 5 bits for every sixteenth token are 20 too.
    let even = error_of(rung(1, 16, 4, 5), 1.0).0;
    let mut spec = rung(1, 16, 3, 5);
    spec.refinement = Some(Refinement {
        share: 16,
        code_bits: 5,
    });
    spec.blocks[0].refined_groups = 16;
    let refined = error_of(spec, 1.0).0;
    assert!(refined < 0.6 * even, "{refined} against {even}");
}

#[test]
fn importance_of_all_tokens_alike_changes_nothing() {
    let spec = refined(1, 12, 3, 4);
    let (once, fitted) = error_of(spec.clone(), 1.0);
    let (twice, other) = error_of(spec, 2.0);
    assert_eq!(
        fitted.rungs[0].blocks[0].first.dims,
        other.rungs[0].blocks[0].first.dims
    );
    assert!((once / twice - 1.0).abs() < 0.05, "{once} and {twice}");
}

#[test]
fn fewer_tokens_than_refine_one_are_fitted_to() {
    let weights = Weights::new(SHAPE, 6);
    let inputs = correlated(SHAPE, 3, 7);
    let samples = samples(SHAPE, &inputs, 9);
    let mut spec = refined(1, 12, 3, 4);
    spec.refinement = Some(Refinement {
        share: 13,
        code_bits: 3,
    });
    let fitted = fit(&[samples], &[weights.borrow()], &[spec], 1, &|_, _| ()).unwrap();
    let second = fitted.rungs[0].blocks[0].second.as_ref().unwrap();
    assert_eq!(second.words.len(), 12 * 8);
    assert!(second.words.iter().all(|x| x.is_finite()));
}
