//! How many tokens are refined, and what is wrong with refined tokens.

use astra_wire::*;

use super::{header, plain, refined};

#[test]
fn refined_tokens_are_the_share_rounded_to_the_nearest() {
    let count = |share, tokens| refined(20, 8, (share, 4, 8)).refined(tokens);
    let counts = |share| [0, 1, 2, 9, 10, 29, 30, 58].map(|tokens| count(share, tokens));
    assert_eq!(counts(13), [0, 0, 0, 0, 1, 1, 2, 3]);
    assert_eq!(counts(64), [0, 0, 1, 2, 3, 7, 8, 15]);
    assert_eq!(counts(1), [0; 8]);
    assert_eq!(plain(20, 8).refined(1000), 0);
    // A token alone in a frame is never refined, so every token fits a frame.
    assert!((1..=MAX_SHARE).all(|share| count(share, 1) == 0));
}

#[test]
fn refined_codes_leave_room_for_fewer_tokens() {
    let facts = |second| {
        let layout = refined(20, 8, second);
        let most = layout.tokens_per_frame();
        (most, layout.frames(58), layout.packed_bytes(58))
    };
    assert_eq!(plain(20, 8).packed_bytes(58), 58 * 20);
    // Three of 50 tokens: 1,000 bytes, three positions of 6 bits, and 60 codes each: 1,183 would be too many.
    assert_eq!(facts((13, 60, 8)), (49, 2, 2 * (29 * 20 + 1 + 60)));
    assert_eq!(facts((13, 1, 1)), (57, 2, 2 * (29 * 20 + 1 + 1)));
    // Two tokens of which one would be refined do not fit.
    assert_eq!(facts((64, 2000, 8)), (1, 58, 58 * 20));
}

#[test]
fn a_second_stage_that_cannot_be_is_refused() {
    let new = |share, codes, bits| {
        let refinement = Refinement { share, codes, bits };
        Layout::new(160, 20, 8, Some(refinement)).map(|layout| layout.refinement())
    };
    let good = Refinement {
        share: 64,
        codes: u16::MAX,
        bits: 16,
    };
    assert_eq!(new(64, u16::MAX, 16), Ok(Some(good)));
    for found in [0, 65, 255] {
        assert_eq!(new(found, 1, 8), Err(LayoutError::Share { found }));
    }
    assert_eq!(new(1, 0, 8), Err(LayoutError::NoRefinedCodes));
    for found in [0, 17, 32, 255] {
        assert_eq!(new(1, 1, found), Err(LayoutError::RefinedWidth { found }));
    }
    assert_eq!(
        Layout::new(0, 384, 32, Some(good)),
        Err(LayoutError::ExactRefinement)
    );
    // A token that is cut into parts is not refined.
    let cut = Layout::new(9999, 5000, 8, Some(good)).unwrap();
    assert_eq!(
        (cut.parts(), cut.refinement(), cut.refined(100)),
        (5, None, 0)
    );
}

#[test]
fn refined_tokens_that_a_sender_gets_wrong_are_named() {
    let layout = refined(4, 8, (64, 3, 9));
    let header = header(&layout, 0, 8);
    let emit = |positions: &[u16], second: &[u16]| {
        let refined = SideInfo {
            means: &[],
            positions,
            codes: second,
        };
        let framer = Framer::new(header, layout, &[0_u8; 32], refined)?;
        let mut buffer = [0; MAX_FRAME];
        let (mut one, mut other) = (framer.clone(), framer);
        let first = one.next_frame(&mut buffer);
        // The frame can be tried again.
        assert_eq!(one.frames_left(), u32::from(first.is_err()));
        assert_eq!(other.next_frame(&mut buffer), first);
        first.map(drop)
    };
    assert_eq!(emit(&[0, 7], &[511; 6]), Ok(()));
    let (found, expected) = (1, 2);
    assert_eq!(
        emit(&[0], &[0; 3]),
        Err(EmitError::Positions { found, expected })
    );
    let (found, expected) = (5, 6);
    assert_eq!(
        emit(&[0, 1], &[0; 5]),
        Err(EmitError::RefinedCodes { found, expected })
    );
    let wrong = |found, least| {
        let tokens = 8;
        Err(EmitError::Position(PositionError {
            found,
            least,
            tokens,
        }))
    };
    assert_eq!(emit(&[3, 3], &[0; 6]), wrong(3, 4));
    assert_eq!(emit(&[3, 2], &[0; 6]), wrong(2, 4));
    assert_eq!(emit(&[3, 8], &[0; 6]), wrong(8, 4));
    assert_eq!(
        emit(&[3, 4], &[0, 0, 0, 0, 512, 0]),
        Err(EmitError::Pack(PackError::CodeTooLarge {
            index: 4,
            found: 512,
            bits: 9
        }))
    );
}

