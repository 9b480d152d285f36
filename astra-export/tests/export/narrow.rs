//! Matrices in blocks of integers: graphs against float products, and what becomes of a model that is stored so.

use astra_bundle::{BundleWriter, MatrixBlocks};
use astra_export::graph::{
    Dim, Element, GraphBuilder, StoredLinear, StoredMatrix, StoredTable, Value,
};
use astra_export::narrow::{Bits, Blocks, Parts};

use crate::models::Random;
use crate::runtime::{Array, Graph};

const INPUTS: usize = 96;
const OUTPUTS: usize = 40;

/// A random matrix.
fn blocks(random: &mut Random, bits: Bits, size: usize, minima: bool) -> Blocks {
    let count = OUTPUTS * INPUTS / size;
    let mask = (2 * u16::from(bits.zero()) - 1) as u8;
    let integers = random.bytes(OUTPUTS * INPUTS);
    let scale = 0.5 / f32::from(bits.zero());
    let parts = Parts {
        integers: integers.into_iter().map(|byte| byte & mask).collect(),
        scales: random.around(scale, 0.5 * scale, count),
        minima: random.around(0.0, 0.2, if minima { count } else { 0 }),
    };
    Blocks::pack(bits, size, [OUTPUTS, INPUTS], parts).unwrap()
}

fn stored(writer: &mut BundleWriter, blocks: &Blocks) -> MatrixBlocks {
    let per_row = INPUTS / blocks.size();
    let bytes = blocks.data().len() / OUTPUTS / per_row;
    let scales = [OUTPUTS, per_row];
    MatrixBlocks {
        bits: blocks.bits().count(),
        size: blocks.size(),
        data: writer
            .weights_u8(blocks.data(), &[OUTPUTS, per_row, bytes])
            .unwrap(),
        scales: writer.weights(blocks.scales(), &scales).unwrap(),
        minima: blocks
            .minima()
            .map(|minima| writer.weights(minima, &scales).unwrap()),
    }
}

/// Builds and opens a graph of one input and one output, `y` `[m, columns]`.
fn graph(
    folder: &tempfile::TempDir,
    columns: usize,
    build: impl FnOnce(&mut BundleWriter, &mut GraphBuilder) -> Value,
) -> (Graph, BundleWriter) {
    let mut writer = BundleWriter::create(&folder.path().join("bundle")).unwrap();
    let mut graph = GraphBuilder::new("g");
    let y = build(&mut writer, &mut graph);
    let dims = [Dim::Named("m"), Dim::Fixed(columns)];
    graph.output(&y, "y", Element::F32, &dims);
    let path = writer.graph("g", &graph.finish()).unwrap();
    writer.flush().unwrap();
    (Graph::open(&path), writer)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// Every form that sources have: bits, block and whether there are minima.
const FORMS: [(Bits, usize, bool); 6] = [
    (Bits::Four, 32, false),
    (Bits::Four, 32, true),
    (Bits::Eight, 32, false),
    (Bits::Eight, 32, true),
    (Bits::Eight, 16, false),
    (Bits::Four, 16, true),
];

#[test]
fn products_are_those_of_the_weights() {
    for (case, (bits, size, minima)) in FORMS.into_iter().enumerate() {
        let mut random = Random::new(70 + case as u64);
        let blocks = blocks(&mut random, bits, size, minima);
        let values = blocks.values();
        for with_bias in [false, true] {
            let bias = random.around(0.0, 1.0, OUTPUTS);
            let folder = tempfile::tempdir().unwrap();
            let (mut graph, _writer) = graph(&folder, OUTPUTS, |writer, graph| {
                let linear = StoredLinear {
                    weight: StoredMatrix::Blocks {
                        inputs: INPUTS,
                        outputs: OUTPUTS,
                        blocks: stored(writer, &blocks),
                    },
                    bias: with_bias.then(|| writer.weights(&bias, &[OUTPUTS]).unwrap()),
                };
                let rows = [Dim::Named("m"), Dim::Fixed(INPUTS)];
                let x = graph.input("x", Element::F32, &rows);
                graph.linear("matrix", &x, &linear)
            });
            for rows in [0, 1, 3, 17] {
                let x = random.around(0.3, 1.0, rows * INPUTS);
                let inputs = vec![("x", Array::F32(vec![rows, INPUTS], x.clone()))];
                let [y] = graph.run(inputs, ["y"]);
                let (count, y) = y.into_matrix();
                assert_eq!((count, y.len()), (rows, rows * OUTPUTS));
                for (x, y) in x.chunks(INPUTS).zip(y.chunks(OUTPUTS)) {
                    for ((found, w), bias) in y.iter().zip(values.chunks(INPUTS)).zip(&bias) {
                        let expected =
                            dot(x, w) + f64::from(*bias) * f64::from(u8::from(with_bias));
                        // Inputs are rounded to 127 steps of their block's largest: 0.3 % of it on average.
                        let most = 0.01 * (dot(x, x) * dot(w, w)).sqrt() + 1e-5;
                        let off = (f64::from(*found) - expected).abs();
                        assert!(
                            off <= most,
                            "{bits:?}, {size}, {rows} rows: {found}, {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_a_table_are_its_weights() {
    for (case, (bits, size, minima)) in FORMS.into_iter().enumerate() {
        let mut random = Random::new(80 + case as u64);
        let blocks = blocks(&mut random, bits, size, minima);
        let values = blocks.values();
        let folder = tempfile::tempdir().unwrap();
        let (mut graph, _writer) = graph(&folder, INPUTS, |writer, graph| {
            let table = StoredTable::Blocks {
                width: INPUTS,
                rows: OUTPUTS,
                blocks: stored(writer, &blocks),
            };
            let ids = graph.input("ids", Element::I64, &[Dim::Named("m")]);
            graph.table_rows("table", &table, &ids)
        });
        let ids = [0, 39, 7, 7, 21];
        let inputs = vec![("ids", Array::I64(vec![ids.len()], ids.to_vec()))];
        let [rows] = graph.run(inputs, ["y"]);
        for (id, found) in ids.into_iter().zip(rows.into_matrix().1.chunks(INPUTS)) {
            let expected = &values[id as usize * INPUTS..][..INPUTS];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6, "{found}, {expected}");
            }
        }
    }
}
