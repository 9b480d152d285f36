//! Layouts and framers: what goes in comes out, whatever the rung and range.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

use astra_wire::layout::MAX_CODES;
use astra_wire::*;
use proptest::prelude::*;

fn header(layout: &Layout, first_token: u16, tokens: u16) -> CodeHeader {
    CodeHeader {
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
fn frames<C: Code>(header: CodeHeader, layout: Layout, codes: &[C]) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(header, layout, codes).unwrap();
    let mut frames = Vec::new();
    loop {
        let mut buffer = [0xa5; MAX_FRAME];
        let left = framer.frames_left();
        let Some(length) = framer.next_frame(&mut buffer).unwrap() else {
            assert_eq!(left, 0);
            return frames;
        };
        assert_eq!(framer.frames_left(), left - 1);
        assert!(length + TAG <= MAX_FRAME);
        assert!(buffer[length..].iter().all(|&byte| byte == 0xa5));
        frames.push(buffer[..length].to_vec());
    }
}

fn check_round_trip(header: CodeHeader, layout: Layout, codes: &[u32]) {
    let frames = frames(header, layout, codes);
    assert_eq!(frames.len(), layout.frames(header.tokens) as usize);

    let per_token = usize::from(layout.codes_per_token());
    let base = usize::from(header.first_token) * per_token;
    let mut found = vec![None; codes.len()];
    let mut sizes = Vec::new();
    for bytes in &frames {
        let frame = parse(bytes).unwrap();
        assert!(bytes.len() - frame.codes.len() <= 24);
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
    (codes, bits).prop_filter_map("rung above 65,535 bits", |(codes, bits)| {
        Layout::new(codes, bits).ok()
    })
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
    let layout = Layout::new(40, 8).unwrap();
    check_round_trip(header(&layout, 65_535, 1), layout, &[1; 40]);
    let layout = Layout::new(1, 1).unwrap();
    let codes: Vec<u32> = (0..65_535).map(|i| i % 2).collect();
    check_round_trip(header(&layout, 1, 65_535), layout, &codes);
}

#[test]
fn every_type_of_code_is_framed_alike() {
    let layout = Layout::new(40, 8).unwrap();
    let header = header(&layout, 0, 64);
    let bytes: Vec<u8> = (0..64 * 40).map(|i| (i % 251) as u8).collect();
    let words: Vec<u16> = bytes.iter().map(|&byte| u16::from(byte)).collect();
    let expected = frames(header, layout, &bytes);
    assert_eq!(expected.len(), 3);
    assert_eq!(frames(header, layout, &words), expected);
}

#[test]
fn exact_channels_come_out_bit_for_bit() {
    let layout = Layout::new(384, 32).unwrap();
    assert_eq!((layout.parts(), layout.rung()), (2, 0));
    let values: Vec<f32> = (0..3 * 384).map(|i| (i as f32 - 500.0) / 7.0).collect();
    let mut found = vec![0.0_f32; 13 * 384];
    for bytes in frames(header(&layout, 10, 3), layout, &values) {
        let frame = parse(&bytes).unwrap();
        let span = layout.span(&frame.header).unwrap();
        frame.read_into(&layout, &mut found[span]).unwrap();
    }
    assert_eq!(found[10 * 384..], values);
}

#[test]
fn every_layout_tiles_its_tokens_and_fills_its_frames() {
    for bits in (1..=16).chain([32]) {
        for codes in (1..=u16::MAX).step_by(if bits == 8 { 1 } else { 37 }) {
            let Ok(layout) = Layout::new(codes, bits) else {
                assert!(bits < 32 && u32::from(codes) * u32::from(bits) > 65_535);
                continue;
            };
            let fits = |codes: usize| packed_len(codes, bits) <= MAX_CODES;
            let whole = usize::from(layout.tokens_per_frame()) * usize::from(codes);
            if layout.parts() == 1 {
                assert!(
                    fits(whole) && !fits(whole + usize::from(codes)),
                    "{layout:?}"
                );
            } else {
                let one_less = usize::from(codes).div_ceil(usize::from(layout.parts()) - 1);
                assert!(!fits(one_less), "{layout:?}: fewer parts would do");
            }
            let mut end = 0;
            for part in 0..layout.parts() {
                let range = layout.part_range(part).unwrap();
                assert_eq!(range.start, end, "{layout:?}");
                assert_eq!(range.len(), layout.codes_in_part(part));
                assert!(fits(range.len()) && !range.is_empty(), "{layout:?}");
                end = range.end;
            }
            assert_eq!(end, usize::from(codes), "{layout:?}");
            assert_eq!(layout.part_range(layout.parts()), None);
            assert_eq!(layout.codes_in_part(u8::MAX), 0);
        }
    }
}

#[test]
fn layouts_of_the_rungs() {
    let facts = |codes, bits| {
        let layout = Layout::new(codes, bits).unwrap();
        (
            layout.rung(),
            layout.tokens_per_frame(),
            layout.parts(),
            layout.frames(64),
        )
    };
    assert_eq!(facts(1, 10), (10, 929, 1, 1));
    assert_eq!(facts(4, 10), (40, 232, 1, 1));
    assert_eq!(facts(10, 8), (80, 116, 1, 1));
    assert_eq!(facts(20, 8), (160, 58, 1, 2));
    assert_eq!(facts(40, 8), (320, 29, 1, 3));
    assert_eq!(facts(80, 8), (640, 14, 1, 5));
    assert_eq!(facts(290, 32), (0, 1, 1, 64));
    assert_eq!(facts(291, 32), (0, 1, 2, 128));
    assert_eq!(facts(384, 32), (0, 1, 2, 128));
    assert_eq!(facts(4096, 32), (0, 1, 15, 960));
    assert_eq!(facts(65_535, 32), (0, 1, 226, 14_464));
}

#[test]
fn layouts_that_cannot_be_are_refused() {
    for found in [0, 17, 31, 33, 255] {
        assert_eq!(Layout::new(1, found), Err(LayoutError::Width { found }));
    }
    assert_eq!(Layout::new(0, 8), Err(LayoutError::NoCodes));
    assert_eq!(
        Layout::new(8192, 8),
        Err(LayoutError::Rung { found: 65_536 })
    );
    assert!(Layout::new(8191, 8).is_ok());
}

#[test]
fn the_longest_header_is_within_its_bound() {
    let header = CodeHeader {
        request: u32::MAX,
        epoch: u16::MAX,
        block: u8::MAX,
        sender: u8::MAX,
        first_token: u16::MAX,
        tokens: u16::MAX,
        part: u8::MAX,
        rung: u16::MAX,
        flags: Flags::PREDICTED,
    };
    assert_eq!(header.encoded_len(), MAX_HEADER);
    assert_eq!(MAX_HEADER, 22);
}

#[test]
fn a_full_frame_behind_the_longest_header_fits() {
    // 15 codes of 7 bits, 88 tokens: all 1,155 bytes a frame of this rung can have.
    let layout = Layout::new(15, 7).unwrap();
    let tokens = layout.tokens_per_frame();
    let header = CodeHeader {
        request: u32::MAX,
        epoch: u16::MAX,
        block: u8::MAX,
        sender: 15,
        first_token: u16::MAX - tokens,
        flags: Flags::PREDICTED,
        ..header(&layout, 0, tokens)
    };
    let codes = vec![127_u8; usize::from(tokens) * 15];
    let mut buffer = [0xa5; MAX_FRAME];
    let length = emit(&header, &layout, &codes, &mut buffer).unwrap();
    assert!(length <= MAX_BODY);
    let mut exact = vec![0; length];
    assert_eq!(emit(&header, &layout, &codes, &mut exact), Ok(length));
    for found in 0..length {
        assert_eq!(
            emit(&header, &layout, &codes, &mut exact[..found]),
            Err(EmitError::Room {
                found,
                needed: length
            })
        );
    }
}

#[test]
fn frames_of_one_message_are_read_up_to_the_first_that_is_none() {
    for (codes, bits, tokens) in [(20, 8, 342), (40, 8, 65), (3, 10, 900), (384, 32, 3)] {
        let layout = Layout::new(codes, bits).unwrap();
        let all: Vec<u32> = (0..u32::from(codes) * u32::from(tokens))
            .map(|code| code % 200)
            .collect();
        let (mut message, mut ends) = (Vec::new(), Vec::new());
        for frame in frames(header(&layout, 5, tokens), layout, &all) {
            message.extend(frame);
            ends.push(message.len());
        }
        assert!(ends.len() > 1, "{ends:?}");
        for cut in 0..=message.len() {
            let read: Vec<_> = Frames::new(&message[..cut], layout).collect();
            let whole = ends.iter().take_while(|end| **end <= cut).count();
            let mut start = 0;
            for (read, &end) in read.iter().zip(&ends[..whole]) {
                assert_eq!(read.as_ref(), Ok(&parse(&message[start..end]).unwrap()));
                start = end;
            }
            match read.get(whole) {
                None => assert_eq!(cut, start),
                Some(rest) => assert_eq!(rest, &Err(FrameError::Truncated)),
            }
            assert!(read.len() <= whole + 1);
        }
        // Of another version, in the second frame: what is behind it cannot be found.
        message[ends[0]] = 0;
        let read: Vec<_> = Frames::new(&message, layout).collect();
        assert_eq!(read.len(), 2);
        assert!(matches!(read[1], Err(FrameError::Version { .. })));
    }
    let layout = Layout::new(20, 8).unwrap();
    let none: Vec<_> = Frames::new(&[], layout).collect();
    assert_eq!(none, [Err(FrameError::Truncated)]);
}

#[test]
fn a_frame_longer_than_a_datagram_is_refused() {
    let mut bytes = vec![0; MAX_BODY + 1];
    bytes[..11].copy_from_slice(&[1, 0x80, 0, 0, 0, 0, 0, 1, 0, 8, 1]);
    assert_eq!(
        parse(&bytes),
        Err(FrameError::TooLong {
            found: MAX_BODY + 1
        })
    );
    assert!(parse(&bytes[..MAX_BODY]).is_ok());
}

#[test]
fn what_a_sender_gets_wrong_is_named() {
    let layout = Layout::new(40, 8).unwrap();
    let good = header(&layout, 0, 2);
    let codes = [0_u16; 80];
    let new = |header, codes: &[u16]| Framer::new(header, layout, codes).map(drop);
    assert_eq!(new(good, &codes), Ok(()));
    assert_eq!(
        new(good, &codes[..79]),
        Err(EmitError::Codes {
            found: 79,
            expected: 80
        })
    );
    assert_eq!(
        new(CodeHeader { rung: 0, ..good }, &codes),
        Err(EmitError::Mismatch(MismatchError::Rung {
            found: 0,
            expected: 320
        }))
    );
    assert_eq!(
        new(CodeHeader { sender: 16, ..good }, &codes),
        Err(EmitError::Header(HeaderError::Sender { found: 16 }))
    );
    assert_eq!(
        new(CodeHeader { tokens: 0, ..good }, &[]),
        Err(EmitError::Header(HeaderError::NoTokens))
    );
    let mut buffer = [0; MAX_FRAME];
    let mut large = codes;
    large[41] = 256;
    let mut framer = Framer::new(good, layout, &large).unwrap();
    let too_large = PackError::CodeTooLarge {
        index: 41,
        found: 256,
        bits: 8,
    };
    for _ in 0..2 {
        assert_eq!(
            framer.next_frame(&mut buffer),
            Err(EmitError::Pack(too_large))
        );
        assert_eq!(framer.frames_left(), 1);
    }

    let many = CodeHeader { tokens: 30, ..good };
    assert_eq!(
        emit(&many, &layout, &[0_u8; 1200], &mut buffer),
        Err(EmitError::Mismatch(MismatchError::Tokens {
            found: 30,
            max: 29
        }))
    );
    let floats = [0.0_f32; 80];
    assert_eq!(
        emit(&good, &layout, &floats, &mut buffer),
        Err(EmitError::Pack(PackError::Width { found: 8 }))
    );
}

#[test]
fn what_does_not_belong_to_the_layout_is_refused() {
    let layout = Layout::new(291, 32).unwrap();
    let mut header = header(&layout, 0, 2);
    // Two parts of 145 codes would fit a frame, yet a cut token travels alone.
    assert_eq!(
        layout.codes_in_frame(&header),
        Err(MismatchError::Tokens { found: 2, max: 1 })
    );
    header.tokens = 1;
    header.part = 1;
    assert_eq!(layout.codes_in_frame(&header), Ok(145));
    assert_eq!(layout.span(&header), Ok(146..291));
    header.part = 2;
    assert_eq!(
        layout.span(&header),
        Err(MismatchError::Part { found: 2, parts: 2 })
    );
}

#[test]
fn a_slot_of_another_size_is_refused_and_left_alone() {
    let layout = Layout::new(4, 10).unwrap();
    let header = header(&layout, 0, 1);
    let mut buffer = [0; MAX_FRAME];
    let length = emit(&header, &layout, &[1_u16, 2, 3, 4], &mut buffer).unwrap();
    let frame = parse(&buffer[..length]).unwrap();
    for found in [0, 3, 5] {
        let mut slot = vec![9_u16; found];
        assert_eq!(
            frame.read_into(&layout, &mut slot),
            Err(FrameError::Slot { found, expected: 4 })
        );
    }
    let mut narrow = [9_u8; 4];
    assert_eq!(
        frame.read_into(&layout, &mut narrow),
        Err(FrameError::Codes(UnpackError::Type {
            found: 10,
            holds: 8
        }))
    );
    assert_eq!(narrow, [9; 4]);
}