#[test]
fn a_mean_is_of_frames_of_eight_tokens_and_takes_its_room() {
    let layout = plain(20, 8).with_mean(100).unwrap();
    assert_eq!(
        [0, 1, 7, 8, 9, 300].map(|n| layout.mean_len(n)),
        [0, 0, 0, 100, 100, 100]
    );
    assert_eq!((layout.mean(), plain(20, 8).mean()), (100, 0));
    // 58 tokens of 20 bytes fit a frame, with 100 bytes beside them 53.
    assert_eq!(layout.tokens_per_frame(), 53);
    assert_eq!(layout.packed_bytes(58), 2 * (29 * 20 + 100));
    // Where eight tokens and the mean do not fit, frames are shorter and have none.
    let long = plain(20, 8).with_mean(u16::MAX).unwrap();
    assert_eq!((long.tokens_per_frame(), long.means_of_all(300)), (7, 0));
    let exact = Layout::new(0, 384, 32, None).unwrap();
    assert_eq!(exact.with_mean(0), Ok(exact));
    assert_eq!(exact.with_mean(1), Err(LayoutError::ExactMean { found: 1 }));
}

#[test]
fn a_mean_of_another_length_is_refused() {
    let layout = plain(4, 8).with_mean(3).unwrap();
    for (tokens, found, expected) in [(8, 2, 3), (8, 4, 3), (8, 0, 3), (7, 3, 0)] {
        let side = SideInfo {
            means: &[0; 9][..found],
            ..SideInfo::NONE
        };
        let codes = vec![0_u8; 4 * usize::from(tokens)];
        let framer = Framer::new(header(&layout, 0, tokens), layout, &codes, side);
        let refused = Err(EmitError::Means { found, expected });
        assert_eq!(framer.map(drop), refused);
    }
}

#[test]
fn refined_tokens_without_a_second_stage_are_refused() {
    let layout = plain(4, 8);
    let refined = SideInfo {
        means: &[],
        positions: &[0],
        codes: &[],
    };
    let framer = Framer::new(header(&layout, 0, 8), layout, &[0_u8; 32], refined);
    let (found, expected) = (1, 0);
    assert_eq!(
        framer.map(drop),
        Err(EmitError::Positions { found, expected })
    );
}

#[test]
fn blocks_have_layouts_of_their_own() {
    let layouts = [plain(4, 8), plain(9, 8), refined(4, 8, (64, 3, 9))];
    let mut message = Vec::new();
    for (block, layout) in (0_u8..).zip(layouts) {
        let header = CodeHeader {
            block,
            ..header(&layout, 0, 6)
        };
        let codes = vec![block; 6 * usize::from(layout.codes_per_token())];
        let refined = match block {
            2 => SideInfo {
                means: &[],
                positions: &[2, 5],
                codes: &[300; 6],
            },
            _ => SideInfo::NONE,
        };
        message.extend(super::frames(header, layout, &codes, refined).concat());
    }
    let read: Vec<_> = Frames::new(&message, &layouts)
        .map(Result::unwrap)
        .collect();
    for (frame, layout) in read.iter().zip(&layouts) {
        let codes = frame.codes(layout).unwrap();
        assert!(codes.first.eq(vec![
            u32::from(frame.header.block);
            layout.codes_in_frame(&frame.header).unwrap()
        ]));
    }
    assert_eq!(read.len(), 3);
    let last = Frames::new(&message, &layouts[..2]).last().unwrap();
    let (found, blocks) = (2, 2);
    assert_eq!(
        last,
        Err(FrameError::Mismatch(MismatchError::Block { found, blocks }))
    );
}
