//! Sizes and counts that sender and receiver agree on.

/// Most bytes of one code frame on the network, its authentication tag included: one datagram.
pub const MAX_FRAME: usize = 1200;

/// Most bytes of code frames that are sent in one message. Up to here what a message costs sender and receiver hardly depends
/// on its length; above, the cost of one more message is small beside that of the bytes.
pub const MAX_CODE_BATCH: usize = 16 << 10;

/// Bytes kept free after every code frame for an authentication tag.
pub const TAG: usize = 16;

/// Most bytes of one code frame as this crate emits and parses it, before the tag is added.
pub const MAX_BODY: usize = MAX_FRAME - TAG;

/// Bytes of the secret that ends a request: random, so that it cannot be guessed.
pub const SECRET: usize = 16;

/// Most members of one request.
pub const MAX_MEMBERS: usize = 16;

/// Positions a token can have: token indexes are 0 to 65,535.
pub const MAX_TOKENS: u32 = 1 << 16;

// Products of two u16 values (tokens and codes per token) are computed in usize.
const _: () = assert!(usize::BITS >= 32);
// `Control::ProbeReply` names members in a 16-bit mask.
const _: () = assert!(MAX_MEMBERS <= u16::BITS as usize);

/// The largest share of refined tokens: a quarter. A token that is alone in its frame is then never refined.
pub const MAX_SHARE: u8 = 64;
