//! Encode and decode at the shapes of the rungs, one stage and two, beside the block's own compute.
//!
//! Single-threaded. Two stages are compared with the one stage of the same bits: 6 % of the tokens get three times the groups.
//! The yardstick is the dense multiplies of one Transformer block on the same 64
//! tokens at D = 384: QKV, output projection and MLP, 12 D^2 multiply-adds a token, as three f32
//! matrix products. It leaves out attention, norms and the projection of remote tokens, so it is
//! less than what a device computes in a block.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark may panic"
)]

use std::hint::black_box;

use astra_codec::{Codebook, half_norms, largest, word_major};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const D: usize = 384;
const OWN_TOKENS: usize = 64;
const REMOTE_TOKENS: usize = 192;
/// Of 16 tokens one is refined.
const SHARE: usize = 16;
/// Tokens of a frame, among which the refined are chosen.
const FRAME_TOKENS: usize = 32;

struct Shape {
    bits: usize,
    groups: usize,
    words: usize,
    rank: usize,
}

impl Shape {
    const fn new(bits: usize, groups: usize, words: usize, rank: usize) -> Self {
        Self {
            bits,
            groups,
            words,
            rank,
        }
    }

    fn name(&self) -> String {
        let Self {
            bits,
            groups,
            words,
            rank,
        } = self;
        format!("{bits} bits, R={rank}, G={groups}, K={words}")
    }
}

const SHAPES: [Shape; 6] = [
    Shape::new(10, 1, 1024, 96),
    Shape::new(40, 4, 1024, 96),
    Shape::new(160, 20, 256, 96),
    Shape::new(320, 40, 256, 192),
    Shape::new(320, 40, 256, 384),
    Shape::new(640, 80, 256, 384),
];

/// First and second stage of rungs that have the bits of one of [`SHAPES`].
const TWO_STAGES: [[Shape; 2]; 5] = [
    [Shape::new(40, 3, 1024, 96), Shape::new(40, 12, 256, 96)],
    [Shape::new(40, 4, 256, 96), Shape::new(40, 12, 256, 96)],
    [Shape::new(160, 16, 256, 96), Shape::new(160, 48, 256, 96)],
    [Shape::new(320, 32, 256, 192), Shape::new(320, 96, 256, 192)],
    [Shape::new(320, 32, 256, 384), Shape::new(320, 96, 256, 384)],
];

/// About normal, from a fixed seed.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|_| (0..4).map(|_| uniform()).sum())
        .collect()
}

struct Tables {
    dims: Vec<u16>,
    dim_major: Vec<f32>,
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
}

impl Tables {
    fn new(shape: &Shape) -> Self {
        let &Shape {
            groups,
            words,
            rank,
            ..
        } = shape;
        let end = |group| group * rank / groups;
        let dims = (0..groups)
            .map(|g| (end(g + 1) - end(g)) as u16)
            .collect::<Vec<_>>();
        let dim_major = numbers(rank * words);
        let mut turned = vec![0.0; rank * words];
        let mut norms = vec![0.0; groups * words];
        word_major(&dims, words, &dim_major, &mut turned).unwrap();
        half_norms(&dims, words, &dim_major, &mut norms).unwrap();
        Self {
            dims,
            dim_major,
            word_major: turned,
            half_norms: norms,
        }
    }

