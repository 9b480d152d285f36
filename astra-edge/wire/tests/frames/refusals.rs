//! Wrong arguments, and frames that do not belong to a layout.

use astra_wire::*;

use super::{header, plain};

#[test]
fn what_a_sender_gets_wrong_is_named() {
    let layout = plain(40, 8);
    let good = header(&layout, 0, 2);
    let codes = [0_u16; 80];
    let new = |header, codes: &[u16]| Framer::new(header, layout, codes, SideInfo::NONE).map(drop);
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
            expected: 160
        }))
    );
    assert_eq!(
        new(CodeHeader { sender: 16, ..good }, &codes),
        Err(EmitError::Header(HeaderError::Sender { found: 16 }))
    );
    assert_eq!(
        new(CodeHeader { version: 0, ..good }, &codes),
        Err(EmitError::Version {
            found: 0,
            min: MIN_VERSION,
            max: VERSION
        })
    );
    assert_eq!(
        new(CodeHeader { tokens: 0, ..good }, &[]),
        Err(EmitError::Header(HeaderError::Range(RangeError::Empty)))
    );
}

#[test]
fn codes_that_do_not_fit_are_named() {
    let layout = plain(40, 8);
    let good = header(&layout, 0, 2);
    let mut buffer = [0; MAX_FRAME];
    let mut large = [0_u16; 80];
    large[41] = 256;
    let mut framer = Framer::new(good, layout, &large, SideInfo::NONE).unwrap();
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
        emit(&many, &layout, &[0_u8; 1200], SideInfo::NONE, &mut buffer),
        Err(EmitError::Mismatch(MismatchError::Tokens {
            found: 30,
            max: 29
        }))
    );
    let floats = [0.0_f32; 80];
    assert_eq!(
        emit(&good, &layout, &floats, SideInfo::NONE, &mut buffer),
        Err(EmitError::Pack(PackError::Width { found: 8 }))
    );
}

#[test]
fn what_does_not_belong_to_the_layout_is_refused() {
    let layout = plain(291, 32);
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
    let layout = plain(4, 10);
    let header = header(&layout, 0, 1);
    let mut buffer = [0; MAX_FRAME];
    let length = emit(
        &header,
        &layout,
        &[1_u16, 2, 3, 4],
        SideInfo::NONE,
        &mut buffer,
    )
    .unwrap();
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
