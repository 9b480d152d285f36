//! A vision Transformer as its papers write it: one value at a time, in double precision, nothing folded.

use astra_export::family::vit::{BlockWeights, Head, ImageScale, Pooling, UpConvolution, VitModel};
use astra_export::family::weights::{Linear, Norm};

pub(crate) type Row = Vec<f64>;

/// What the model answers.
pub(crate) struct Answer {
    pub(crate) cls: Vec<f32>,
    /// `[T, D]`
    pub(crate) patches: Vec<f32>,
    /// `[size, size]` or `[classes]`; empty without head.
    pub(crate) head: Vec<f32>,
}

/// `pixels` are `[side * side, patch, patch, 3]`.
pub(crate) fn forward(model: &VitModel, scale: &ImageScale, side: usize, pixels: &[u8]) -> Answer {
    let mut x = embed(model, scale, side, pixels);
    for block in &model.blocks {
        x = run_block(model.heads, block, &x);
    }
    let features: Vec<Row> = x.iter().map(|row| norm(&model.norm, row)).collect();
    let patches = &features[1..];
    Answer {
        cls: single(&features[0]),
        patches: single(&patches.concat()),
        head: single(&run_head(model, &features[0], patches, side)),
    }
}

fn embed(model: &VitModel, scale: &ImageScale, side: usize, pixels: &[u8]) -> Vec<Row> {
    let positions = model.positions.resized(side);
    let area = model.patch * model.patch;
    let mut rows = vec![model.class_token.iter().map(|&v| v.into()).collect::<Row>()];
    for (token, bytes) in pixels.chunks(3 * area).enumerate() {
        let mut values = vec![0.0; 3 * area];
        for (place, byte) in bytes.iter().enumerate() {
            let (pixel, channel) = (place / 3, place % 3);
            values[channel * area + pixel] = (f64::from(*byte) / 255.0
                - f64::from(scale.mean[channel]))
                / f64::from(scale.std[channel]);
        }
        let mut row = linear(&model.projection, &values);
        for (i, value) in row.iter_mut().enumerate() {
            *value += f64::from(positions.values()[token * model.hidden + i]);
        }
        rows.push(row);
    }
    rows
}

fn run_block(heads: usize, block: &BlockWeights, x: &[Row]) -> Vec<Row> {
    let n: Vec<Row> = x.iter().map(|row| norm(&block.norm1, row)).collect();
    let all = |map: &Linear| -> Vec<Row> { n.iter().map(|row| linear(map, row)).collect() };
    let (q, k, v) = (all(&block.query), all(&block.key), all(&block.value));
    let rows = x.iter().zip(&q).map(|(x, q)| {
        let x = add(x, &linear(&block.output, &attend(heads, q, &k, &v)));
        let wide: Row = linear(&block.up, &norm(&block.norm2, &x))
            .into_iter()
            .map(gelu)
            .collect();
        add(&x, &linear(&block.down, &wide))
    });
    rows.collect()
}

pub(crate) fn attend(heads: usize, q: &Row, k: &[Row], v: &[Row]) -> Row {
    let width = q.len() / heads;
    let mut mixed = vec![0.0; q.len()];
    for head in 0..heads {
        let part = head * width..(head + 1) * width;
        let scores: Vec<f64> = k
            .iter()
            .map(|k| dot(&q[part.clone()], &k[part.clone()]) / (width as f64).sqrt())
            .collect();
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        for (score, v) in scores.iter().zip(v) {
            for i in part.clone() {
                mixed[i] += score.exp() / total * v[i];
            }
        }
    }
    mixed
}

