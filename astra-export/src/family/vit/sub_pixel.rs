//! A transposed convolution as a plain one with more channels, each of which is a pixel of the wider image.
//!
//! With kernel k, stride s and padding p, pixel y of the result is the sum of `x[a - j] w[q + s j]` over j from 0 to T - 1, where
//! y + p = s a + q, 0 <= q < s, and T = ⌈k / s⌉ taps; weights beyond the kernel are 0. So it is a convolution of T taps with s
//! results for each place, put side by side (Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
//! Sub-Pixel Convolutional Neural Network", 2016).
//!
//! ONNX Runtime's own transposed convolution makes a matrix of k² values for each place and channel, and adds them up. The decoder of
//! three stages after DINOv2 ViT-S took 228 ms for 37 x 37 patches so, and takes 164 ms; 12 rows of them took 61 and take 46 ms
//! (one core of x86-64).

use astra_bundle::{BundleError, BundleWriter, TensorRef};

use super::model::UpConvolution;
use crate::graph::{Attribute, GraphBuilder, Value, as_i64};

const ROWS: i64 = 2;
const COLUMNS: i64 = 3;

/// A stage of a decoder: an up-convolution and a ReLU.
#[derive(Debug)]
pub(super) struct StoredStage {
    /// `[outputs * s², inputs, T, T]`
    weight: TensorRef,
    /// `[outputs * s²]`
    bias: TensorRef,
    taps: i64,
    kernel: i64,
    stride: i64,
    padding: i64,
}

/// One side of an image: zeros put there before the convolution, and pixels cut off after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    zeros: i64,
    cut: i64,
}

/// The same above or below a member's rows, where there may be a halo: `there` says so at run time.
#[derive(Clone, Copy, Debug)]
struct RowEdge<'a> {
    without: Edge,
    with: Edge,
    there: &'a Value,
}

/// Above and below a member's rows.
#[derive(Debug)]
pub(super) struct RowEdges<'a>([RowEdge<'a>; 2]);

impl StoredStage {
    pub(super) fn store(
        writer: &mut BundleWriter,
        stage: &UpConvolution,
    ) -> Result<Self, BundleError> {
        let (weight, taps) = sub_pixel(stage);
        let pixels = stage.stride * stage.stride;
        let outputs = stage.outputs * pixels;
        let bias = stage.bias.iter();
        let bias = bias.flat_map(|&bias| std::iter::repeat_n(bias, pixels));
        let bias: Vec<f32> = bias.collect();
        Ok(Self {
            weight: writer.weights(&weight, &[outputs, stage.inputs, taps, taps])?,
            bias: writer.weights(&bias, &[outputs])?,
            taps: as_i64(taps),
            kernel: as_i64(stage.kernel),
            stride: as_i64(stage.stride),
            padding: as_i64(stage.padding),
        })
    }

    /// Pixels out per pixel in, on a side.
    pub(super) fn stride(&self) -> usize {
        self.stride as usize
    }

    /// Pixels that a place stands for.
    pub(super) fn pixels(&self) -> usize {
        self.stride() * self.stride()
    }

    /// Side of the result for an input of that side: ONNX `ConvTranspose`, no output padding.
    pub(super) fn side(&self, input: usize) -> usize {
        let Self {
            kernel: k,
            stride: s,
            padding: p,
            ..
        } = *self;
        usize::try_from((as_i64(input) - 1).max(0) * s + k - 2 * p).unwrap_or(0)
    }

    /// Rows needed before and after those of the input whose results are wanted with `needed` more rows on either side. `None`
    /// unless n rows become n times `stride`.
    ///
    /// Row y of the result is made of rows ⌈(y + p - k + 1) / s⌉ to ⌊(y + p) / s⌋ of the input, which with k = s + 2 p is
    /// ⌈(p + needed) / s⌉ rows more on either side.
    pub(super) fn halo(&self, needed: usize) -> Option<usize> {
        (self.kernel == self.stride + 2 * self.padding)
            .then(|| ceil(self.padding + as_i64(needed), self.stride) as usize)
    }

    /// Before the first and after the last pixel of a whole image.
    ///
    /// With z zeros before it the first result is y = s (z - T + 1) - p, which is to be at most 0; with z after it the last is
    /// s (n + z) - 1 - p, and is to be at least that of the whole, s (n - 1) + k - 2 p - 1.
    fn edges(&self) -> [Edge; 2] {
        let Self {
            taps: t,
            kernel: k,
            stride: s,
            padding: p,
            ..
        } = *self;
        let before = (t - 1 - p / s).max(0);
        let after = ceil(k - s - p, s).max(0);
        [
            Edge {
                zeros: before,
                cut: s * (before - t + 1) + p,
            },
            Edge {
                zeros: after,
                cut: s * after + s - k + p,
            },
        ]
    }

