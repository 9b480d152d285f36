//! Means and two stages against a slow model of what a frame holds.

use astra_codec::{Codebook, MeanQuantizer, half_norms, word_major};
use astra_wire::Refinement;

use super::*;

const RANK: usize = 6;
const WORDS: usize = 16;

/// Codebooks of random numbers.
struct Tables {
    dims: Vec<u16>,
    dim_major: Vec<f32>,
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
}

struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as f32 / 32768.0 - 1.0
    }

    fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

impl Tables {
    fn new(random: &mut Random, dims: &[u16], scale: f32) -> Self {
        let dim_major = random.numbers(RANK * WORDS, scale);
        let mut turned = vec![0.0; RANK * WORDS];
        let mut norms = vec![0.0; dims.len() * WORDS];
        word_major(dims, WORDS, &dim_major, &mut turned).unwrap();
        half_norms(dims, WORDS, &dim_major, &mut norms).unwrap();
        Self {
            dims: dims.to_vec(),
            dim_major,
            word_major: turned,
            half_norms: norms,
        }
    }

    fn borrow(&self) -> Codebook<'_> {
        let Self {
            dims,
            dim_major,
            word_major,
            half_norms,
        } = self;
        Codebook::new(dims, WORDS, dim_major, word_major, half_norms).unwrap()
    }
}

/// Of [`RANK`] axes.
fn mean() -> MeanQuantizer<'static> {
    MeanQuantizer::new(&[4, 0, 8, 1, 3, 2], &[0.3, 0.0, 0.02, 0.9, 0.5, 0.7]).unwrap()
}

fn layout(share: u8, has_mean: bool) -> Layout {
    let refinement = (share > 0).then_some(Refinement {
        share,
        codes: 3,
        bits: 4,
    });
    let mean = if has_mean { mean().packed_len() } else { 0 };
    let layout = Layout::new(8, 2, 4, refinement).unwrap();
    layout.with_mean(mean as u16).unwrap()
}

/// What receivers read of the mean of each frame, [t, R], and the packed means.
fn slow_means(stages: &Stages<'_>, layout: &Layout, y: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let (mut means, mut all) = (vec![0.0; y.len()], Vec::new());
    for frame in layout.split((y.len() / RANK) as u16) {
        let (Some(quantizer), 8..) = (stages.mean, frame.len()) else {
            continue;
        };
        let column = |axis: usize| {
            let sum = frame
                .clone()
                .map(|token| y[token * RANK + axis])
                .sum::<f32>();
            sum * (1.0 / frame.len() as f32)
        };
        let mut mean: Vec<f32> = (0..RANK).map(column).collect();
        let mut packed = vec![0; quantizer.packed_len()];
        quantizer.encode(&mut mean, &mut packed).unwrap();
        for token in frame {
            means[token * RANK..(token + 1) * RANK].copy_from_slice(&mean);
        }
        all.extend(packed);
    }
    (means, all)
}

/// What receivers decode of the tokens of one chunk, frame by frame: mean, first stage, then the refined ones of each frame.
fn slow(stages: &Stages<'_>, layout: &Layout, y: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let tokens = y.len() / RANK;
    let (mut decoded, _) = slow_means(stages, layout, y);
    let y: Vec<f32> = y.iter().zip(&decoded).map(|(y, mean)| y - mean).collect();
    let mut codes = vec![0; tokens * 2];
    stages.first.encode(&y, &mut codes).unwrap();
    let mut rest = y.clone();
    stages
        .first
        .residual(&codes, &mut rest, &mut vec![0.0; tokens])
        .unwrap();
    for (codes, row) in codes.chunks(2).zip(decoded.chunks_mut(RANK)) {
        let codes = codes.iter().map(|&code| u32::from(code));
        stages.first.add_token(codes, row).unwrap();
    }
    let mut refined = Vec::new();
    for frame in layout.split(tokens as u16) {
        let error = |token: &usize| {
            let row = &rest[token * RANK..(token + 1) * RANK];
            row.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>()
        };
        let mut order: Vec<usize> = frame.clone().collect();
        order.sort_by(|a, b| error(b).total_cmp(&error(a)));
        order.truncate(layout.refined(frame.len() as u16).into());
        order.sort_unstable();
        refined.extend(order);
    }
    let second = stages.second;
    for (&token, second) in refined.iter().zip(std::iter::repeat(second)) {
        let (second, row) = (second.unwrap(), token * RANK..(token + 1) * RANK);
        let mut codes = vec![0; second.groups()];
        second.encode(&rest[row.clone()], &mut codes).unwrap();
        let codes = codes.iter().map(|&code| u32::from(code));
        second.add_token(codes, &mut decoded[row]).unwrap();
    }
    (refined, decoded)
}

