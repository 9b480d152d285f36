//! How codes are laid out in frames.

use astra_wire::layout::MAX_CODES;
use astra_wire::*;

use super::{header, plain};

#[test]
fn every_layout_tiles_its_tokens_and_fills_its_frames() {
    for bits in (1..=16).chain([32]) {
        for codes in (1..=u16::MAX).step_by(if bits == 8 { 1 } else { 37 }) {
            let layout = plain(codes, bits);
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
        let layout = plain(codes, bits);
        (layout.tokens_per_frame(), layout.parts(), layout.frames(64))
    };
    assert_eq!(facts(1, 10), (929, 1, 1));
    assert_eq!(facts(4, 10), (232, 1, 1));
    assert_eq!(facts(10, 8), (116, 1, 1));
    assert_eq!(facts(20, 8), (58, 1, 2));
    assert_eq!(facts(40, 8), (29, 1, 3));
    assert_eq!(facts(80, 8), (14, 1, 5));
    assert_eq!(facts(290, 32), (1, 1, 64));
    assert_eq!(facts(291, 32), (1, 2, 128));
    assert_eq!(facts(384, 32), (1, 2, 128));
    assert_eq!(facts(4096, 32), (1, 15, 960));
    assert_eq!(facts(65_535, 32), (1, 226, 14_464));
}

#[test]
fn layouts_that_cannot_be_are_refused() {
    let new = |rung, codes, bits| Layout::new(rung, codes, bits, None);
    for found in [0, 17, 31, 33, 255] {
        assert_eq!(new(8, 1, found), Err(LayoutError::Width { found }));
    }
    assert_eq!(new(8, 0, 8), Err(LayoutError::NoCodes));
    for (found, bits) in [(0, 8), (1, 32)] {
        assert_eq!(new(found, 1, bits), Err(LayoutError::Rung { found, bits }));
    }
    // The name of a rung says nothing of a block.
    assert_eq!(new(u16::MAX, 1, 1).unwrap().rung(), u16::MAX);
}

#[test]
fn the_longest_header_is_within_its_bound() {
    let header = CodeHeader {
        version: u8::MAX,
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
fn a_full_frame_after_the_longest_header_fits() {
    // 15 codes of 7 bits, 88 tokens: all 1,155 bytes a frame of this rung can have.
    let layout = plain(15, 7);
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
    let length = emit(&header, &layout, &codes, SideInfo::NONE, &mut buffer).unwrap();
    assert!(length <= MAX_BODY);
    let mut exact = vec![0; length];
    assert_eq!(
        emit(&header, &layout, &codes, SideInfo::NONE, &mut exact),
        Ok(length)
    );
    for found in 0..length {
        assert_eq!(
            emit(
                &header,
                &layout,
                &codes,
                SideInfo::NONE,
                &mut exact[..found]
            ),
            Err(EmitError::Room {
                found,
                needed: length
            })
        );
    }
}