    /// Where `halo` more rows than the own are there, of whose results `needed` are wanted. What has no row to come from has weights of 0
    /// for it.
    fn halo_edges(&self, [halo, needed]: [i64; 2]) -> [Edge; 2] {
        let Self {
            taps: t,
            stride: s,
            padding: p,
            ..
        } = *self;
        let before = (t - 1 + ceil(needed - p, s) - halo).max(0);
        [
            Edge {
                zeros: before,
                cut: s * (halo + before - t + 1) + p - needed,
            },
            Edge {
                zeros: 0,
                cut: s * halo - p - needed,
            },
        ]
    }

    /// Edges of rows with as many rows of halo before and after this stage as `halos` says, where `there` says that they are.
    pub(super) fn rows<'a>(&self, halos: &[usize], there: [&'a Value; 2]) -> RowEdges<'a> {
        let halos = [0, 1].map(|at| as_i64(halos.get(at).copied().unwrap_or(0)));
        let (without, with) = (self.edges(), self.halo_edges(halos));
        let [above, below] = there;
        let edge = |without, with, there| RowEdge {
            without,
            with,
            there,
        };
        RowEdges([
            edge(without[0], with[0], above),
            edge(without[1], with[1], below),
        ])
    }

    /// The convolution and the ReLU: `[1, inputs, rows, columns]` to places, `[1, outputs * s², .., ..]`, of a whole image.
    pub(super) fn add(&self, graph: &mut GraphBuilder, image: &Value, number: usize) -> Value {
        let [before, after] = self.edges().map(|edge| edge.zeros);
        self.convolve(graph, image, number, [before, before, after, after])
    }

    /// The same of a member's rows.
    pub(super) fn add_rows(
        &self,
        graph: &mut GraphBuilder,
        image: &Value,
        number: usize,
        RowEdges(edges): &RowEdges<'_>,
    ) -> Value {
        let zeros = edges.map(|edge| edge.choose(graph, |edge| edge.zeros));
        let zeros = graph.concat(&zeros.each_ref(), 0);
        let (none, axis) = (Value::none(), graph.ints(&[ROWS]));
        let image = graph.apply("Pad", &[image, &zeros, &none, &axis], &[]);
        let [before, after] = self.edges().map(|edge| edge.zeros);
        self.convolve(graph, &image, number, [0, before, 0, after])
    }

    fn convolve(
        &self,
        graph: &mut GraphBuilder,
        image: &Value,
        number: usize,
        zeros: [i64; 4],
    ) -> Value {
        let weight = graph.stored(&format!("stage_{number}.weight"), &self.weight);
        let bias = graph.stored(&format!("stage_{number}.bias"), &self.bias);
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[self.taps; 2])),
            ("pads", Attribute::Ints(&zeros)),
        ];
        let places = graph.apply("Conv", &[image, &weight, &bias], &attributes);
        graph.apply("Relu", &[&places], &[])
    }

    /// Places of a whole image, `[1, c * s², .., ..]`, to its pixels, `[1, c, .., ..]`.
    pub(super) fn widen(&self, graph: &mut GraphBuilder, places: &Value) -> Value {
        let pixels = self.side_by_side(graph, places);
        let [before, after] = self.edges().map(|edge| edge.cut);
        if [before, after] == [0, 0] {
            return pixels;
        }
        let first = graph.ints(&[before; 2]);
        let end = graph.ints(&[end(after); 2]);
        let axes = graph.ints(&[ROWS, COLUMNS]);
        graph.apply("Slice", &[&pixels, &first, &end, &axes], &[])
    }

    /// The same of a member's rows: without those that are not wanted.
    pub(super) fn widen_rows(
        &self,
        graph: &mut GraphBuilder,
        places: &Value,
        RowEdges([above, below]): &RowEdges<'_>,
    ) -> Value {
        let pixels = self.side_by_side(graph, places);
        let [before, after] = self.edges().map(|edge| edge.cut);
        let (first, after) = (graph.ints(&[before]), graph.ints(&[end(after)]));
        let cut = above.choose(graph, |edge| edge.cut);
        let first = graph.concat(&[&cut, &first], 0);
        let only_rows = [
            ("start", Attribute::Int(ROWS)),
            ("end", Attribute::Int(ROWS + 1)),
        ];
        let rows = graph.apply("Shape", &[&pixels], &only_rows);
        let cut = below.choose(graph, |edge| edge.cut);
        let rows = graph.apply("Sub", &[&rows, &cut], &[]);
        let end = graph.concat(&[&rows, &after], 0);
        let axes = graph.ints(&[ROWS, COLUMNS]);
        graph.apply("Slice", &[&pixels, &first, &end, &axes], &[])
    }

    fn side_by_side(&self, graph: &mut GraphBuilder, places: &Value) -> Value {
        if self.stride == 1 {
            return places.clone();
        }
        let attributes = [
            ("blocksize", Attribute::Int(self.stride)),
            ("mode", Attribute::Text("CRD")),
        ];
        graph.apply("DepthToSpace", &[places], &attributes)
    }
}

