//! A slow and obvious model of refined frames: what is emitted and parsed is compared with it.

use std::ops::Range;

use astra_wire::layout::MAX_CODES;
use astra_wire::*;
use proptest::prelude::*;

use super::{frames, header, words};

/// First-stage codes and bits of a token, and share, codes and bits of the second stage.
#[derive(Clone, Copy, Debug)]
struct Model {
    codes: usize,
    bits: usize,
    share: usize,
    second_codes: usize,
    second_bits: usize,
    /// Bytes of a mean.
    mean: usize,
}

impl Model {
    fn layout(&self) -> Layout {
        let refinement = Refinement {
            share: self.share as u8,
            codes: self.second_codes as u16,
            bits: self.second_bits as u8,
        };
        let refinement = Some(refinement).filter(|second| second.share > 0);
        let layout = Layout::new(40, self.codes as u16, self.bits as u8, refinement);
        layout.unwrap().with_mean(self.mean as u16).unwrap()
    }

    /// Bytes of the mean in a frame of `tokens` tokens.
    fn mean_of(&self, tokens: usize) -> usize {
        if tokens < 8 { 0 } else { self.mean }
    }

    /// The share of `tokens`, rounded to the nearest, halves up.
    fn refined(&self, tokens: usize) -> usize {
        let above = |k| 512 * k > 2 * tokens * self.share + 256;
        (0..).find(|&k| above(k + 1)).unwrap()
    }

    /// Bytes after the header of a frame of `tokens` tokens.
    fn size(&self, tokens: usize) -> usize {
        let refined = self.refined(tokens);
        let first = (tokens * self.codes * self.bits).div_ceil(8);
        let positions = (refined * position_bits(tokens)).div_ceil(8);
        let second = (refined * self.second_codes * self.second_bits).div_ceil(8);
        first + positions + second + self.mean_of(tokens)
    }

    fn body(
        &self,
        tokens: usize,
        first: &[u32],
        (positions, second): (&[usize], &[u16]),
        mean: &[u8],
    ) -> Vec<u8> {
        let positions = positions.iter().map(|&position| position as u32);
        let second = second.iter().map(|&code| u32::from(code));
        let mut body = pack(first.iter().copied(), self.bits);
        body.extend(pack(positions, position_bits(tokens)));
        body.extend(pack(second, self.second_bits));
        body.extend(mean);
        body
    }

    /// Most tokens of a frame.
    fn most(&self) -> usize {
        (1..)
            .find(|&tokens| self.size(tokens + 1) > MAX_CODES)
            .unwrap()
    }

    /// The tokens of each frame: one more for each frame in turn, until none is left.
    fn split(&self, tokens: usize) -> Vec<Range<usize>> {
        let frames = tokens.div_ceil(self.most());
        let mut sizes = vec![0; frames];
        (0..tokens).for_each(|token| sizes[token % frames] += 1);
        let mut next = 0;
        let range = |size: &usize| {
            next += size;
            next - size..next
        };
        sizes.iter().map(range).collect()
    }
}

/// Bits of the numbers below `tokens`.
fn position_bits(tokens: usize) -> usize {
    (0..).find(|bits| 1 << bits >= tokens).unwrap()
}

/// Bit by bit, lowest first, to a whole byte.
fn pack(codes: impl Iterator<Item = u32>, bits: usize) -> Vec<u8> {
    let all: Vec<bool> = codes
        .flat_map(|code| (0..bits).map(move |bit| code >> bit & 1 == 1))
        .collect();
    let byte = |bits: &[bool]| (0..bits.len()).map(|bit| u8::from(bits[bit]) << bit).sum();
    all.chunks(8).map(byte).collect()
}

fn numbers(seed: u32, count: usize, bits: usize) -> Vec<u32> {
    (0..count as u32)
        .map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(15) & ((1 << bits) - 1))
        .collect()
}

/// Some `count` of `tokens` tokens, ascending.
fn some(seed: u32, count: usize, tokens: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tokens).collect();
    order.sort_by_key(|&token| {
        (token as u32 ^ seed)
            .wrapping_mul(0x85eb_ca6b)
            .rotate_left(13)
    });
    order.truncate(count);
    order.sort_unstable();
    order
}

/// What a sender hands to the framer, and what its frames must carry.
struct Content {
    ranges: Vec<Range<usize>>,
    first: Vec<u32>,
    positions: Vec<Vec<usize>>,
    second: Vec<u16>,
    means: Vec<u8>,
}

impl Content {
    fn new(model: &Model, tokens: usize, seed: u32) -> Self {
        let ranges = model.split(tokens);
        let positions: Vec<Vec<usize>> = ranges
            .iter()
            .map(|range| {
                some(
                    seed ^ range.start as u32,
                    model.refined(range.len()),
                    range.len(),
                )
            })
            .collect();
        let refined = positions.iter().map(Vec::len).sum::<usize>();
        let second = numbers(!seed, refined * model.second_codes, model.second_bits);
        let means = ranges.iter().map(|range| model.mean_of(range.len())).sum();
        let means = numbers(seed.rotate_left(7), means, 8);
        Self {
            ranges,
            first: numbers(seed, tokens * model.codes, model.bits),
            positions,
            second: second.into_iter().map(|code| code as u16).collect(),
            means: means.into_iter().map(|byte| byte as u8).collect(),
        }
    }
}

