//! Prediction across blocks in a bundle: tensors and graph.

use astra_bundle::{Bundle, Calibration};
use astra_export::fit::{BasisKind, BlockSamples, BlockSpec, Fitted, Refinement, RungSpec, fit};
use astra_export::package::{Draft, Request, codec_weights};
use astra_export::source::{Content, Imported};

use crate::graphs::matrix;
use crate::hugging_face::{DINOV2, Directory};
use crate::models::{PATCH, Random};
use crate::runtime::{Array, Graph, max_difference};

const ROWS: usize = 60;

/// A rung of two blocks' ranks in turn, with a second stage.
pub(crate) fn rung(blocks: usize, groups: usize, predicted: bool) -> RungSpec {
    let blocks = (0..blocks).map(|block| BlockSpec {
        rank: [4, 6][block % 2],
        groups,
        refined_groups: 3,
        frame_mean_bits: 0,
    });
    RungSpec {
        bits: 3 * groups as u32,
        code_bits: 3,
        basis: BasisKind::Attention,
        predicted,
        refinement: Some(Refinement {
            share: 16,
            code_bits: 2,
        }),
        blocks: blocks.collect(),
    }
}

fn fit_on_noise(content: &Content, rungs: &[RungSpec]) -> Fitted {
    let weights = codec_weights(content);
    let mut random = Random::new(5);
    let samples = weights.iter().map(|block| {
        let mut rows = |width: usize| random.around(0.0, 1.0, ROWS * width);
        let (n, q) = (rows(block.shape.hidden), rows(block.shape.query_width()));
        let v = rows(block.shape.kv_width());
        let mut samples = BlockSamples::new(block.shape);
        samples.push(&n, &q, &v).unwrap();
        samples
    });
    let samples: Vec<_> = samples.collect();
    fit(&samples, &weights, rungs, 1, &|_, _| ()).unwrap()
}

/// Rungs of a model by its number of blocks.
pub(crate) type Rungs<'a> = &'a dyn Fn(usize) -> Vec<RungSpec>;

/// A bundle with these rungs, fitted on noise, and what was fitted.
pub(crate) fn export(
    imported: &Imported,
    folder: &std::path::Path,
    rungs: Rungs<'_>,
) -> (Bundle, Fitted) {
    let request = Request {
        name: "small",
        size: 4 * PATCH,
        max_tokens: None,
        seed: 0,
    };
    let mut draft = Draft::write(&folder.join("bundle"), imported, &request).unwrap();
    let blocks = codec_weights(&imported.content).len();
    let fitted = fit_on_noise(&imported.content, &rungs(blocks));
    let calibration = Calibration {
        source: "noise".to_owned(),
        inputs: 1,
        tokens: ROWS,
        held_out: 0,
    };
    draft.add_codec(&fitted, calibration).unwrap();
    (draft.finish().unwrap(), fitted)
}

#[test]
fn predictions_are_in_the_bundle_and_their_graph_is_its_formula() {
    let source = Directory::new(&DINOV2, true, 0);
    let imported = astra_export::source::hugging_face::open(source.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bundle, fitted) = export(&imported, folder.path(), &|blocks| {
        vec![rung(blocks, 1, false), rung(blocks, 2, true)]
    });
    let blocks = bundle.manifest().shape.blocks;
    assert!(blocks > 1);

    let rung = bundle.rung(6).unwrap();
    let ranks: Vec<usize> = rung.blocks.iter().map(|block| block.rank).collect();
    assert_eq!((rung.basis.as_str(), &ranks[..2]), ("rung-6", &[4, 6][..]));
    let view = bundle.codebook(rung, 1).unwrap();
    let second = &fitted.rungs[1].blocks[1].second;
    assert_eq!(view.second.unwrap().dims, second.as_ref().unwrap().dims);
    let mut graph = Graph::open(&bundle.graph("predict").unwrap());
    assert!(bundle.prediction(rung, 0).unwrap().is_none());
    for block in 1..blocks {
        let found = bundle.prediction(rung, block).unwrap().unwrap();
        let expected = &fitted.rungs[1].prediction[block - 1];
        assert_eq!((&*found.w, &*found.b), (&*expected.w, &*expected.b));

        for rows in [0, 1, 5] {
            let (before, rank) = (ranks[block - 1], ranks[block]);
            let states = Random::new(block as u64).around(0.0, 1.0, rows * before);
            let product = states.chunks(before).flat_map(|z| {
                (0..rank).map(|c| {
                    let sum: f32 = (0..before).map(|r| z[r] * found.w[r * rank + c]).sum();
                    sum + found.b[c]
                })
            });
            let product: Vec<f32> = product.collect();
            let inputs = vec![
                ("state", matrix(before, &states)),
                ("w", matrix(rank, &found.w)),
                ("b", Array::F32(vec![rank], found.b.to_vec())),
            ];
            let [predicted] = graph.run(inputs, ["predicted"]);
            let (count, predicted) = predicted.into_matrix();
            assert_eq!(count, rows);
            assert!(max_difference(&predicted, &product) < 1e-5);
        }
    }
    let rung = bundle.rung(3).unwrap();
    assert_eq!(rung.basis, "rung-3");
    assert!(bundle.prediction(rung, 1).unwrap().is_none());
}

#[test]
fn a_bundle_without_prediction_has_no_graph_for_it() {
    let source = Directory::new(&DINOV2, true, 0);
    let imported = astra_export::source::hugging_face::open(source.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bundle, _) = export(&imported, folder.path(), &|blocks| {
        vec![rung(blocks, 1, false)]
    });
    assert!(bundle.graph("predict").is_err());
}