impl RowEdge<'_> {
    /// i64 `[1]`: what `get` says of the edge that there is.
    fn choose(&self, graph: &mut GraphBuilder, get: fn(Edge) -> i64) -> Value {
        let (without, with) = (get(self.without), get(self.with));
        let base = graph.ints(&[without]);
        if with == without {
            return base;
        }
        let more = graph.ints(&[with - without]);
        let more = graph.apply("Mul", &[self.there, &more], &[]);
        graph.apply("Add", &[&base, &more], &[])
    }
}

/// Weights `[outputs * s², inputs, T, T]` and T. Channel o * s² + s r + q is pixel q of row r of channel o's places.
fn sub_pixel(stage: &UpConvolution) -> (Vec<f32>, usize) {
    let UpConvolution {
        inputs,
        outputs,
        kernel,
        stride,
        ..
    } = *stage;
    let taps = kernel.div_ceil(stride.max(1));
    let mut weight = Vec::with_capacity(outputs * stride * stride * inputs * taps * taps);
    // The convolution goes through the input forwards, the sum above backwards.
    let at = |place: usize, tap: usize| place + stride * (taps - 1 - tap);
    for output in 0..outputs {
        for (row, column) in pairs(stride) {
            for input in 0..inputs {
                let filter = (input * outputs + output) * kernel * kernel;
                weight.extend(pairs(taps).map(|(tap_row, tap_column)| {
                    let (row, column) = (at(row, tap_row), at(column, tap_column));
                    let inside = row < kernel && column < kernel;
                    let value = stage.weight.get(filter + row * kernel + column);
                    value.copied().filter(|_| inside).unwrap_or(0.0)
                }));
            }
        }
    }
    (weight, taps)
}

fn pairs(side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..side).flat_map(move |row| (0..side).map(move |column| (row, column)))
}

/// The end of a slice that leaves this number out.
fn end(cut: i64) -> i64 {
    if cut == 0 { i64::MAX } else { -cut }
}

/// ⌈a / b⌉ of any a.
fn ceil(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage([kernel, stride, padding]: [usize; 3]) -> StoredStage {
        let tensor = || TensorRef {
            offset: 0,
            shape: Vec::new(),
            dtype: Default::default(),
        };
        StoredStage {
            weight: tensor(),
            bias: tensor(),
            taps: as_i64(kernel.div_ceil(stride)),
            kernel: as_i64(kernel),
            stride: as_i64(stride),
            padding: as_i64(padding),
        }
    }

    #[test]
    fn taps_run_backwards_through_the_kernel() {
        let up = UpConvolution {
            inputs: 1,
            outputs: 1,
            kernel: 3,
            stride: 2,
            padding: 0,
            weight: (1..=9_u8).map(f32::from).collect(),
            bias: vec![0.0],
        };
        let (weight, taps) = sub_pixel(&up);
        assert_eq!(taps, 2);
        let expected = [
            [9., 7., 3., 1.],
            [0., 8., 0., 2.],
            [0., 0., 6., 4.],
            [0., 0., 0., 5.],
        ];
        assert_eq!(weight, expected.concat());
    }

    #[test]
    fn edges_are_no_wider_than_needed() {
        let edge = |zeros, cut| Edge { zeros, cut };
        assert_eq!(stage([4, 2, 1]).edges(), [edge(1, 1), edge(1, 1)]);
        assert_eq!(stage([2, 2, 0]).edges(), [edge(0, 0), edge(0, 0)]);
        assert_eq!(stage([3, 1, 1]).edges(), [edge(1, 0), edge(1, 0)]);
        assert_eq!(stage([3, 2, 0]).edges(), [edge(1, 0), edge(1, 1)]);
        let up = stage([4, 2, 1]);
        assert_eq!(up.halo(0), Some(1));
        assert_eq!(up.halo_edges([1, 0]), [edge(0, 1), edge(0, 1)]);
        assert_eq!(up.halo(1), Some(1));
        assert_eq!(up.halo_edges([1, 1]), [edge(0, 0), edge(0, 0)]);
        assert_eq!(stage([3, 2, 0]).halo(0), None);
    }

    #[test]
    fn whole_quotients_are_not_rounded() {
        let quotients = [-4, -3, -1, 0, 1, 3, 4].map(|a| ceil(a, 3));
        assert_eq!(quotients, [-1, -1, 0, 0, 1, 1, 2]);
    }
}
