//! Encode and decode at the shapes of the rungs, beside the block's own compute.
//!
//! Single-threaded. The yardstick is the dense multiplies of one Transformer block on the same 64
//! tokens at D = 384: QKV, output projection and MLP, 12 D^2 multiply-adds a token, as three f32
//! matrix products. It leaves out attention, norms and the projection of remote tokens, so it is
//! less than what a device computes in a block.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;

use astra_codec::{Codebook, half_norms, word_major};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const D: usize = 384;
const OWN_TOKENS: usize = 64;
const REMOTE_TOKENS: usize = 192;

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

criterion_group!(benches, encode, decode, block);
criterion_main!(benches);
