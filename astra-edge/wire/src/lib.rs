//! The messages of astra-edge devices: code frames and control messages.
//!
//! `no_std`, no allocation, no unsafe code. Every function works on buffers the caller owns, so the same
//! code runs in a Linux daemon and on a microcontroller. The bytes are specified in `WIRE.md` beside this
//! crate's manifest.
//!
//! Layers, lowest first:
//! - [`limits`]: sizes and counts that sender and receiver agree on
//! - [`version`]: which versions two devices have in common
//! - [`bits`]: codes of 1 to 16 bits, or whole `f32`, packed into bytes and back
//! - [`token_range`] and [`flags`]: the parts of a header that have rules of their own
//! - [`error`]: what can be wrong with received bytes, or with what is to be sent
//! - [`header`]: the header of a code frame and what makes one valid
//! - [`refinement`]: which tokens of a frame have codes of a second stage
//! - [`side_info`]: what a sender adds to the first-stage codes
//! - [`split`]: tokens distributed evenly over frames
//! - `sections`: the packed parts of one frame
//! - [`layout`]: how many tokens of a block fit one frame, and how a token that does not fit is cut
//! - [`frame`]: one code frame: [`emit`] and [`parse`]
//! - [`framer`]: a member's whole token range as successive frames
//! - [`frames`]: the frames of one received message
//! - [`control`]: every other message
//! - [`traffic`]: what can arrive on a code key: code frames or a probe
//!
//! A sender, once a block, and a receiver:
//!
//! ```
//! use astra_wire::{CodeHeader, Flags, Framer, Frames, Layout, MAX_FRAME, SideInfo, VERSION};
//!
//! let layout = Layout::new(320, 40, 8, None)?; // in each of 12 blocks 40 codes of 8 bits a token: the 320-bit rung
//! let layouts = [layout; 12];
//! let codes = [7_u8; 64 * 40];
//! let header = CodeHeader {
//!     version: VERSION, request: 1, epoch: 1, block: 0, sender: 2, first_token: 128, tokens: 64,
//!     part: 0, rung: layout.rung(), flags: Flags::NONE,
//! };
//! let mut framer = Framer::new(header, layout, &codes, SideInfo::NONE)?;
//! let mut buffer = [0; MAX_FRAME];
//! let mut slots = [0_u8; 256 * 40]; // the receiver's codes of the whole request, token by token
//! while let Some(length) = framer.next_frame(&mut buffer)? {
//!     // The receiver: a message may hold several frames.
//!     for frame in Frames::new(&buffer[..length], &layouts) {
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
//! No function of this crate panics, whatever bytes or values it is given. Wrong received bytes are a [`FrameError`], wrong
//! arguments an error of the function called.

#![no_std]
#![forbid(unsafe_code)]

pub mod bits;
pub mod control;
pub mod error;
pub mod flags;
pub mod frame;
pub mod framer;
pub mod frames;
pub mod header;
pub mod layout;
pub mod limits;
pub mod refinement;
mod sections;
pub mod side_info;
pub mod split;
pub mod token_range;
pub mod traffic;
pub mod version;

pub use bits::{Code, PackError, Unpack, UnpackError, pack, packed_len, unpack, unpack_into};
pub use control::{
    Control, DeviceId, EmbeddingRequest, Encoding, FinishReason, Finished, GenerationParams,
    GenerationRequest, GenerationResponse, GenerationStats, Halo, Hello, HelloPrefix, ImageRequest,
    InferenceResponse, MAX_ID, MAX_STOP_STRINGS, Member, MemberResult, MemberStats, Offer,
    ProbeFrame, Prompt, Reason, RequestOptions, Resume, SamplingParams, Start, StartText, pack_ids,
    unpack_ids,
};
pub use error::{
    ControlError, EmitError, FrameError, HeaderError, LayoutError, MismatchError, PositionError,
};
pub use flags::Flags;
pub use frame::{CodeFrame, FrameCodes, emit, parse};
pub use framer::Framer;
pub use frames::Frames;
pub use header::{CodeHeader, MAX_HEADER};
pub use layout::{Layout, MIN_MEAN_TOKENS};
pub use limits::{
    MAX_BODY, MAX_CODE_BATCH, MAX_FRAME, MAX_MEMBERS, MAX_SHARE, MAX_TOKENS, SECRET, TAG,
};
pub use refinement::Refinement;
pub use side_info::SideInfo;
pub use split::Split;
pub use token_range::RangeError;
pub use traffic::Traffic;
pub use version::{MIN_VERSION, VERSION, VersionError, Versions, negotiate};
