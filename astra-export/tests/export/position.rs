//! Position tables against ONNX Runtime's own Resize.

use astra_export::graph::{Attribute, Dim, Element, GraphBuilder, Value};
use astra_export::position::PositionTable;

use crate::models::Random;
use crate::runtime::{Array, Graph, max_difference};

/// The nodes an ONNX export of DINOv2 has for this.
fn resize_graph(from: usize, to: usize, channels: usize) -> Vec<u8> {
    let fixed = |sides: [usize; 4]| sides.map(Dim::Fixed);
    let mut graph = GraphBuilder::new("resize");
    let table = graph.input("table", Element::F32, &fixed([1, channels, from, from]));
    let sizes = [1, channels, to, to].map(|side| i64::try_from(side).unwrap());
    let sizes = graph.ints(&sizes);
    let none = Value::none();
    let attributes = [
        ("mode", Attribute::Text("cubic")),
        (
            "coordinate_transformation_mode",
            Attribute::Text("half_pixel"),
        ),
        ("cubic_coeff_a", Attribute::Float(-0.75)),
    ];
    let resized = graph.apply("Resize", &[&table, &none, &none, &sizes], &attributes);
    graph.output(
        &resized,
        "resized",
        Element::F32,
        &fixed([1, channels, to, to]),
    );
    graph.finish()
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|c| values.iter().copied().skip(c).step_by(columns))
        .collect()
}

#[test]
fn resized_as_onnx_runtime_does() {
    const CHANNELS: usize = 3;
    for (from, to) in [(37, 16), (37, 36), (4, 9), (16, 37), (2, 5), (1, 3), (5, 1)] {
        let values = Random::new(from as u64).around(0.0, 1.0, from * from * CHANNELS);
        let table = PositionTable::new(values.clone(), CHANNELS).unwrap();
        let planes = Array::F32(vec![1, CHANNELS, from, from], transpose(&values, CHANNELS));
        let mut graph = Graph::from_bytes(&resize_graph(from, to, CHANNELS));
        let [expected] = graph.run(vec![("table", planes)], ["resized"]);
        let expected = transpose(&expected.into_matrix().1, to * to);
        let difference = max_difference(table.resized(to).values(), &expected);
        assert!(difference <= 2e-5, "{from} to {to}: off by {difference}");
    }
}
