//! The bundle of `write`, and after its rungs one that refines: two stages, ranks that differ, prediction, tables of float16.

use std::path::Path;

use astra_bundle::*;

use super::{SHAPE, stage, values, words, write_parts};

/// Axes of each block.
pub const RANKS: [usize; 2] = [3, 2];
/// Its name.
pub const BITS: u32 = 9;

/// Codebooks of the first block; BUNDLE.md shows their bytes.
pub fn first<'a>(words: &'a [f32], words2: &'a [f32]) -> CodebookView<'a> {
    CodebookView {
        perm: &[2, 0, 1],
        first: stage(&[1, 2], words),
        second: Some(stage(&[3], words2)),
        mean: None,
    }
}

/// Codebooks of the second block.
pub fn second<'a>(words: &'a [f32], words2: &'a [f32]) -> CodebookView<'a> {
    CodebookView {
        perm: &[1, 0],
        first: stage(&[2], words),
        second: Some(stage(&[1, 1], words2)),
        mean: None,
    }
}

/// Words of a block: of K = 4, and of K2 = 2.
pub fn both_words(block: usize) -> [Vec<f32>; 2] {
    let of = |tag: usize, each: usize| words(tag + block, RANKS[block] * each);
    [of(64, 4), of(96, 2)]
}

/// A tensor of float16; its values are those of `number` as float16 has them.
pub fn table(number: usize, len: usize) -> Vec<f32> {
    let mut values = values(number, len);
    values.iter_mut().for_each(|value| *value /= 3.0);
    values
}

pub fn write(dir: &Path) -> Bundle {
    let mut writer = BundleWriter::create(dir).unwrap();
    let mut manifest = write_parts(&mut writer);
    let (rung, basis) = rung(&mut writer);
    manifest.rungs.push(rung);
    manifest.bases.push(basis);
    writer.finish(manifest).unwrap()
}

fn rung(writer: &mut BundleWriter) -> (Rung, Basis) {
    let codebooks = [first, second].iter().enumerate().map(|(block, view)| {
        let [words, words2] = both_words(block);
        let view = view(&words, &words2);
        RungBlock {
            rank: view.perm.len(),
            groups: view.first.dims.len(),
            refined_groups: view.second.as_ref().unwrap().dims.len(),
            frame_mean_bits: 0,
            codebooks: writer.codebook(&view).unwrap(),
        }
    });
    let blocks = codebooks.collect();
    let mut number = 0;
    let mut tensor = |shape: &[usize]| {
        number += 1;
        let values = table(number, shape.iter().product());
        writer.weights_f16(&values, shape).unwrap()
    };
    let kv = 2 * SHAPE.kv_width();
    let basis = RANKS.map(|rank| BasisBlock {
        rank,
        enc_w: tensor(&[rank, SHAPE.hidden]),
        enc_b: tensor(&[rank]),
        dec_w: tensor(&[rank, kv]),
        dec_b: tensor(&[kv]),
    });
    let prediction = PredictionBlock {
        w: tensor(&RANKS),
        b: tensor(&[RANKS[1]]),
    };
    let rung = Rung {
        bits: BITS,
        basis: "predicted-9".to_owned(),
        code_bits: 2,
        words: 4,
        refinement: Some(Refinement {
            share: 13,
            code_bits: 1,
            words: 2,
        }),
        blocks,
        prediction: vec![prediction],
        mean_bits: Some(9.125),
        agreement: vec![measured()],
        calibration_note: None,
    };
    let basis = Basis {
        name: rung.basis.clone(),
        blocks: basis.into(),
    };
    (rung, basis)
}

fn measured() -> Agreement {
    Agreement {
        devices: 4,
        inputs: 125,
        quality: Some(Quality {
            measure: QualityMeasure::ClsCosine,
            mean: 0.9991,
            low: 0.9988,
            high: 0.9993,
        }),
        cls_cosine: Some(0.9991),
        ..Agreement::default()
    }
}
