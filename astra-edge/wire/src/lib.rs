//! What astra-edge devices say to each other: code frames and control messages.
//!
//! `no_std`, no allocation, no unsafe code. Every function works on buffers the caller owns, so the same
//! code runs in a Linux daemon and on a microcontroller. The bytes are specified in `WIRE.md` beside this
//! crate's manifest.
//!
//! # Map, from the bottom up
//!
//! | module | what it knows |
//! |---|---|
//! | [`bits`] | codes of 1 to 16 bits, or whole `f32`, packed into bytes and back |
//! | [`version`] | which versions two devices have in common |
//! | [`layout`] | how many tokens of a rung fit one frame, and how a token that does not fit is cut |
//! | [`header`] | the header of a code frame and what makes one valid |
//! | [`frame`] | one code frame: [`emit`] and [`parse`] |
//! | [`framer`] | a member's whole token range as successive frames |
//! | [`frames`] | the frames that came in one message |
//! | [`control`] | every other message, from hello to leave |
//! | [`traffic`] | what can arrive on a code key: code frames or a probe |
//! | [`error`] | what can be wrong with received bytes, or with what is to be sent |
//!
//! The sender's way, once a block:
//!
//! ```
//! use astra_wire::{CodeHeader, Flags, Framer, Frames, Layout, MAX_FRAME};
//!
//! let layout = Layout::new(40, 8)?; // 40 codes of 8 bits a token: the 320-bit rung
//! let codes = [7_u8; 64 * 40];
//! let header = CodeHeader {
//!     request: 1, epoch: 1, block: 0, sender: 2, first_token: 128, tokens: 64, part: 0,
//!     rung: layout.rung(), flags: Flags::NONE,
//! };
//! let mut framer = Framer::new(header, layout, &codes)?;
//! let mut buffer = [0; MAX_FRAME];
//! let mut slots = [0_u8; 256 * 40]; // the receiver's codes of the whole request, token by token
//! while let Some(length) = framer.next_frame(&mut buffer)? {
//!     // The receiver's way, once a message, which may hold several frames.
//!     for frame in Frames::new(&buffer[..length], layout) {
//!         let frame = frame?;
//!         let span = layout.span(&frame.header)?;
//!         frame.read_into(&layout, &mut slots[span])?;
//!     }
//! }
//! assert!(slots[128 * 40..192 * 40].iter().all(|&code| code == 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Panics
//!
//! None. No function of this crate panics, whatever bytes or values it is given: what comes from outside
//! is answered with [`FrameError`], what a caller gets wrong with an error of the function called.

#![no_std]
#![forbid(unsafe_code)]

pub mod bits;
pub mod control;
pub mod error;
pub mod frame;
pub mod framer;
pub mod frames;
pub mod header;
pub mod layout;
pub mod traffic;
pub mod version;

pub use bits::{Code, PackError, Unpack, UnpackError, pack, packed_len, unpack, unpack_into};
pub use control::{
    Answer, Ask, AskOptions, AskText, AskVector, Choice, Control, ControlError, DeviceId, Encoding,
    Ending, Generate, Greeting, Halo, Hello, MAX_ID, MAX_STOPS, Member, MemberResult, Offer, Probe,
    Reason, Resume, Start, StartText, Stats, TextAnswer, Words, Written, greeting, pack_ids,
    unpack_ids,
};
pub use error::{EmitError, FrameError};
pub use frame::{CodeFrame, emit, parse};
pub use framer::Framer;
pub use frames::Frames;
pub use header::{CodeHeader, Flags, HeaderError, MAX_HEADER};
pub use layout::{Layout, LayoutError, MismatchError};
pub use traffic::Traffic;
pub use version::{MIN_VERSION, VERSION, VersionError, Versions, negotiate};

/// Most bytes of one code frame on the network, its authentication tag included: one datagram.
pub const MAX_FRAME: usize = 1200;

/// Most bytes of code frames that are sent in one message. What a message costs on its way through sender and receiver hardly
/// depends on its length; from here on another is little beside what its bytes cost.
pub const MAX_MESSAGE: usize = 16 << 10;

/// Bytes kept free behind every code frame for an authentication tag.
pub const TAG: usize = 16;

/// Most bytes of one code frame as this crate emits and parses it, before the tag is added.
pub const MAX_BODY: usize = MAX_FRAME - TAG;

/// Most members of one request.
pub const MAX_MEMBERS: usize = 16;

/// Positions a token can have: token indexes are 0 to 65,535.
pub const MAX_TOKENS: u32 = 1 << 16;

// Products of two u16 values (tokens and codes per token) are computed in usize.
const _: () = assert!(usize::BITS >= 32);
// `Control::Heard` names members in a 16-bit mask.
const _: () = assert!(MAX_MEMBERS <= u16::BITS as usize);