fn check(model: &Model, first_token: u16, tokens: u16, seed: u32) {
    let layout = model.layout();
    assert_eq!(usize::from(layout.tokens_per_frame()), model.most());
    let content = Content::new(model, usize::from(tokens), seed);
    assert_eq!(layout.split(tokens).collect::<Vec<_>>(), content.ranges);
    assert_eq!(layout.split(tokens).len(), layout.frames(tokens) as usize);

    let positions: Vec<u16> = content
        .positions
        .iter()
        .flatten()
        .map(|&p| p as u16)
        .collect();
    assert_eq!(layout.refined_of_all(tokens), positions.len());
    let refined = SideInfo {
        means: &content.means,
        positions: &positions,
        codes: &content.second,
    };
    let header = header(&layout, first_token, tokens);
    let frames = frames(header, layout, &content.first, refined);
    assert_eq!(frames.len(), content.ranges.len());

    assert_eq!(layout.means_of_all(tokens), content.means.len());
    let (mut second, mut means, mut packed) = (&content.second[..], &content.means[..], 0);
    for ((bytes, range), positions) in frames.iter().zip(&content.ranges).zip(&content.positions) {
        let first = &content.first[range.start * model.codes..range.end * model.codes];
        let (these, rest) = second.split_at(positions.len() * model.second_codes);
        second = rest;
        let (mean, rest) = means.split_at(model.mean_of(range.len()));
        means = rest;
        let body = model.body(range.len(), first, (positions, these), mean);
        assert_eq!(body.len(), model.size(range.len()));
        packed += body.len() as u64;
        check_frame(bytes, &layout, &body);
        let frame = parse(bytes).unwrap();
        assert_eq!(
            usize::from(frame.header.first_token),
            range.start + usize::from(first_token)
        );
        assert_eq!(usize::from(frame.header.tokens), range.len());
        let found = frame.codes(&layout).unwrap();
        assert_eq!(found.first.collect::<Vec<_>>(), first);
        let wide = positions.iter().map(|&position| position as u16);
        assert_eq!(words(found.positions), wide.collect::<Vec<_>>());
        assert_eq!(words(found.second), these);
        assert_eq!(found.mean, mean);
    }
    assert_eq!(layout.packed_bytes(tokens), packed);
}

fn check_frame(bytes: &[u8], layout: &Layout, body: &[u8]) {
    assert!(bytes.len() <= MAX_BODY && body.len() <= MAX_CODES);
    let frame = parse(bytes).unwrap();
    assert_eq!(frame.body, body);
    let mut slot = vec![0_u32; layout.codes_in_frame(&frame.header).unwrap()];
    frame.read_into(layout, &mut slot).unwrap();
    let first = frame.codes(layout).unwrap().first;
    assert_eq!(first.collect::<Vec<_>>(), slot);
    assert_eq!(
        Frames::new(bytes, &[*layout; 10]).collect::<Vec<_>>(),
        [Ok(frame)]
    );
}

fn models() -> impl Strategy<Value = Model> {
    let codes = prop_oneof![1..8_usize, 1..100_usize, 300..500_usize];
    let second_codes = prop_oneof![1..8_usize, 1..100_usize, 1000..2000_usize];
    let share = prop_oneof![0..=64_usize, Just(13), Just(64)];
    let mean = prop_oneof![Just(0), 1..300_usize, 1000..2000_usize];
    let widths = (1..=16_usize, 1..=16_usize);
    (codes, share, second_codes, widths, mean).prop_map(
        |(codes, share, second_codes, (bits, second_bits), mean)| Model {
            codes,
            bits,
            share,
            second_codes,
            second_bits,
            mean,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_those_of_the_model(
        model in models(),
        tokens in 1..300_u16,
        start in any::<u16>(),
        seed in any::<u32>(),
    ) {
        check(&model, start.min(u16::MAX - tokens + 1), tokens, seed);
    }
}

#[test]
fn the_rungs_and_their_ramps_are_those_of_the_model() {
    for (codes, share, second_codes, mean) in [
        (8, 13, 24, 49),
        (30, 13, 90, 145),
        (2, 13, 8, 0),
        (1, 3, 1, 13),
        (24, 64, 24, 1),
    ] {
        let model = Model {
            codes,
            bits: 8,
            share,
            second_codes,
            second_bits: 8,
            mean,
        };
        for tokens in [1, 2, 64, 256, 342, 1369, 2000] {
            check(&model, 0, tokens, u32::from(tokens));
        }
    }
}
