//! Encodes two tokens and sends their codes to itself. Were one of the crates to link the standard library, this would not build:
//! there would be two panic handlers.
#![no_std]
#![no_main]

use core::ffi::c_int;
use core::panic::PanicInfo;

use astra_codec::{Codebook, half_norms, word_major};
use astra_wire::{CodeHeader, Flags, Framer, Frames, Layout, MAX_FRAME, SideInfo, VERSION};

// Start and end of a program, and the copying of memory that the compiler asks for.
#[link(name = "c")]
unsafe extern "C" {
    fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it takes nothing and does not return.
    unsafe { abort() }
}

/// The compiled `core` of this target names it, for a stack that unwinds. This one does not.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// 0 where the codes that arrive are those that were sent.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    match sends_codes() {
        Some(true) => 0,
        _ => 1,
    }
}

fn sends_codes() -> Option<bool> {
    // One group of two axes, two words: (0, 0) and (3, 4).
    let (dims, words, codewords) = ([2], 2, [0.0, 3.0, 0.0, 4.0]);
    let (mut turned, mut norms) = ([0.0; 4], [0.0; 2]);
    word_major(&dims, words, &codewords, &mut turned).ok()?;
    half_norms(&dims, words, &codewords, &mut norms).ok()?;
    let codebook = Codebook::new(&dims, words, &codewords, &turned, &norms).ok()?;
    let mut codes = [0_u16; 2];
    codebook.encode(&[1.0, 1.0, 2.0, 3.0], &mut codes).ok()?;

    let layout = Layout::new(1, 1, 1, None).ok()?;
    let header = CodeHeader {
        version: VERSION,
        request: 1,
        epoch: 1,
        block: 0,
        sender: 0,
        first_token: 0,
        tokens: 2,
        part: 0,
        rung: layout.rung(),
        flags: Flags::NONE,
    };
    let mut framer = Framer::new(header, layout, &codes, SideInfo::NONE).ok()?;
    let (mut buffer, mut received) = ([0; MAX_FRAME], [7_u16; 2]);
    while let Some(length) = framer.next_frame(&mut buffer).ok()? {
        for frame in Frames::new(buffer.get(..length)?, &[layout]) {
            let frame = frame.ok()?;
            let span = layout.span(&frame.header).ok()?;
            frame.read_into(&layout, received.get_mut(span)?).ok()?;
        }
    }
    Some(received == codes && codes == [0, 1])
}
