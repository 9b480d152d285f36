//! What a block costs a sender, and its frames a receiver: 64 tokens of some rungs.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "not part of the product; a benchmark fails by a panic"
)]

use std::hint::black_box;

use astra_wire::{Code, CodeHeader, Flags, Framer, Frames, Layout, MAX_FRAME, Traffic, VERSION};
use criterion::{Criterion, criterion_group, criterion_main};

const TOKENS: u16 = 64;

fn header(layout: &Layout) -> CodeHeader {
    CodeHeader {
        version: VERSION,
        request: 1000,
        epoch: 5,
        block: 11,
        sender: 2,
        first_token: 192,
        tokens: TOKENS,
        part: 0,
        rung: layout.rung(),
        flags: Flags::NONE,
    }
}

/// Frames all tokens into one buffer after the other's use, as a sender does.
fn send<C: Code>(layout: Layout, codes: &[C], mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; MAX_FRAME];
    let mut framer = Framer::new(header(&layout), layout, codes).unwrap();
    while let Some(length) = framer.next_frame(&mut buffer).unwrap() {
        each(&buffer[..length]);
    }
}

fn rung<C: Code>(c: &mut Criterion, name: &str, codes_per_token: u16, bits: u8) {
    let layout = Layout::new(codes_per_token, bits).unwrap();
    let count = usize::from(TOKENS) * usize::from(codes_per_token);
    let codes: Vec<C> = (0..count as u32)
        .map(|i| C::from_code(i.wrapping_mul(37) & (u32::MAX >> (32 - bits))))
        .collect();
    let mut frames = Vec::new();
    send(layout, &codes, |frame| frames.push(frame.to_vec()));
    let first = usize::from(header(&layout).first_token) * usize::from(codes_per_token);
    let mut slots = vec![C::from_code(0); first + count];

    let mut group = c.benchmark_group(name);
    group.bench_function("send", |b| {
        b.iter(|| {
            send(layout, black_box(&codes), |frame| {
                black_box(frame);
            });
        });
    });
    group.bench_function("receive", |b| {
        b.iter(|| {
            for bytes in &frames {
                let Traffic::Codes(bytes) = Traffic::parse(black_box(bytes)).unwrap() else {
                    return;
                };
                let frame = Frames::new(bytes, layout).next().unwrap().unwrap();
                let span = layout.span(&frame.header).unwrap();
                frame.read_into(&layout, &mut slots[span]).unwrap();
            }
            black_box(&slots);
        });
    });
    group.bench_function("receive by iterator", |b| {
        b.iter(|| {
            for bytes in &frames {
                let Traffic::Codes(bytes) = Traffic::parse(black_box(bytes)).unwrap() else {
                    return;
                };
                let frame = Frames::new(bytes, layout).next().unwrap().unwrap();
                let span = layout.span(&frame.header).unwrap();
                let codes = frame.codes(&layout).unwrap();
                for (slot, code) in slots[span].iter_mut().zip(codes) {
                    *slot = C::from_code(code);
                }
            }
            black_box(&slots);
        });
    });
    group.finish();
}

fn rungs(c: &mut Criterion) {
    rung::<u8>(c, "320 bits: 40 codes of 8", 40, 8);
    rung::<u16>(c, "320 bits: 32 codes of 10", 32, 10);
    rung::<f32>(c, "exact: 384 channels", 384, 32);
}

criterion_group!(benches, rungs);
criterion_main!(benches);
