//! Any bytes on a code key, read with any layout: no panic, and what is accepted has one encoding, as one frame and as several.
#![no_main]

use astra_wire::{
    CodeFrame, Frames, Layout, MAX_FRAME, SideInfo, Refinement, Traffic, Unpack, emit, parse,
    unpack_into,
};
use libfuzzer_sys::fuzz_target;

/// Rung, codes and bits of a token; share, codes and bits of a second stage; bytes of a mean.
type Numbers = (u16, u16, u8, Option<(u8, u16, u8)>, u16);

fuzz_target!(|input: (Numbers, &[u8])| {
    let ((rung, codes_per_token, bits, second, mean), bytes) = input;
    let Ok(Traffic::Codes(bytes)) = Traffic::parse(bytes) else {
        return;
    };
    let refinement = second.map(|(share, codes, bits)| Refinement { share, codes, bits });
    let layout = Layout::new(rung, codes_per_token, bits, refinement);
    let Ok(layout) = layout.and_then(|layout| layout.with_mean(mean)) else {
        return;
    };
    if let Some(again) = parse(bytes).ok().and_then(|frame| sent_again(&frame, &layout)) {
        assert_eq!(again, bytes);
    }
    let mut read = 0;
    for frame in Frames::new(bytes, &[layout; 256]) {
        let Some(again) = frame.ok().and_then(|frame| sent_again(&frame, &layout)) else {
            return;
        };
        assert_eq!(again, bytes[read..read + again.len()]);
        read += again.len();
    }
    assert_eq!(read, bytes.len());
});

/// The bytes of a frame; `None` where its codes are none of the layout's.
fn sent_again(frame: &CodeFrame, layout: &Layout) -> Option<Vec<u8>> {
    let content = frame.codes(layout).ok()?;
    let codes: Vec<u32> = content.first.collect();
    let (positions, second) = (words(content.positions), words(content.second));
    let tokens = frame.header.tokens;
    assert_eq!(layout.codes_in_frame(&frame.header), Ok(codes.len()));
    assert_eq!(usize::from(layout.refined(tokens)), positions.len());
    assert!(positions.is_sorted_by(|a, b| a < b));
    assert!(positions.iter().all(|&position| position < tokens));

    let mut unpacked = vec![0_u32; codes.len()];
    assert_eq!(frame.read_into(layout, &mut unpacked), Ok(()));
    assert_eq!(unpacked, codes);
    let first = (codes.len() * usize::from(layout.bits())).div_ceil(8);
    assert_eq!(unpack_into(&frame.body[..first], layout.bits(), &mut unpacked), Ok(()));
    assert_eq!(unpacked, codes);

    let side = SideInfo { means: content.mean, positions: &positions, codes: &second };
    assert_eq!(content.mean.len(), layout.mean_len(tokens));
    let mut again = vec![0; MAX_FRAME];
    let length = emit(&frame.header, layout, &codes, side, &mut again).expect("what was read can be sent");
    again.truncate(length);
    Some(again)
}

fn words(codes: Unpack) -> Vec<u16> {
    codes.map(|code| code.try_into().expect("at most 16 bits")).collect()
}
