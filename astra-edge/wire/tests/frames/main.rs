//! Layouts, framers and the frames of a message.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod layouts;
mod messages;
mod refusals;
mod round_trips;

use astra_wire::*;

fn header(layout: &Layout, first_token: u16, tokens: u16) -> CodeHeader {
    CodeHeader {
        version: VERSION,
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
