//! Every truncation and every single-byte corruption of every sample is a typed error or a valid message.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::sync::LazyLock;

use astra_wire::*;
use proptest::prelude::*;

/// Layouts, each for all blocks there can be.
static LAYOUTS: LazyLock<Vec<[Layout; 256]>> =
    LazyLock::new(|| layouts().map(|layout| [layout; 256]).to_vec());

fn layouts() -> [Layout; 7] {
    let plain = |rung, codes, bits| Layout::new(rung, codes, bits, None).unwrap();
    [
        plain(32, 4, 8),
        plain(10, 1, 10),
        plain(0, 2, 32),
        plain(0, 384, 32),
        common::refined_layout(40, (4, 8), (64, 3, 8)),
        common::refined_layout(20, (1, 10), (43, 2, 9)),
        common::refined_layout(21, (1, 8), (16, 1, 8))
            .with_mean(3)
            .unwrap(),
    ]
}

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
        for [layout, ..] in LAYOUTS.iter() {
            if let Some(length) = emit_again(&frame, layout, &mut again) {
                assert_eq!(&again[..length], bytes);
                accepted = true;
            }
        }
    }
    for layouts in LAYOUTS.iter() {
        read_frames(bytes, layouts, &mut again);
    }
    if let Ok(Traffic::Probe(probe)) = Traffic::parse(bytes) {
        assert_eq!(Control::parse(bytes), Ok(Control::ProbeFrame(probe)));
    }
    let _ = HelloPrefix::parse(bytes);
    accepted
}

/// Writes what a frame carries to `again` and returns its length; `None` where it is not of the layout.
fn emit_again(frame: &CodeFrame<'_>, layout: &Layout, again: &mut [u8]) -> Option<usize> {
    let content = frame.codes(layout).ok()?;
    let first: Vec<u32> = content.first.collect();
    let (positions, second) = (words(content.positions), words(content.second));
    let tokens = frame.header.tokens;
    assert_eq!(layout.span(&frame.header).unwrap().len(), first.len());
    assert_eq!(positions.len(), usize::from(layout.refined(tokens)));
    assert_eq!(content.mean.len(), layout.mean_len(tokens));
    assert!(positions.is_sorted_by(|a, b| a < b));
    assert!(positions.iter().all(|&position| position < tokens));
    let refined = SideInfo {
        means: content.mean,
        positions: &positions,
        codes: &second,
    };
    Some(emit(&frame.header, layout, &first, refined, again).unwrap())
}

fn words(codes: Unpack<'_>) -> Vec<u16> {
    codes.map(|code| u16::try_from(code).unwrap()).collect()
}

/// Reads `bytes` as frames of one message: each must have been the only encoding of its value, and nothing is left out.
fn read_frames(bytes: &[u8], layouts: &[Layout; 256], again: &mut [u8]) {
    let mut read = 0;
    for frame in Frames::new(bytes, layouts) {
        let Some(length) = frame
            .ok()
            .and_then(|frame| emit_again(&frame, &layouts[0], again))
        else {
            return;
        };
        assert_eq!(&again[..length], &bytes[read..read + length]);
        read += length;
    }
    assert_eq!(read, bytes.len());
}

fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut samples = common::all_bytes();
    // One part of a token of 384 exact channels: a frame of 783 bytes.
    let layout = Layout::new(0, 384, 32, None).unwrap();
    let header = CodeHeader {
        tokens: 1,
        part: 1,
        rung: 0,
        ..common::frames()[0].header
    };
    let mut buffer = [0; MAX_FRAME];
    let length = emit(
        &header,
        &layout,
        &[0.25_f32; 192],
        SideInfo::NONE,
        &mut buffer,
    );
    let length = length.unwrap();
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
fn every_corrupted_pair_of_bits_of_a_refined_part_is_an_error_or_a_valid_message() {
    for sample in common::frames() {
        let mut bytes = vec![0; MAX_BODY];
        let length = sample.emit(&mut bytes);
        bytes.truncate(length);
        let start = sample.header.encoded_len()
            + sample.codes.len() * usize::from(sample.layout.bits()) / 8;
        let bits = start * 8..length * 8;
        for (one, other) in bits
            .clone()
            .flat_map(|one| bits.clone().map(move |other| (one, other)))
        {
            let mut bytes = bytes.clone();
            bytes[one / 8] ^= 1 << (one % 8);
            bytes[other / 8] ^= 1 << (other % 8);
            read_all_ways(&bytes);
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
