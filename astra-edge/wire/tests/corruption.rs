//! Every truncation and every single-byte corruption of every sample is a typed error or a valid message.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod common;

use astra_wire::*;
use proptest::prelude::*;

const LAYOUTS: [(u16, u8); 4] = [(4, 8), (1, 10), (2, 32), (384, 32)];

/// Reads `bytes` in every way there is; what is accepted must have been the only encoding of its value.
/// Returns whether anything accepted them whole.
fn read_all_ways(bytes: &[u8]) -> bool {
    let mut accepted = false;
    let mut again = vec![0xa5; bytes.len() + 8];
    if let Ok(message) = Control::parse(bytes) {
        let length = message.emit(bytes[0], &mut again).unwrap();
        assert_eq!(&again[..length], bytes);
        accepted = true;
    }
    if let Ok(frame) = parse(bytes) {
        assert_eq!(Traffic::parse(bytes), Ok(Traffic::Codes(bytes)));
        for (codes_per_token, bits) in LAYOUTS {
            let layout = Layout::new(codes_per_token, bits).unwrap();
            let Ok(codes) = frame.codes(&layout) else {
                continue;
            };
            let codes: Vec<u32> = codes.collect();
            assert_eq!(layout.span(&frame.header).unwrap().len(), codes.len());
            let length = emit(&frame.header, &layout, &codes, &mut again).unwrap();
            assert_eq!(&again[..length], bytes);
            accepted = true;
        }
    }
    for (codes_per_token, bits) in LAYOUTS {
        let layout = Layout::new(codes_per_token, bits).unwrap();
        read_frames(bytes, layout, &mut again);
    }
    if let Ok(Traffic::Probe(probe)) = Traffic::parse(bytes) {
        assert_eq!(Control::parse(bytes), Ok(Control::ProbeFrame(probe)));
    }
    let _ = HelloPrefix::parse(bytes);
    accepted
}

/// Reads `bytes` as frames of one message: each must have been the only encoding of its value, and nothing is left out.
fn read_frames(bytes: &[u8], layout: Layout, again: &mut [u8]) {
    let mut read = 0;
    for frame in Frames::new(bytes, layout) {
        let Ok(codes) = frame.as_ref().map(|frame| frame.codes(&layout)) else {
            return;
        };
        let Ok(codes) = codes else { return };
        let codes: Vec<u32> = codes.collect();
        let length = emit(&frame.unwrap().header, &layout, &codes, again).unwrap();
        assert_eq!(&again[..length], &bytes[read..read + length]);
        read += length;
    }
    assert_eq!(read, bytes.len());
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut samples = common::all_bytes();
    // One part of a token of 384 exact channels: a frame of 783 bytes.
    let layout = Layout::new(384, 32).unwrap();
    let header = CodeHeader {
        tokens: 1,
        part: 1,
        rung: 0,
        ..common::frames()[0].header
    };
    let mut buffer = [0; MAX_FRAME];
    let length = emit(&header, &layout, &[0.25_f32; 192], &mut buffer).unwrap();
    samples.push(("part of an exact token", buffer[..length].to_vec()));
    samples
}

#[test]
fn samples_are_accepted() {
    for (name, bytes) in samples() {
        assert!(read_all_ways(&bytes), "{name}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for (name, bytes) in samples() {
        for length in 0..bytes.len() {
            assert!(!read_all_ways(&bytes[..length]), "{name} cut to {length}");
        }
    }
}

#[test]
fn every_extension_is_an_error() {
    for (name, mut bytes) in samples() {
        bytes.push(0);
        for extra in 0..=u8::MAX {
            *bytes.last_mut().unwrap() = extra;
            assert!(!read_all_ways(&bytes), "{name} followed by {extra:#04x}");
        }
    }
}

#[test]
fn every_corrupted_byte_is_an_error_or_a_valid_message() {
    for (_, sample) in samples() {
        let mut bytes = sample.clone();
        for at in 0..bytes.len() {
            for change in 1..=u8::MAX {
                bytes[at] = sample[at] ^ change;
                read_all_ways(&bytes);
            }
            bytes[at] = sample[at];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes after a plausible beginning reach deeper than the first two checks.
    #[test]
    fn random_bytes_are_an_error_or_a_valid_message(
        kind in prop_oneof![0..=Control::KINDS, 0x80..=0x82_u8],
        tail in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..80),
    ) {
        let mut bytes = vec![VERSION, kind];
        bytes.extend(tail);
        read_all_ways(&bytes);
    }
}
