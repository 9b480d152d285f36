//! Layouts, framers and the frames of a message.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod layouts;
mod messages;
mod model;
mod refinements;
mod refusals;
mod round_trips;

use astra_wire::*;

/// A layout without a second stage, of a rung of any name.
fn plain(codes: u16, bits: u8) -> Layout {
    Layout::new(rung(bits), codes, bits, None).unwrap()
}

/// A layout whose second stage has `second`: share, codes and bits.
fn refined(codes: u16, bits: u8, second: (u8, u16, u8)) -> Layout {
    let (share, second_codes, second_bits) = second;
    let refinement = Refinement {
        share,
        codes: second_codes,
        bits: second_bits,
    };
    Layout::new(rung(bits), codes, bits, Some(refinement)).unwrap()
}

fn rung(bits: u8) -> u16 {
    if bits == 32 { 0 } else { 160 }
}

fn header(layout: &Layout, first_token: u16, tokens: u16) -> CodeHeader {
    CodeHeader {
        version: VERSION,
        request: 77,
        epoch: 3,
        block: 9,
        sender: 4,
        first_token,
        tokens,
        part: 0,
        rung: layout.rung(),
        flags: Flags::NONE,
    }
}

/// Frames of a token range, each without its buffer's rest.
fn frames<C: Code>(
    header: CodeHeader,
    layout: Layout,
    codes: &[C],
    refined: SideInfo<'_>,
) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(header, layout, codes, refined).unwrap();
    let mut frames = Vec::new();
    loop {
        let mut buffer = [0xa5; MAX_FRAME];
        let (left, body) = (framer.frames_left(), framer.next_body_len());
        let Some(length) = framer.next_frame(&mut buffer).unwrap() else {
            assert_eq!((left, body), (0, 0));
            return frames;
        };
        assert_eq!(framer.frames_left(), left - 1);
        assert!(length + TAG <= MAX_FRAME);
        assert!(buffer[length..].iter().all(|&byte| byte == 0xa5));
        assert_eq!(parse(&buffer[..length]).unwrap().body.len(), body);
        frames.push(buffer[..length].to_vec());
    }
}

fn words(codes: Unpack<'_>) -> Vec<u16> {
    codes.map(|code| u16::try_from(code).unwrap()).collect()
}
