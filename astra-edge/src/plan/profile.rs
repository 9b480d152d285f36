//! Times of the steps of a request on one device, as functions of the number of tokens.

use astra_bundle::{HeadRows, Shape};
use serde::{Deserialize, Serialize};

use super::codes::RungCodes;

/// Times of each step on one device, in milliseconds of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Name of the model.
    pub model: String,
    /// Dimensions of the Transformer.
    pub shape: Shape,
    /// Whether a token attends only to itself and the tokens before it.
    pub causal: bool,
    /// The full model on one device, by tokens of the input.
    pub whole: Curve,
    /// `embed`, by own tokens.
    pub embed: Curve,
    /// `local` of one block, by own tokens.
    pub local: Curve,
    /// `mlp` of one block, all chunks, by own tokens.
    pub mlp: Curve,
    /// From all features to the output, for a text to the logits of the next token.
    pub head: f64,
    /// Division of a distributed head by rows: the time of each member is proportional to its rows.
    #[serde(default)]
    pub head_rows: Option<HeadRows>,
    /// Compression of a member's pixels; absent for texts.
    pub strip: Option<Strip>,
    /// Quantizing and dequantizing features, by tokens.
    pub share: Curve,
    /// Sending or receiving a batch of code frames, by its bytes.
    pub message: Curve,
    /// Latency of a message between two idle devices, without the transmission time of its bits.
    pub hop: f64,
    /// Times that depend on the rung.
    pub rungs: Vec<RungProfile>,
}

/// Compression of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Strip {
    /// Compressing, by tokens.
    pub encode: Curve,
    /// Decompressing, by tokens.
    pub decode: Curve,
    /// Bytes per token.
    pub bytes: f64,
}

/// Times of one rung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RungProfile {
    /// Name of the rung: about the bits per token per block; 0 in exact mode.
    pub bits: u16,
    /// Axes of a decoded token, mean over the blocks.
    pub rank: usize,
    /// Codes of each block.
    pub codes: RungCodes,
    /// Tokens of the chunks that a member computes its rows in on a slow link.
    pub chunk_tokens: usize,
    /// Encoding in one block, by own tokens; this and the others are means over the blocks.
    pub encode: Curve,
    /// Decoding in one block, by remote tokens.
    pub decode: Curve,
    /// Prediction in one block, by all tokens; zero where the rung does not predict.
    pub expect: Curve,
    /// `attend` of one block.
    pub attend: Surface,
}

/// Time as a function of a number of tokens, or of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Constant part.
    pub base: f64,
    /// Per token.
    pub token: f64,
    /// Per pair of tokens.
    pub pair: f64,
}

/// Time of `attend` as a function of its numbers of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// Constant part.
    pub base: f64,
    /// Per own row.
    pub row: f64,
    /// Per pair of a query and a key.
    pub pair: f64,
    /// Per remote row.
    pub remote: f64,
}

impl Curve {
    /// Its value.
    pub fn at(&self, tokens: usize) -> f64 {
        let tokens = tokens as f64;
        self.base + self.token * tokens + self.pair * tokens * tokens
    }

    /// Least-squares fit of the relative error to measured points of tokens and time; of degree 1 for fewer than three points.
    pub fn fit(points: &[(usize, f64)]) -> Self {
        let [base, token, pair] = match points.len() {
            0 => [0.0; 3],
            1 => [0.0, slope(points), 0.0],
            2 => {
                let [base, token] = least_squares(points, |tokens| [1.0, tokens as f64]);
                [base, token, 0.0]
            }
            _ => least_squares(points, |tokens| {
                let tokens = tokens as f64;
                [1.0, tokens, tokens * tokens]
            }),
        };
        Self { base, token, pair }
    }

    /// The same for a step whose time is linear.
    pub fn fit_line(points: &[(usize, f64)]) -> Self {
        let [base, token] = match points.len() {
            0 | 1 => [0.0, slope(points)],
            _ => least_squares(points, |tokens| [1.0, tokens as f64]),
        };
        Self {
            base,
            token,
            pair: 0.0,
        }
    }
}

fn slope(points: &[(usize, f64)]) -> f64 {
    let point = points.first();
    point.map_or(0.0, |&(tokens, time)| time / tokens.max(1) as f64)
}

/// Numbers of rows of `attend`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttendSize {
    /// Own rows, including class tokens.
    pub own: usize,
    /// Remote rows.
    pub remote: usize,
    /// Pairs of a query and a key.
    pub pairs: f64,
}

impl AttendSize {
    /// For a member with `tokens` own tokens and `remote` remote tokens.
    pub fn of(class_tokens: usize, tokens: usize, remote: usize, causal: bool) -> Self {
        let own = class_tokens + tokens;
        let all = (own + remote) as f64;
        let pairs = match causal {
            false => own as f64 * all,
            // Kernels compute all pairs of own rows, or half of them; either is proportional to this.
            true => own as f64 * (all - own as f64 / 2.0),
        };
        Self { own, remote, pairs }
    }
}

impl Surface {
    /// Its value.
    pub fn at(&self, size: AttendSize) -> f64 {
        let AttendSize { own, remote, pairs } = size;
        self.base + self.row * own as f64 + self.pair * pairs + self.remote * remote as f64
    }

    /// The surface that comes closest to measured points, relatively.
    pub fn fit(points: &[(AttendSize, f64)]) -> Self {
        let [base, row, pair, remote] = least_squares(points, |rows| {
            [1.0, rows.own as f64, rows.pairs, rows.remote as f64]
        });
        Self {
            base,
            row,
            pair,
            remote,
        }
    }
}