/// Encodes `tokens` tokens in chunks of `chunk`, and compares what is sent and decoded with the slow model.
fn compare(encoder: &mut TokenEncoder, (share, has_mean): (u8, bool), tokens: usize, chunk: usize) {
    let mut random = Random(7 + tokens as u32 * 31 + chunk as u32);
    let first = Tables::new(&mut random, &[2, 4], 1.0);
    let second = Tables::new(&mut random, &[3, 1, 2], 0.4);
    let stages = Stages {
        mean: has_mean.then(mean),
        first: first.borrow(),
        second: (share > 0).then(|| second.borrow()),
    };
    let layout = layout(share, has_mean);
    encoder.reserve(&stages, &layout);
    let y = random.numbers(tokens * RANK, 1.5);
    let (mut sent, mut expected) = (Vec::new(), (Vec::new(), Vec::new()));
    for start in (0..tokens).step_by(chunk) {
        let of_chunk = start..tokens.min(start + chunk);
        let mut rows = y[start * RANK..of_chunk.end * RANK].to_vec();
        let (refined, decoded) = slow(&stages, &layout, &rows);
        let (_, means) = slow_means(&stages, &layout, &rows);
        expected.0.extend(refined.iter().map(|token| start + token));
        expected.1.extend(decoded);
        let count = of_chunk.len() as u16;
        let encoded = encoder
            .encode(&stages, &layout, of_chunk, &mut rows)
            .unwrap();
        assert_eq!(encoded.means, means);
        assert_eq!(encoded.codes.len(), 2 * usize::from(count));
        assert_eq!(encoded.positions.len(), layout.refined_of_all(count));
        assert_eq!(encoded.refined.len(), 3 * encoded.positions.len());
        let mut positions = encoded.positions.iter();
        for frame in layout.split(count) {
            let of_frame = usize::from(layout.refined(frame.len() as u16));
            let of_frame = positions.by_ref().take(of_frame);
            sent.extend(of_frame.map(|&at| start + frame.start + usize::from(at)));
        }
    }
    let mut decoded = vec![f32::NAN; y.len()];
    encoder.decode(&stages, &mut decoded).unwrap();
    assert_eq!((sent, decoded), expected, "{share}, {tokens} tokens");
}

#[test]
fn frames_and_chunks_against_the_slow_model() {
    // One encoder for all: nothing of a block is left in the next.
    let mut encoder = TokenEncoder::new(3000);
    for share in [0, 1, 13, 64] {
        for (tokens, chunk) in [(1, 1), (2, 2), (20, 20), (65, 20), (500, 128), (3000, 3000)] {
            for has_mean in [false, true] {
                compare(&mut encoder, (share, has_mean), tokens, chunk);
            }
        }
    }
    // There were frames to choose in.
    assert!(layout(13, true).frames(3000) > 1);
}

#[test]
fn tokens_that_do_not_follow_or_fit_are_refused() {
    let mut random = Random(1);
    let (first, second) = (
        Tables::new(&mut random, &[2, 4], 1.0),
        Tables::new(&mut random, &[3, 1, 2], 0.4),
    );
    let stages = Stages {
        mean: None,
        first: first.borrow(),
        second: Some(second.borrow()),
    };
    let layout = layout(64, false);
    let mut encoder = TokenEncoder::new(8);
    encoder.reserve(&stages, &layout);
    let mut y = vec![0.5; 9 * RANK];
    let mut encode = |tokens: Range<usize>, rows: usize| {
        let encoded = encoder.encode(&stages, &layout, tokens, &mut y[..rows * RANK]);
        encoded.map(|encoded| encoded.codes.len())
    };
    assert!(encode(1..2, 1).is_err());
    assert_eq!(encode(0..4, 4).unwrap(), 8);
    assert!(encode(5..6, 1).is_err());
    assert!(encode(4..6, 3).is_err());
    assert_eq!(encode(4..8, 4).unwrap(), 8);
    let more = encode(8..9, 1).unwrap_err();
    assert_eq!(more.to_string(), "codes: found 16 values, expected 18");
    assert!(encode(0..9, 9).is_err());
    assert_eq!(encode(0..1, 1).unwrap(), 2);
    let wrong = encoder.decode(&stages, &mut [0.0; 2 * RANK]);
    assert!(wrong.is_err());
    let without = Stages {
        second: None,
        ..stages
    };
    let refused = encoder.encode(&without, &layout, 0..1, &mut [0.5; RANK]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("codebooks of the second stage: found 0"));
}
