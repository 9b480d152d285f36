//! The header of a code frame.

use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};

use crate::error::{EmitError, FrameError, HeaderError};
use crate::flags::Flags;
use crate::limits::MAX_MEMBERS;
use crate::token_range::check_range;
use crate::version::Versions;

/// Set in the second byte of every code frame and clear in that of every control message; the lower seven
/// bits are the flags.
pub(crate) const CODE_MARK: u8 = 0x80;

/// Bytes of the longest header.
pub const MAX_HEADER: usize = {
    const BYTE: usize = 1;
    // postcard's varints carry 7 bits a byte.
    const VARINT_U16: usize = 3;
    const VARINT_U32: usize = 5;
    let version_and_flags = 2 * BYTE;
    let request_and_epoch = VARINT_U32 + VARINT_U16;
    let block_and_sender = 2 * BYTE;
    let token_range = 2 * VARINT_U16;
    let part_and_rung = BYTE + VARINT_U16;
    version_and_flags + request_and_epoch + block_and_sender + token_range + part_and_rung
};

// What a frame may cost beyond its codes.
const _: () = assert!(MAX_HEADER <= 24);

/// Which codes a frame carries, who sends them, and the request they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeHeader {
    /// Version the frame is written in: that of the plan's [`Offer`](crate::Offer).
    pub version: u8,
    /// Request the codes belong to.
    pub request: u32,
    /// Epoch of the plan, which distinguishes frames of an earlier one.
    pub epoch: u16,
    /// Block the codes are the input of.
    pub block: u8,
    /// Member that sends them, below [`MAX_MEMBERS`].
    pub sender: u8,
    /// First token in the frame.
    pub first_token: u16,
    /// Tokens in the frame, at least 1.
    pub tokens: u16,
    /// Part of the token, where a token does not fit a frame; else 0. A part other than 0 has one token.
    pub part: u8,
    /// Name of the rung the codes are of, 0 in exact mode.
    pub rung: u16,
    /// How the codes are to be read.
    pub flags: Flags,
}

/// The header in the order of its bytes.
#[derive(Serialize, Deserialize)]
struct Fields {
    version: u8,
    mark_and_flags: u8,
    request: u32,
    epoch: u16,
    block: u8,
    sender: u8,
    first_token: u16,
    tokens: u16,
    part: u8,
    rung: u16,
}

impl CodeHeader {
    /// Checks the values against each other and their bounds; the version is not among them.
    ///
    /// # Errors
    ///
    /// [`HeaderError`].
    pub fn check(&self) -> Result<(), HeaderError> {
        if usize::from(self.sender) >= MAX_MEMBERS {
            return Err(HeaderError::Sender { found: self.sender });
        }
        check_range(self.first_token, self.tokens)?;
        if self.part > 0 && self.tokens != 1 {
            return Err(HeaderError::Part {
                part: self.part,
                tokens: self.tokens,
            });
        }
        Ok(())
    }

    /// As [`check`](Self::check), for a frame that is to be written.
    pub(crate) fn check_to_write(&self) -> Result<(), EmitError> {
        check_version_to_write(self.version)?;
        Ok(self.check()?)
    }

    /// Bytes the header takes on the wire, at most [`MAX_HEADER`].
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // Counting cannot fail; the bound would be the safe answer.
        postcard::serialize_with_flavor(&self.fields(), Size::default()).unwrap_or(MAX_HEADER)
    }

    fn fields(&self) -> Fields {
        Fields {
            version: self.version,
            mark_and_flags: CODE_MARK | self.flags.bits(),
            request: self.request,
            epoch: self.epoch,
            block: self.block,
            sender: self.sender,
            first_token: self.first_token,
            tokens: self.tokens,
            part: self.part,
            rung: self.rung,
        }
    }

    /// Writes the header to the front of `out` and returns its length, or `None` where it does not fit.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8]) -> Option<usize> {
        postcard::to_slice(&self.fields(), out)
            .ok()
            .map(|written| written.len())
    }

    /// Reads a header and returns it with the bytes after it.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (&[version, mark], _) = bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
        check_received_version(version)?;
        if mark & CODE_MARK == 0 {
            return Err(FrameError::Kind { found: mark });
        }
        let flags = Flags::from_bits(mark & !CODE_MARK).ok_or(FrameError::Flags {
            found: mark & !CODE_MARK,
        })?;
        let (fields, rest) = postcard::take_from_bytes::<Fields>(bytes)?;
        let header = Self {
            version,
            request: fields.request,
            epoch: fields.epoch,
            block: fields.block,
            sender: fields.sender,
            first_token: fields.first_token,
            tokens: fields.tokens,
            part: fields.part,
            rung: fields.rung,
            flags,
        };
        // A varint that could have been shorter.
        if header.encoded_len() != bytes.len() - rest.len() {
            return Err(FrameError::NotShortest);
        }
        header.check()?;
        Ok((header, rest))
    }
}

/// Checks the first byte of a received frame or message.
#[inline]
pub(crate) fn check_received_version(found: u8) -> Result<(), FrameError> {
    let Versions { min, max } = Versions::OURS;
    if Versions::OURS.contains(found) {
        Ok(())
    } else {
        Err(FrameError::Version { found, min, max })
    }
}

/// Checks the version of a frame or message that is to be written.
#[inline]
pub(crate) fn check_version_to_write(found: u8) -> Result<(), EmitError> {
    let Versions { min, max } = Versions::OURS;
    if Versions::OURS.contains(found) {
        Ok(())
    } else {
        Err(EmitError::Version { found, min, max })
    }
}
