//! Models that read as their papers write them: one value at a time, in double precision, nothing folded.

use astra_export::family::bert::BertModel;
use astra_export::family::decoder::{Decoder, DecoderBlock, DecoderNorm, Mlp, Positions};
use astra_export::family::weights::{Linear, RmsNorm};

use crate::reference::{Row, add, attend, dot, gelu, linear, norm, single};

/// Features `[l, D]` and scores of the next token `[l, vocab]`.
pub(crate) fn decode(model: &Decoder, ids: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let mut x: Vec<Row> = table(&model.embedding, model.hidden, ids.iter().copied());
    if let Positions::Learned(places) = &model.positions {
        let places = table(places, model.hidden, 0..ids.len() as u32);
        x = x
            .iter()
            .zip(&places)
            .map(|(x, place)| add(x, place))
            .collect();
    }
    for block in &model.blocks {
        x = run_block(model, block, &x);
    }
    let features: Vec<Row> = x.iter().map(|row| any_norm(&model.norm, row)).collect();
    let logits = features.iter().map(|row| match &model.head {
        Some(head) => linear(head, row),
        None => {
            let all = table(&model.embedding, model.hidden, 0..model.vocab as u32);
            all.iter().map(|token| dot(token, row)).collect()
        }
    });
    let logits: Vec<Row> = logits.collect();
    (single(&features.concat()), single(&logits.concat()))
}

/// Features `[l, D]`.
pub(crate) fn encode(model: &BertModel, ids: &[u32]) -> Vec<f32> {
    let tokens = table(&model.embedding, model.hidden, ids.iter().copied());
    let places = table(&model.positions, model.hidden, 0..ids.len() as u32);
    let sums = tokens
        .iter()
        .zip(&places)
        .map(|(token, place)| add(token, place));
    let mut x: Vec<Row> = sums.map(|sum| norm(&model.norm, &sum)).collect();
    for block in &model.blocks {
        let all = |map: &Linear| -> Vec<Row> { x.iter().map(|row| linear(map, row)).collect() };
        let (q, k, v) = (all(&block.query), all(&block.key), all(&block.value));
        let rows = x.iter().zip(&q).map(|(x, q)| {
            let mixed = linear(&block.output, &attend(model.heads, q, &k, &v));
            let x = norm(&block.norm1, &add(x, &mixed));
            let wide: Row = linear(&block.up, &x).into_iter().map(gelu).collect();
            norm(&block.norm2, &add(&x, &linear(&block.down, &wide)))
        });
        x = rows.collect();
    }
    single(&x.concat())
}

fn table(values: &[f32], width: usize, rows: impl Iterator<Item = u32>) -> Vec<Row> {
    let row = |row: u32| {
        let row = &values[row as usize * width..][..width];
        row.iter().map(|&value| f64::from(value)).collect()
    };
    rows.map(row).collect()
}

fn run_block(model: &Decoder, block: &DecoderBlock, x: &[Row]) -> Vec<Row> {
    let n: Vec<Row> = x.iter().map(|row| any_norm(&block.norm1, row)).collect();
    let all = |map: &Linear| -> Vec<Row> { n.iter().map(|row| linear(map, row)).collect() };
    let (mut q, mut k, v) = (all(&block.query), all(&block.key), all(&block.value));
    if let Positions::Rotary(frequencies) = &model.positions {
        for rows in [&mut q, &mut k] {
            for (position, row) in rows.iter_mut().enumerate() {
                turn(row, position, frequencies);
            }
        }
    }
    // Each query head with a copy of the K/V head it shares.
    let [k, v] = [k, v].map(|rows| -> Vec<Row> {
        rows.iter()
            .map(|row| repeat(row, model.heads / model.kv_heads, model.head_dim))
            .collect()
    });
    let rows = x.iter().zip(&q).enumerate().map(|(i, (x, q))| {
        let mixed = attend(model.heads, q, &k[..=i], &v[..=i]);
        let x = add(x, &linear(&block.output, &mixed));
        let n = any_norm(&block.norm2, &x);
        let more = match &block.mlp {
            Mlp::Gated { gate, up, down } => {
                let gate = linear(gate, &n).into_iter().map(|g| g / (1.0 + (-g).exp()));
                let wide: Row = gate
                    .zip(linear(up, &n))
                    .map(|(gate, up)| gate * up)
                    .collect();
                linear(down, &wide)
            }
            Mlp::Plain { up, down } => {
                let wide: Row = linear(up, &n).into_iter().map(tanh_gelu).collect();
                linear(down, &wide)
            }
        };
        add(&x, &more)
    });
    rows.collect()
}

/// A pair of channels of a head is a complex number that is turned by the position times its frequency.
fn turn(row: &mut Row, position: usize, frequencies: &[f64]) {
    let half = frequencies.len();
    for head in row.chunks_mut(2 * half) {
        for (i, frequency) in frequencies.iter().enumerate() {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (a, b) = (head[i], head[i + half]);
            head[i] = a * cos - b * sin;
            head[i + half] = a * sin + b * cos;
        }
    }
}

fn repeat(row: &Row, times: usize, width: usize) -> Row {
    let heads = row.chunks(width);
    heads.flat_map(|head| head.repeat(times)).collect()
}

fn any_norm(any: &DecoderNorm, row: &Row) -> Row {
    match any {
        DecoderNorm::Layer(layer) => norm(layer, row),
        DecoderNorm::Rms(rms) => rms_norm(rms, row),
    }
}

fn rms_norm(norm: &RmsNorm, row: &Row) -> Row {
    let square = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
    let root = (square + f64::from(norm.epsilon)).sqrt();
    let values = row.iter().zip(&norm.weight);
    values.map(|(v, &w)| v / root * f64::from(w)).collect()
}

/// Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, the approximation.
fn tanh_gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}
