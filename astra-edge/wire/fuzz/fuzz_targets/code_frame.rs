//! Any bytes on a code key, read with any layout: no panic, and what is accepted has one encoding.
#![no_main]

use astra_wire::{Layout, MAX_FRAME, Traffic, emit, unpack_into};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (codes_per_token, bits, bytes) = input;
    let Ok(Traffic::Codes(frame)) = Traffic::parse(bytes) else {
        return;
    };
    let Ok(layout) = Layout::new(codes_per_token, bits) else {
        return;
    };
    let Ok(codes) = frame.codes(&layout) else {
        return;
    };
    let codes: Vec<u32> = codes.collect();
    assert_eq!(layout.codes_in_frame(&frame.header), Ok(codes.len()));

    let mut unpacked = vec![0_u32; codes.len()];
    assert_eq!(unpack_into(frame.codes, bits, &mut unpacked), Ok(()));
    assert_eq!(unpacked, codes);

    let mut again = [0; MAX_FRAME];
    let length =
        emit(&frame.header, &layout, &codes, &mut again).expect("what was read can be sent");
    assert_eq!(&again[..length], bytes);
});
