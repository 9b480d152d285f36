//! Prediction across blocks in a bundle: tensors and graph.

use astra_bundle::{Bundle, Calibration, round_to_f16};
use astra_export::fit::{BasisKind, BlockSamples, Fitted, RungSpec, fit};
use astra_export::package::{Draft, Request, codec_weights};
use astra_export::source::{Content, Imported};

use crate::graphs::matrix;
use crate::hugging_face::{DINOV2, Directory};
use crate::models::{PATCH, Random};
use crate::runtime::{Array, Graph, max_difference};

const ROWS: usize = 60;

fn rung(groups: usize, predicted: bool) -> RungSpec {
    RungSpec {
        rank: 4,
        groups,
        code_bits: 3,
        basis: BasisKind::Attention,
        predicted,
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

/// A bundle with these rungs, fitted on noise, and what was fitted.
fn export(imported: &Imported, folder: &std::path::Path, rungs: &[RungSpec]) -> (Bundle, Fitted) {
    let request = Request {
        name: "small",
        size: 4 * PATCH,
        max_tokens: None,
        seed: 0,
    };
    let mut draft = Draft::write(&folder.join("bundle"), imported, &request).unwrap();
    let fitted = fit_on_noise(&imported.content, rungs);
    let calibration = Calibration {
        source: "noise".to_owned(),
        inputs: 1,
        tokens: ROWS,
        held_out: 0,
    };
    draft.add_codec(&fitted, calibration).unwrap();
    (draft.finish().unwrap(), fitted)
}

/// What is read of a table: it is stored as float16.
fn stored(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    round_to_f16(&mut values);
    values
}

#[test]
fn predictions_are_in_the_bundle_and_their_graph_is_its_formula() {
    let source = Directory::new(&DINOV2, true, 0);
    let imported = astra_export::source::hugging_face::open(source.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bundle, fitted) = export(&imported, folder.path(), &[rung(1, false), rung(2, true)]);
    let blocks = bundle.manifest().shape.blocks;
    assert!(blocks > 1);

    let rung = bundle.rung(6).unwrap();
    assert_eq!(
        (rung.basis.as_str(), rung.blocks[1].rank),
        ("predicted-6", 4)
    );
    let mut graph = Graph::open(&bundle.graph("predict").unwrap());
    assert!(bundle.prediction(rung, 0).unwrap().is_none());
    for block in 1..blocks {
        let found = bundle.prediction(rung, block).unwrap().unwrap();
        let expected = &fitted.rungs[1].prediction[block - 1];
        assert_eq!(*found.w, stored(&expected.w));
        assert_eq!(*found.b, stored(&expected.b));

        for rows in [0, 1, 5] {
            let states = Random::new(block as u64).around(0.0, 1.0, rows * 4);
            let product = states.chunks(4).flat_map(|z| {
                (0..4).map(|c| {
                    let sum: f32 = (0..4).map(|r| z[r] * found.w[r * 4 + c]).sum();
                    sum + found.b[c]
                })
            });
            let product: Vec<f32> = product.collect();
            let inputs = vec![
                ("state", matrix(4, &states)),
                ("w", matrix(4, &found.w)),
                ("b", Array::F32(vec![4], found.b.to_vec())),
            ];
            let [predicted] = graph.run(inputs, ["predicted"]);
            let (count, predicted) = predicted.into_matrix();
            assert_eq!(count, rows);
            assert!(max_difference(&predicted, &product) < 1e-5);
        }
    }
    let rung = bundle.rung(3).unwrap();
    assert_eq!(rung.basis, "attention");
    assert!(bundle.prediction(rung, 1).unwrap().is_none());
}

#[test]
fn a_bundle_without_prediction_has_no_graph_for_it() {
    let source = Directory::new(&DINOV2, true, 0);
    let imported = astra_export::source::hugging_face::open(source.path()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bundle, _) = export(&imported, folder.path(), &[rung(1, false)]);
    assert!(bundle.graph("predict").is_err());
}
