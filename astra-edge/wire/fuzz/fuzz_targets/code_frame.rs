//! Any bytes on a code key, read with any layout: no panic, and what is accepted has one encoding, as one frame and as several.
#![no_main]

use astra_wire::{CodeFrame, Frames, Layout, MAX_FRAME, Traffic, emit, parse, unpack_into};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (codes_per_token, bits, bytes) = input;
    let Ok(Traffic::Codes(bytes)) = Traffic::parse(bytes) else {
        return;
    };
    let Ok(layout) = Layout::new(codes_per_token, bits) else {
        return;
    };
    if let Some(again) = parse(bytes).ok().and_then(|frame| sent_again(&frame, &layout)) {
        assert_eq!(again, bytes);
    }
    let mut read = 0;
    for frame in Frames::new(bytes, layout) {
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
    let codes: Vec<u32> = frame.codes(layout).ok()?.collect();
    assert_eq!(layout.codes_in_frame(&frame.header), Ok(codes.len()));

    let mut unpacked = vec![0_u32; codes.len()];
    assert_eq!(unpack_into(frame.codes, layout.bits(), &mut unpacked), Ok(()));
    assert_eq!(unpacked, codes);

    let mut again = vec![0; MAX_FRAME];
    let length = emit(&frame.header, layout, &codes, &mut again).expect("what was read can be sent");
    again.truncate(length);
    Some(again)
}