/// Weights of the terms that add up to the measured values with the least sum of squared relative errors. Terms that make
/// no difference, or a negative one, weigh nothing.
fn least_squares<P: Copy, const N: usize>(
    points: &[(P, f64)],
    terms: impl Fn(P) -> [f64; N],
) -> [f64; N] {
    let mut used = [true; N];
    loop {
        let weights = solve(&normal(points, &terms, &used));
        let negative = (0..N).filter(|&at| weights.get(at).is_some_and(|weight| *weight < 0.0));
        let worst = negative.min_by(|&a, &b| {
            let of = |at: usize| weights.get(at).copied().unwrap_or_default();
            of(a).total_cmp(&of(b))
        });
        match worst.and_then(|at| used.get_mut(at)) {
            Some(used) => *used = false,
            None => return weights,
        }
    }
}

/// The normal equations, terms that are not used replaced by "weighs nothing": N rows of N coefficients, then the right side.
fn normal<P: Copy, const N: usize>(
    points: &[(P, f64)],
    terms: &impl Fn(P) -> [f64; N],
    used: &[bool; N],
) -> ([[f64; N]; N], [f64; N]) {
    let (mut matrix, mut right) = ([[0.0; N]; N], [0.0; N]);
    for &(point, value) in points {
        let scale = value.abs().max(1e-9);
        let mut terms = terms(point).map(|term| term / scale);
        for (term, used) in terms.iter_mut().zip(used) {
            *term *= f64::from(u8::from(*used));
        }
        for ((row, right), a) in matrix.iter_mut().zip(&mut right).zip(terms) {
            for (sum, b) in row.iter_mut().zip(terms) {
                *sum += a * b;
            }
            *right += a * value / scale;
        }
    }
    (matrix, right)
}

/// Gauss's elimination with the largest pivot; a term without one is 0.
fn solve<const N: usize>((matrix, right): &([[f64; N]; N], [f64; N])) -> [f64; N] {
    let mut rows: Vec<(Vec<f64>, f64)> = matrix
        .iter()
        .zip(right)
        .map(|(row, right)| {
            // Terms differ by many orders of magnitude: rows are made alike.
            let scale = row
                .iter()
                .fold(0.0, |most: f64, value| most.max(value.abs()));
            let scale = if scale > 0.0 { scale } else { 1.0 };
            (
                row.iter().map(|value| value / scale).collect(),
                right / scale,
            )
        })
        .collect();
    let mut pivots = [const { None }; N];
    for (column, pivot) in pivots.iter_mut().enumerate() {
        let of = |row: &(Vec<f64>, f64)| row.0.get(column).copied().unwrap_or_default();
        let largest = rows
            .iter()
            .enumerate()
            .max_by(|a, b| of(a.1).abs().total_cmp(&of(b.1).abs()));
        let Some((place, _)) = largest.filter(|(_, row)| of(row).abs() > 1e-12) else {
            continue;
        };
        let (chosen, value) = rows.swap_remove(place);
        for (row, right) in &mut rows {
            let factor = row.get(column).copied().unwrap_or_default()
                / chosen.get(column).copied().unwrap_or(1.0);
            for (entry, other) in row.iter_mut().zip(&chosen) {
                *entry -= factor * other;
            }
            *right -= factor * value;
        }
        *pivot = Some((chosen, value));
    }
    let mut weights = [0.0; N];
    for (column, pivot) in pivots.iter().enumerate().rev() {
        let Some((row, value)) = pivot else { continue };
        let known = row.iter().zip(&weights).skip(column + 1);
        let rest = value - known.map(|(entry, weight)| entry * weight).sum::<f64>();
        if let (Some(place), Some(diagonal)) = (weights.get_mut(column), row.get(column)) {
            *place = rest / diagonal;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_give_back_what_made_the_points() {
        let curve = Curve {
            base: 0.5,
            token: 0.25,
            pair: 0.001,
        };
        let points: Vec<_> = [64, 256, 512, 1024]
            .map(|tokens| (tokens, curve.at(tokens)))
            .into();
        let found = Curve::fit(&points);
        for tokens in [100, 1000, 2000] {
            assert!(
                (found.at(tokens) / curve.at(tokens) - 1.0).abs() < 1e-6,
                "{found:?}"
            );
        }
        let surface = Surface {
            base: 0.1,
            row: 0.03,
            pair: 2e-5,
            remote: 0.004,
        };
        let cases = [
            (256, 0),
            (128, 128),
            (86, 170),
            (64, 192),
            (32, 224),
            (64, 0),
        ];
        let points = cases.map(|(own, remote)| {
            let rows = AttendSize::of(1, own, remote, false);
            (rows, surface.at(rows))
        });
        let found = Surface::fit(&points);
        let rows = AttendSize::of(1, 50, 206, false);
        assert!(
            (found.at(rows) / surface.at(rows) - 1.0).abs() < 1e-4,
            "{found:?}"
        );
    }

    #[test]
    fn nothing_takes_less_than_no_time() {
        let found = Curve::fit_line(&[(10, 1.0), (20, 4.0), (30, 6.0)]);
        assert_eq!(found.base, 0.0);
        assert!(found.token > 0.1, "{found:?}");
        assert_eq!(Curve::fit(&[(4, 2.0)]).at(8), 4.0);
        assert_eq!(Curve::fit(&[]).at(8), 0.0);
    }
}