fn run_head(model: &VitModel, cls: &Row, patches: &[Row], side: usize) -> Row {
    match &model.head {
        Head::Features => Vec::new(),
        Head::Classification(classifier) => {
            let mut pooled = cls.clone();
            if classifier.pooling == Pooling::ClassAndMean {
                let mean =
                    |i: usize| patches.iter().map(|p| p[i]).sum::<f64>() / patches.len() as f64;
                pooled.extend((0..model.hidden).map(mean));
            }
            linear(&classifier.linear, &pooled)
        }
        Head::Saliency(saliency) => {
            let mut image = Image::new(model.hidden, side);
            for (token, row) in patches.iter().enumerate() {
                for (channel, value) in row.iter().enumerate() {
                    *image.at(channel, token / side, token % side) = *value;
                }
            }
            for stage in &saliency.stages {
                image = transposed_convolution(stage, &mut image);
            }
            let (weight, bias) = (&saliency.last.weight, saliency.last.bias[0]);
            let mut map = Image::new(1, image.side);
            for (y, x) in grid(image.side) {
                let channels = weight.iter().enumerate();
                let sum: f64 = channels
                    .map(|(c, &w)| f64::from(w) * *image.at(c, y, x))
                    .sum();
                *map.at(0, y, x) = sum + f64::from(bias);
            }
            let size = side * model.patch;
            let values =
                grid(size).map(|(y, x)| 1.0 / (1.0 + (-bilinear(&mut map, size, y, x)).exp()));
            values.collect()
        }
    }
}

struct Image {
    side: usize,
    values: Row,
}

impl Image {
    fn new(channels: usize, side: usize) -> Self {
        Self {
            side,
            values: vec![0.0; channels * side * side],
        }
    }

    fn at(&mut self, channel: usize, y: usize, x: usize) -> &mut f64 {
        &mut self.values[(channel * self.side + y) * self.side + x]
    }
}

fn grid(side: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..side).flat_map(move |y| (0..side).map(move |x| (y, x)))
}

/// Every pixel in is painted over the pixels out that it reaches; then ReLU.
fn transposed_convolution(stage: &UpConvolution, image: &mut Image) -> Image {
    let mut wide = Image::new(
        stage.outputs,
        (image.side - 1) * stage.stride + stage.kernel - 2 * stage.padding,
    );
    for output in 0..stage.outputs {
        for (y, x) in grid(wide.side) {
            *wide.at(output, y, x) = f64::from(stage.bias[output]);
        }
        for input in 0..stage.inputs {
            for ((y, x), (dy, dx)) in
                grid(image.side).flat_map(|at| grid(stage.kernel).map(move |d| (at, d)))
            {
                let to = |from: usize, step: usize| {
                    (from * stage.stride + step).checked_sub(stage.padding)
                };
                let (Some(to_y), Some(to_x)) = (to(y, dy), to(x, dx)) else {
                    continue;
                };
                if to_y < wide.side && to_x < wide.side {
                    let filter = (input * stage.outputs + output) * stage.kernel * stage.kernel;
                    let weight = f64::from(stage.weight[filter + dy * stage.kernel + dx]);
                    *wide.at(output, to_y, to_x) += weight * *image.at(input, y, x);
                }
            }
        }
    }
    wide.values
        .iter_mut()
        .for_each(|value| *value = value.max(0.0));
    wide
}

/// Pixel centres at halves, border repeated.
fn bilinear(map: &mut Image, size: usize, y: usize, x: usize) -> f64 {
    let side = map.side;
    let place = |to: usize| {
        let at =
            ((to as f64 + 0.5) * side as f64 / size as f64 - 0.5).clamp(0.0, side as f64 - 1.0);
        (
            at.floor() as usize,
            (at.floor() as usize + 1).min(side - 1),
            at.fract(),
        )
    };
    let ((top, bottom, down), (left, right, across)) = (place(y), place(x));
    let mut row = |y: usize| *map.at(0, y, left) * (1.0 - across) + *map.at(0, y, right) * across;
    row(top) * (1.0 - down) + row(bottom) * down
}

pub(crate) fn norm(norm: &Norm, row: &Row) -> Row {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
    let deviation = (variance + f64::from(norm.epsilon)).sqrt();
    let values = row.iter().enumerate();
    values
        .map(|(i, v)| (v - mean) / deviation * f64::from(norm.weight[i]) + f64::from(norm.bias[i]))
        .collect()
}

pub(crate) fn linear(linear: &Linear, row: &Row) -> Row {
    let mut sums: Row = linear.bias.iter().map(|&b| b.into()).collect();
    for (value, weights) in row.iter().zip(linear.weight.chunks(linear.outputs)) {
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            *sum += value * f64::from(weight);
        }
    }
    sums
}

pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
}

/// By its power series, which is exact enough in double precision up to 4; beyond it is 1 to 1e-8.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(crate) fn add(a: &Row, b: &Row) -> Row {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
