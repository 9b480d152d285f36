//! A head in parts: scores of rows of patches, and the map of all scores, against the head in one piece.

use std::ops::Range;

use astra_export::family::vit::{Head, Saliency, UpConvolution};

use crate::graphs::{Exported, case, matrix};
use crate::models::{HIDDEN, Random};
use crate::runtime::{Array, max_difference};

const SIDE: usize = 9;
const TOLERANCE: f32 = 1e-5;

/// A decoder of stages with these kernels, strides and paddings.
fn decoder(random: &mut Random, stages: &[[usize; 3]]) -> Head {
    let mut inputs = HIDDEN;
    let mut stage = |&[kernel, stride, padding]: &[usize; 3]| {
        let outputs = 5;
        let stage = UpConvolution {
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            weight: random.around(0.0, 0.2, inputs * outputs * kernel * kernel),
            bias: random.around(0.0, 0.2, outputs),
        };
        inputs = outputs;
        stage
    };
    let stages = stages.iter().map(&mut stage).collect();
    Head::Saliency(Saliency {
        stages,
        last: random.linear(inputs, 1),
    })
}

fn flag(there: bool) -> Array {
    Array::I64(vec![1], vec![i64::from(there)])
}

/// Scores of `rows` by a member that looks at nothing but them and their halos.
fn scores(exported: &Exported, patches: &[f32], rows: Range<usize>, halo: usize) -> Vec<f32> {
    let (above, below) = (rows.start > 0, rows.end < SIDE);
    let first = rows.start - usize::from(above) * halo;
    let end = rows.end + usize::from(below) * halo;
    let width = SIDE * HIDDEN;
    let inputs = vec![
        (
            "patches",
            matrix(HIDDEN, &patches[first * width..end * width]),
        ),
        ("above", flag(above)),
        ("below", flag(below)),
    ];
    let [scores] = exported.graph("head_rows").run(inputs, ["scores"]);
    scores.into_matrix().1
}

#[test]
fn parts_of_the_map_are_the_map() {
    let kinds: [&[[usize; 3]]; 5] = [
        &[],
        &[[4, 2, 1], [4, 2, 1], [4, 2, 1]],
        &[[2, 2, 0]],
        &[[3, 1, 1], [6, 2, 2]],
        &[[5, 3, 1], [4, 2, 1]],
    ];
    for (seed, stages) in kinds.into_iter().enumerate() {
        let head = |random: &mut Random| decoder(random, stages);
        let (model, _, expected) = case(seed as u64, SIDE, head);
        let exported = Exported::new(&model, SIDE);
        let form = exported.vit.head_rows().unwrap();
        let width = SIDE * form.scale;
        for cuts in [&[0, 9][..], &[0, 4, 9], &[0, 3, 4, 6, 9]] {
            let parts = cuts.windows(2);
            let parts =
                parts.map(|ends| scores(&exported, &expected.patches, ends[0]..ends[1], form.halo));
            let parts: Vec<Vec<f32>> = parts.collect();
            for (part, ends) in parts.iter().zip(cuts.windows(2)) {
                assert_eq!(part.len(), (ends[1] - ends[0]) * form.scale * width);
            }
            let all = ("scores", matrix(width, &parts.concat()));
            let [map] = exported.graph("head_finish").run(vec![all], ["map"]);
            let difference = max_difference(&map.into_matrix().1, &expected.head);
            assert!(difference < TOLERANCE, "{stages:?} {cuts:?}: {difference}");
        }
    }
}

/// A halo of one row less would not do: what is left out is really looked at.
#[test]
fn halos_are_no_larger_than_needed() {
    let head = |random: &mut Random| decoder(random, &[[4, 2, 1], [4, 2, 1], [4, 2, 1]]);
    let (model, _, mut expected) = case(9, SIDE, head);
    let exported = Exported::new(&model, SIDE);
    let halo = exported.vit.head_rows().unwrap().halo;
    let before = scores(&exported, &expected.patches, 4..6, halo);
    let outermost = (4 - halo) * SIDE * HIDDEN;
    expected.patches[outermost..outermost + SIDE * HIDDEN]
        .iter_mut()
        .for_each(|value| *value += 1.0);
    let after = scores(&exported, &expected.patches, 4..6, halo);
    assert!(max_difference(&before, &after) > 10.0 * TOLERANCE);
}

#[test]
fn a_head_that_does_not_widen_by_a_whole_factor_stays_in_one_piece() {
    let (model, _, _) = case(3, SIDE, |random| decoder(random, &[[3, 2, 0]]));
    let exported = Exported::new(&model, SIDE);
    assert_eq!(exported.vit.head_rows(), None);
    assert!(!exported.path("head_rows").exists());
}