    fn codebook(&self, words: usize) -> Codebook<'_> {
        let Self {
            dims,
            dim_major,
            word_major,
            half_norms,
        } = self;
        Codebook::new(dims, words, dim_major, word_major, half_norms).unwrap()
    }
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode 64 tokens");
    for shape in &SHAPES {
        let tables = Tables::new(shape);
        let codebook = tables.codebook(shape.words);
        let y = numbers(OWN_TOKENS * shape.rank);
        let mut codes = vec![0; OWN_TOKENS * shape.groups];
        let multiplies = OWN_TOKENS * shape.rank * shape.words;
        group.throughput(Throughput::Elements(multiplies as u64));
        group.bench_function(shape.name(), |b| {
            b.iter(|| codebook.encode(black_box(&y), &mut codes).unwrap());
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode 192 tokens");
    for shape in &SHAPES {
        let tables = Tables::new(shape);
        let codebook = tables.codebook(shape.words);
        let codes = (0..REMOTE_TOKENS * shape.groups)
            .map(|i| (i * i * 31 % shape.words) as u16)
            .collect::<Vec<_>>();
        let mut y = vec![0.0; REMOTE_TOKENS * shape.rank];
        group.throughput(Throughput::Bytes(4 * y.len() as u64));
        group.bench_function(shape.name(), |b| {
            b.iter(|| codebook.decode(black_box(&codes), &mut y).unwrap());
        });
    }
    group.finish();
}

fn name([first, second]: &[Shape; 2]) -> String {
    format!("{} + 1/{SHARE} x {}", first.name(), second.groups)
}

fn encode_two_stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode 64 tokens in two stages");
    for shapes in &TWO_STAGES {
        let [first, second] = shapes;
        let tables = [Tables::new(first), Tables::new(second)];
        let books = [
            tables[0].codebook(first.words),
            tables[1].codebook(second.words),
        ];
        let numbers = numbers(OWN_TOKENS * first.rank);
        let mut y = numbers.clone();
        let mut codes = vec![0; OWN_TOKENS * first.groups];
        let mut refined = vec![0; OWN_TOKENS / SHARE * second.groups];
        let mut rows = vec![0.0; OWN_TOKENS / SHARE * second.rank];
        let (mut errors, mut scratch) = ([0.0; OWN_TOKENS], [0; FRAME_TOKENS]);
        let mut positions = [0; FRAME_TOKENS / SHARE];
        group.bench_function(name(shapes), |b| {
            b.iter(|| {
                y.copy_from_slice(black_box(&numbers));
                books[0].encode(&y, &mut codes).unwrap();
                books[0].residual(&codes, &mut y, &mut errors).unwrap();
                let mut to = rows.chunks_exact_mut(second.rank);
                let frames = errors.chunks_exact(FRAME_TOKENS);
                for (errors, y) in frames.zip(y.chunks_exact(FRAME_TOKENS * second.rank)) {
                    largest(errors, &mut scratch, &mut positions).unwrap();
                    for (&at, to) in positions.iter().zip(&mut to) {
                        let first = usize::from(at) * second.rank;
                        to.copy_from_slice(&y[first..first + second.rank]);
                    }
                }
                books[1].encode(&rows, &mut refined).unwrap();
            });
        });
    }
    group.finish();
}

/// The parts that the second stage adds to encoding, one by one.
fn second_stage(c: &mut Criterion) {
    let mut group = c.benchmark_group("second stage of 64 tokens");
    for shapes in &TWO_STAGES {
        let [first, second] = shapes;
        let tables = [Tables::new(first), Tables::new(second)];
        let book = tables[0].codebook(first.words);
        let mut y = numbers(OWN_TOKENS * first.rank);
        let codes = vec![1; OWN_TOKENS * first.groups];
        let mut errors = [0.0; OWN_TOKENS];
        group.bench_function(format!("residual, {}", name(shapes)), |b| {
            b.iter(|| {
                book.residual(black_box(&codes), &mut y, &mut errors)
                    .unwrap()
            });
        });
        let book = tables[1].codebook(second.words);
        let rows = numbers(OWN_TOKENS / SHARE * second.rank);
        let mut refined = vec![0; OWN_TOKENS / SHARE * second.groups];
        group.bench_function(format!("encode 4 rows, {}", name(shapes)), |b| {
            b.iter(|| book.encode(black_box(&rows), &mut refined).unwrap());
        });
    }
    let errors = numbers(OWN_TOKENS);
    let (mut scratch, mut positions) = ([0; OWN_TOKENS], [0; OWN_TOKENS / SHARE]);
    group.bench_function("largest 4 of 64", |b| {
        b.iter(|| largest(black_box(&errors), &mut scratch, &mut positions).unwrap());
    });
    group.finish();
}

fn decode_two_stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode 192 tokens in two stages");
    for shapes in &TWO_STAGES {
        let [first, second] = shapes;
        let tables = [Tables::new(first), Tables::new(second)];
        let books = [
            tables[0].codebook(first.words),
            tables[1].codebook(second.words),
        ];
        let code = |i: usize| (i * i * 31 % 256) as u16;
        let codes = (0..REMOTE_TOKENS * first.groups)
            .map(code)
            .collect::<Vec<_>>();
        let refined = (0..REMOTE_TOKENS / SHARE * second.groups)
            .map(code)
            .collect::<Vec<_>>();
        let mut y = vec![0.0; REMOTE_TOKENS * first.rank];
        group.bench_function(name(shapes), |b| {
            b.iter(|| {
                books[0].decode(black_box(&codes), &mut y).unwrap();
                let rows = y.chunks_exact_mut(first.rank).step_by(SHARE);
                for (codes, y) in refined.chunks_exact(second.groups).zip(rows) {
                    let codes = codes.iter().map(|&code| u32::from(code));
                    books[1].add_token(codes, y).unwrap();
                }
            });
        });
    }
    group.finish();
}

/// `c = a b`, all row-major: `[rows][inner]` by `[inner][columns]`.
fn multiply(a: &[f32], b: &[f32], c: &mut [f32], rows: usize, inner: usize, columns: usize) {
    assert!(a.len() >= rows * inner && b.len() >= inner * columns && c.len() >= rows * columns);
    // SAFETY: with these strides the three matrices end within the lengths just checked.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            inner,
            columns,
            1.0,
            a.as_ptr(),
            inner as isize,
            1,
            b.as_ptr(),
            columns as isize,
            1,
            0.0,
            c.as_mut_ptr(),
            columns as isize,
            1,
        );
    }
}

fn block(c: &mut Criterion) {
    let x = numbers(OWN_TOKENS * 4 * D);
    let (attention, up, down) = (numbers(D * 4 * D), numbers(D * 4 * D), numbers(4 * D * D));
    let mut out = vec![0.0; OWN_TOKENS * 4 * D];
    let mut group = c.benchmark_group("block");
    group.throughput(Throughput::Elements((OWN_TOKENS * 12 * D * D) as u64));
    group.bench_function("dense multiplies of 64 tokens, D=384", |b| {
        b.iter(|| {
            // QKV and output projection have D by 3D and D by D weights: together D by 4D.
            multiply(black_box(&x), &attention, &mut out, OWN_TOKENS, D, 4 * D);
            multiply(black_box(&x), &up, &mut out, OWN_TOKENS, D, 4 * D);
            multiply(black_box(&x), &down, &mut out, OWN_TOKENS, 4 * D, D);
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    encode,
    decode,
    encode_two_stages,
    second_stage,
    decode_two_stages,
    block
);
criterion_main!(benches);
