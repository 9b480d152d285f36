//! Means of frames: how bits are dealt, and what a receiver of frames with an offset gains.

use astra_codec::MeanQuantizer;

use super::super::mean::{FittedMean, add_means, means_of};
use super::*;

/// Four inputs of `rows` tokens, each a quarter of an input off by an offset of its own.
fn with_offsets(rows: usize, seed: u64) -> (BlockSamples, Vec<f32>) {
    let d = SHAPE.hidden;
    let mut samples = BlockSamples::new(SHAPE);
    let mut all = Vec::new();
    let mut rng = StdRng::seed_from_u64(seed);
    for input in 0..4 {
        let mut inputs = correlated(SHAPE, rows, seed + input);
        for quarter in inputs.chunks_mut(rows / 4 * d) {
            let offset = noise(&mut rng, d);
            for row in quarter.chunks_mut(d) {
                row.iter_mut().zip(&offset).for_each(|(x, by)| *x += by);
            }
        }
        let queries = noise(&mut rng, rows * SHAPE.query_width());
        let values = noise(&mut rng, rows * SHAPE.kv_width());
        samples.push(&inputs, &queries, &values).unwrap();
        all.extend(inputs);
    }
    (samples, all)
}

#[test]
fn frames_are_quarters_of_inputs() {
    let (samples, _) = with_offsets(32, 1);
    let frames = samples.frames();
    assert_eq!(frames.len(), 16);
    assert!(
        frames
            .iter()
            .map(|frame| frame.start)
            .eq((0..128).step_by(8))
    );
    assert!(frames.iter().all(|frame| frame.len() == 8));
    // Quarters of seven tokens have no mean.
    assert!(with_offsets(28, 1).0.frames().is_empty());
}

#[test]
fn means_are_subtracted_and_added() {
    let values = [1.0, 2.0, 3.0, 6.0, 5.0, 5.0, 9.0, 9.0];
    let frames = [0..2, 2..3];
    let means = means_of(&values, 2, &frames);
    assert_eq!(means, [2.0, 4.0, 5.0, 5.0]);
    let mut left = values;
    add_means(&mut left, 2, &frames, &means, -1.0);
    assert_eq!(left, [-1.0, -2.0, 1.0, 2.0, 0.0, 0.0, 9.0, 9.0]);
}

#[test]
fn bits_go_where_they_lower_the_error_most() {
    let mut rng = StdRng::seed_from_u64(3);
    let spread = [8.0, 0.1, 2.0, 0.0, 2.0];
    let means: Vec<f32> = (0..400)
        .flat_map(|_| spread.map(|spread| spread * rng.random_range(-1.0_f32..1.0)))
        .collect();
    let mut before = f64::INFINITY;
    for total in [1, 4, 9, 16, 40] {
        let fitted = FittedMean::fit(&means, 5, total);
        let bits: usize = fitted.bits.iter().map(|&bits| usize::from(bits)).sum();
        assert_eq!(bits, total);
        let [a, b, c, d, e] = fitted.bits[..] else {
            panic!()
        };
        assert!(
            a >= c && c >= b && b >= d && c.abs_diff(e) <= 1,
            "{:?}",
            fitted.bits
        );
        let mut read = means.clone();
        fitted.through(&mut read).unwrap();
        let errors = read
            .iter()
            .zip(&means)
            .map(|(a, b)| f64::from(a - b).powi(2));
        let error = errors.sum::<f64>();
        assert!(error < before, "{total}: {error} of {before}");
        before = error;
    }
    // Eight bits at most, however many are left.
    assert_eq!(FittedMean::fit(&means, 5, 100).bits, [8; 5]);
    // What has no spread at all can be coded too.
    let still = FittedMean::fit(&[0.0; 10], 5, 3);
    assert!(MeanQuantizer::new(&still.bits, &still.steps).is_ok());
}

/// Mean squared error of the transformed tokens as a receiver decodes them, by one stage and the mean.
fn error(mean_bits: usize) -> f64 {
    let mut spec = rung(1, 8, 2, 3);
    for block in &mut spec.blocks {
        block.frame_mean_bits = mean_bits;
    }
    let (samples, _) = with_offsets(64, 5);
    let weights = Weights::new(SHAPE, 20);
    let fitted = fit(&[samples], &[weights.borrow()], &[spec], 1, &|_, _| ()).unwrap();
    let (device, books) = (device::Device::new(&fitted, 0), &fitted.rungs[0].blocks[0]);
    // Other inputs than those it was fitted to.
    let (_, inputs) = with_offsets(64, 77);
    let mut sum = 0.0;
    for frame in inputs.chunks(16 * SHAPE.hidden) {
        let y: Vec<Vec<f64>> = frame.chunks(SHAPE.hidden).map(|n| device.y(0, n)).collect();
        let mut mean = vec![0.0_f32; 8];
        for row in &y {
            mean.iter_mut()
                .zip(row)
                .for_each(|(mean, y)| *mean += *y as f32 / 16.0);
        }
        match &books.mean {
            Some(fitted) => fitted.through(&mut mean).unwrap(),
            None => mean.fill(0.0),
        }
        for row in &y {
            let left: Vec<f64> = row
                .iter()
                .zip(&mean)
                .map(|(y, mean)| y - f64::from(*mean))
                .collect();
            let word = device::Device::nearest(&books.first, 8, &left);
            sum += left
                .iter()
                .zip(&word)
                .map(|(y, z)| (y - z).powi(2))
                .sum::<f64>();
        }
    }
    sum / 256.0
}

#[test]
fn tokens_with_a_common_offset_are_decoded_better() {
    let (without, with) = (error(0), error(32));
    assert!(with < 0.7 * without, "{with} of {without}");
}
