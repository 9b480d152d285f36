//! What goes into frames comes out of them, whatever the rung and range.

use astra_wire::*;
use proptest::prelude::*;

use super::{frames, header, plain};

fn check_round_trip(header: CodeHeader, layout: Layout, codes: &[u32]) {
    let frames = frames(header, layout, codes, SideInfo::NONE);
    assert_eq!(frames.len(), layout.frames(header.tokens) as usize);
    let bodies: usize = frames
        .iter()
        .map(|bytes| parse(bytes).unwrap().body.len())
        .sum();
    assert_eq!(layout.packed_bytes(header.tokens), bodies as u64);

    let per_token = usize::from(layout.codes_per_token());
    let base = usize::from(header.first_token) * per_token;
    let mut found = vec![None; codes.len()];
    let mut sizes = Vec::new();
    for bytes in &frames {
        let frame = parse(bytes).unwrap();
        assert!(bytes.len() - frame.body.len() <= 24);
        let same = CodeHeader {
            first_token: header.first_token,
            tokens: header.tokens,
            part: header.part,
            ..frame.header
        };
        assert_eq!(same, header);
        sizes.push(frame.header.tokens);

        let span = layout.span(&frame.header).unwrap();
        let mut slot = vec![0_u32; span.len()];
        frame.read_into(&layout, &mut slot).unwrap();
        for (index, code) in span.zip(slot) {
            let earlier = found[index - base].replace(code);
            assert_eq!(earlier, None, "code {index} is in two frames");
        }
    }
    let found: Vec<u32> = found.into_iter().flatten().collect();
    assert_eq!(found, codes);
    let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
    assert!(spread <= 1, "tokens dealt unevenly: {sizes:?}");
}

fn layouts() -> impl Strategy<Value = Layout> {
    let codes = prop_oneof![1..100_u16, 1..3000_u16, Just(384), Just(4096)];
    let bits = prop_oneof![1..=16_u8, Just(8), Just(32)];
    (codes, bits).prop_map(|(codes, bits)| plain(codes, bits))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_comes_out_as_it_went_in(
        layout in layouts(),
        tokens in 1..300_u16,
        start in any::<u16>(),
        seed in any::<u32>(),
    ) {
        let first = start.min(u16::MAX - tokens + 1);
        let mask = u32::MAX >> (32 - layout.bits());
        let count = u32::from(tokens) * u32::from(layout.codes_per_token());
        let codes: Vec<u32> = (0..count)
            .map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(15) & mask)
            .collect();
        check_round_trip(header(&layout, first, tokens), layout, &codes);
    }
}

#[test]
fn the_last_tokens_there_can_be_are_framed() {
    let layout = plain(40, 8);
    check_round_trip(header(&layout, 65_535, 1), layout, &[1; 40]);
    let layout = plain(1, 1);
    let codes: Vec<u32> = (0..65_535).map(|i| i % 2).collect();
    check_round_trip(header(&layout, 1, 65_535), layout, &codes);
}

#[test]
fn every_type_of_code_is_framed_alike() {
    let layout = plain(40, 8);
    let header = header(&layout, 0, 64);
    let bytes: Vec<u8> = (0..64 * 40).map(|i| (i % 251) as u8).collect();
    let words: Vec<u16> = bytes.iter().map(|&byte| u16::from(byte)).collect();
    let expected = frames(header, layout, &bytes, SideInfo::NONE);
    assert_eq!(expected.len(), 3);
    assert_eq!(frames(header, layout, &words, SideInfo::NONE), expected);
}

#[test]
fn exact_channels_come_out_bit_for_bit() {
    let layout = plain(384, 32);
    assert_eq!((layout.parts(), layout.rung()), (2, 0));
    let values: Vec<f32> = (0..3 * 384).map(|i| (i as f32 - 500.0) / 7.0).collect();
    let mut found = vec![0.0_f32; 13 * 384];
    for bytes in frames(header(&layout, 10, 3), layout, &values, SideInfo::NONE) {
        let frame = parse(&bytes).unwrap();
        let span = layout.span(&frame.header).unwrap();
        frame.read_into(&layout, &mut found[span]).unwrap();
    }
    assert_eq!(found[10 * 384..], values);
}
