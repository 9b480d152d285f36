//! What a block costs a sender, and its frames a receiver: 64 tokens of some rungs, without and with a second stage.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "not part of the product; a benchmark fails by a panic"
)]

use std::hint::black_box;

use astra_wire::{
    Code, CodeFrame, CodeHeader, Flags, Framer, Frames, Layout, MAX_FRAME, Refinement, SideInfo,
    Traffic, VERSION,
};
use criterion::{Criterion, criterion_group, criterion_main};

const TOKENS: u16 = 64;

fn header(layout: &Layout) -> CodeHeader {
    CodeHeader {
        version: VERSION,
        request: 1000,
        epoch: 5,
        block: 0,
        sender: 2,
        first_token: 192,
        tokens: TOKENS,
        part: 0,
        rung: layout.rung(),
        flags: Flags::NONE,
    }
}

/// Frames all tokens into one buffer after the other's use, as a sender does.
fn send<C: Code>(layout: Layout, codes: &[C], refined: SideInfo<'_>, mut each: impl FnMut(&[u8])) {
    let mut buffer = [0; MAX_FRAME];
    let mut framer = Framer::new(header(&layout), layout, codes, refined).unwrap();
    while let Some(length) = framer.next_frame(&mut buffer).unwrap() {
        each(&buffer[..length]);
    }
}

/// Codes of `count` tokens of `bits` bits.
fn numbers<C: Code>(count: usize, bits: u8) -> Vec<C> {
    (0..count as u32)
        .map(|i| C::from_code(i.wrapping_mul(37) & (u32::MAX >> (32 - bits))))
        .collect()
}

/// Refined tokens of all frames, spread over each.
fn positions(layout: Layout) -> Vec<u16> {
    let spread = |range: std::ops::Range<usize>| {
        let tokens = range.len() as u16;
        let refined = layout.refined(tokens);
        (0..refined).map(move |place| place * (tokens / refined))
    };
    layout.split(TOKENS).flat_map(spread).collect()
}

fn received<'a>(message: &'a [u8], layout: &Layout) -> CodeFrame<'a> {
    let Traffic::Codes(bytes) = Traffic::parse(black_box(message)).unwrap() else {
        panic!("a code frame")
    };
    let layouts = std::slice::from_ref(layout);
    Frames::new(bytes, layouts).next().unwrap().unwrap()
}

fn rung<C: Code>(c: &mut Criterion, name: &str, layout: Layout) {
    let per_token = usize::from(layout.codes_per_token());
    let count = usize::from(TOKENS) * per_token;
    let codes: Vec<C> = numbers(count, layout.bits());
    let positions = positions(layout);
    let second = layout.refinement().map_or_else(Vec::new, |second| {
        numbers(positions.len() * usize::from(second.codes), second.bits)
    });
    let refined = SideInfo {
        means: &[],
        positions: &positions,
        codes: &second,
    };
    let mut frames = Vec::new();
    send(layout, &codes, refined, |frame| frames.push(frame.to_vec()));
    let first = usize::from(header(&layout).first_token) * per_token;
    let mut slots = vec![C::from_code(0); first + count];

    let mut group = c.benchmark_group(name);
    group.bench_function("send", |b| {
        b.iter(|| {
            send(layout, black_box(&codes), refined, |frame| {
                black_box(frame);
            });
        });
    });
    group.bench_function("receive", |b| {
        b.iter(|| {
            for bytes in &frames {
                let frame = received(bytes, &layout);
                let span = layout.span(&frame.header).unwrap();
                frame.read_into(&layout, &mut slots[span]).unwrap();
            }
            black_box(&slots);
        });
    });
    let mut entries = vec![0_u32; positions.len() * 200];
    group.bench_function("receive by iterator", |b| {
        b.iter(|| {
            for bytes in &frames {
                let frame = received(bytes, &layout);
                let span = layout.span(&frame.header).unwrap();
                let codes = frame.codes(&layout).unwrap();
                for (slot, code) in slots[span].iter_mut().zip(codes.first) {
                    *slot = C::from_code(code);
                }
                let refined = codes.positions.chain(codes.second);
                for (entry, code) in entries.iter_mut().zip(refined) {
                    *entry = code;
                }
            }
            black_box((&slots, &entries));
        });
    });
    group.finish();
}

fn rungs(c: &mut Criterion) {
    let plain = |rung, codes, bits| Layout::new(rung, codes, bits, None).unwrap();
    // 5 % of the tokens with three times the codes.
    let refined = |rung, codes| {
        let refinement = Refinement {
            share: 13,
            codes: 3 * codes,
            bits: 8,
        };
        Layout::new(rung, codes, 8, Some(refinement)).unwrap()
    };
    rung::<u8>(c, "320 bits: 40 codes of 8", plain(320, 40, 8));
    rung::<u16>(c, "320 bits: 32 codes of 10", plain(320, 32, 10));
    rung::<u16>(c, "160 bits: 20 codes of 8", plain(160, 20, 8));
    rung::<u16>(c, "160 bits: 17 codes of 8, refined", refined(160, 17));
    rung::<f32>(c, "exact: 384 channels", plain(0, 384, 32));
}

criterion_group!(benches, rungs);
criterion_main!(benches);
