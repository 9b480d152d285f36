//! Codes packed into bytes, and back.
//!
//! # Bit order
//!
//! Codes follow each other without gaps, least significant bit first: bit `i` of code `n` is bit
//! `(n * bits + i) % 8` of byte `(n * bits + i) / 8`. The unused high bits of the last byte are zero, and a
//! packing where they are not is refused. At 8, 16 and 32 bits this is plain little-endian bytes.
//!
//! ```text
//! three codes of 5 bits, a b c      byte 0            byte 1
//!                                   7 6 5 4 3 2 1 0   7 6 5 4 3 2 1 0
//!                                   b b b a a a a a   0 c c c c c b b
//! ```

use core::mem;

use thiserror::Error;

/// Bits of an exact value: the pattern of one `f32`.
pub const EXACT_BITS: u8 = 32;

/// A type whose values travel as codes: `u8`, `u16`, `u32`, and `f32` for exact mode.
pub trait Code: Copy + sealed::Sealed {
    /// Widest code, in bits, a value of this type can hold.
    const BITS: u8;
    /// Whether values only make sense as whole 32-bit patterns.
    const EXACT: bool;
    /// The value as a code.
    fn to_code(self) -> u32;
    /// The value of a code of at most [`Self::BITS`] bits; higher bits are dropped.
    fn from_code(code: u32) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
    impl Sealed for f32 {}
}

macro_rules! integer_code {
    ($($t:ty),*) => {$(
        impl Code for $t {
            const BITS: u8 = <$t>::BITS as u8;
            const EXACT: bool = false;
            #[inline]
            fn to_code(self) -> u32 {
                u32::from(self)
            }
            #[inline]
            fn from_code(code: u32) -> Self {
                code as $t
            }
        }
    )*};
}
integer_code!(u8, u16, u32);

impl Code for f32 {
    const BITS: u8 = EXACT_BITS;
    const EXACT: bool = true;
    #[inline]
    fn to_code(self) -> u32 {
        self.to_bits()
    }
    #[inline]
    fn from_code(code: u32) -> Self {
        Self::from_bits(code)
    }
}

/// Why codes could not be packed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackError {
    /// Codes have 1 to 16 bits, or 32; `f32` values have 32.
    #[error("width of codes: found {found} bits, expected 1 to 16, or 32 (f32 values: 32)")]
    Width {
        /// Bits requested.
        found: u8,
    },
    /// The output buffer is too short.
    #[error("buffer: found {found} bytes, expected {needed}")]
    Room {
        /// Bytes in the buffer.
        found: usize,
        /// Bytes the codes take.
        needed: usize,
    },
    /// A code does not fit its bits.
    #[error("code {index}: found {found}, expected it to fit {bits} bits")]
    CodeTooLarge {
        /// Place of the first such code.
        index: usize,
        /// Its value.
        found: u32,
        /// Bits of a code.
        bits: u8,
    },
}

/// Why bytes could not be unpacked into codes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnpackError {
    /// Codes have 1 to 16 bits, or 32.
    #[error("width of codes: found {found} bits, expected 1 to 16, or 32")]
    Width {
        /// Bits requested.
        found: u8,
    },
    /// The requested type cannot hold such codes (`f32` holds codes of 32 bits and no other).
    #[error("width of codes: found {found} bits, expected at most {holds}, those of the type")]
    Type {
        /// Bits of a code.
        found: u8,
        /// Bits of the type.
        holds: u8,
    },
    /// The bytes are not the length these codes take.
    #[error("codes: found {found} bytes, expected {expected}")]
    Length {
        /// Bytes given.
        found: usize,
        /// Bytes that this number of codes takes.
        expected: usize,
    },
    /// The unused bits of the last byte are not zero.
    #[error("padding of the last byte: found {found:#04x}, expected zero")]
    Padding {
        /// The padding, moved down to bit 0.
        found: u8,
    },
}

/// Whether codes may have this many bits: 1 to 16, or 32.
#[must_use]
pub const fn is_width(bits: u8) -> bool {
    matches!(bits, 1..=16 | EXACT_BITS)
}

/// Bytes that `count` codes of `bits` bits take; `usize::MAX` where that number would not fit.
#[must_use]
pub const fn packed_len(count: usize, bits: u8) -> usize {
    let eights = (count / 8).saturating_mul(bits as usize);
    let rest = ((count % 8) * bits as usize).div_ceil(8);
    eights.saturating_add(rest)
}

/// Packs `codes` into the front of `out` and returns the bytes written.
///
/// # Errors
///
/// [`PackError`]. After [`PackError::CodeTooLarge`] the front of `out` is unspecified.
pub fn pack<C: Code>(codes: &[C], bits: u8, out: &mut [u8]) -> Result<usize, PackError> {
    if !is_width(bits) || (C::EXACT && bits != EXACT_BITS) {
        return Err(PackError::Width { found: bits });
    }
    let needed = packed_len(codes.len(), bits);
    let found = out.len();
    let out = out
        .get_mut(..needed)
        .ok_or(PackError::Room { found, needed })?;
    let all = match bits {
        8 => pack_8(codes, out),
        16 => pack_16(codes, out),
        EXACT_BITS => pack_32(codes, out),
        _ => pack_any(codes, u32::from(bits), out),
    };
    if all <= mask(bits) {
        return Ok(needed);
    }
    Err(too_large(codes, bits))
}

/// Iterates over the `count` codes packed in `bytes`.
///
/// # Errors
///
/// [`UnpackError::Width`], [`UnpackError::Length`] unless `bytes` has exactly [`packed_len`] bytes, and
/// [`UnpackError::Padding`].
pub fn unpack(bytes: &[u8], bits: u8, count: usize) -> Result<Unpack<'_>, UnpackError> {
    check(bytes, bits, count)?;
    Ok(Unpack::new(bytes, bits, count))
}

/// Unpacks `out.len()` codes from `bytes`: the fastest way into a slot that is already there.
///
/// # Errors
///
/// As [`unpack`], and [`UnpackError::Type`]. `out` is untouched on error.
pub fn unpack_into<C: Code>(bytes: &[u8], bits: u8, out: &mut [C]) -> Result<(), UnpackError> {
    check(bytes, bits, out.len())?;
    if bits > C::BITS || (C::EXACT && bits != EXACT_BITS) {
        return Err(UnpackError::Type {
            found: bits,
            holds: C::BITS,
        });
    }
    match bits {
        8 => unpack_8(bytes, out),
        16 => unpack_16(bytes, out),
        EXACT_BITS => unpack_32(bytes, out),
        _ => {
            let codes = Unpack::new(bytes, bits, out.len());
            for (slot, code) in out.iter_mut().zip(codes) {
                *slot = C::from_code(code);
            }
        }
    }
    Ok(())
}

/// The codes of one packing, from [`unpack`]. [`unpack_into`] is faster where there is a slot to fill.
#[derive(Clone, Debug)]
pub struct Unpack<'a> {
    bytes: &'a [u8],
    /// Bits read from `bytes` and not yet handed out, lowest first.
    register: u64,
    held: u32,
    bits: u32,
    mask: u32,
    left: usize,
}

impl<'a> Unpack<'a> {
    /// `bytes` has passed [`check`].
    fn new(bytes: &'a [u8], bits: u8, count: usize) -> Self {
        Self {
            bytes,
            register: 0,
            held: 0,
            bits: u32::from(bits),
            mask: mask(bits),
            left: count,
        }
    }

    /// Takes four bytes while there are four, then the rest at once. At most 31 bits are held before, so
    /// at most 63 after.
    #[inline]
    fn refill(&mut self) {
        if let Some((word, rest)) = self.bytes.split_first_chunk::<4>() {
            self.register |= u64::from(u32::from_le_bytes(*word)) << self.held;
            self.held += 32;
            self.bytes = rest;
            return;
        }
        for &byte in mem::take(&mut self.bytes) {
            self.register |= u64::from(byte) << self.held;
            self.held += 8;
        }
    }
}

impl Iterator for Unpack<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        if self.held < self.bits {
            self.refill();
        }
        let code = self.register as u32 & self.mask;
        self.register >>= self.bits;
        // The length was checked against the count, so the bits are there.
        self.held = self.held.wrapping_sub(self.bits);
        Some(code)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Unpack<'_> {}
impl core::iter::FusedIterator for Unpack<'_> {}

/// The largest code of `bits` bits; `bits` is a width, 1 to 32.
const fn mask(bits: u8) -> u32 {
    u32::MAX >> (32 - bits as u32)
}

fn check(bytes: &[u8], bits: u8, count: usize) -> Result<(), UnpackError> {
    if !is_width(bits) {
        return Err(UnpackError::Width { found: bits });
    }
    let expected = packed_len(count, bits);
    if bytes.len() != expected {
        return Err(UnpackError::Length {
            found: bytes.len(),
            expected,
        });
    }
    let used = (count % 8) * usize::from(bits) % 8;
    match bytes.last() {
        Some(&last) if used > 0 && last >> used != 0 => Err(UnpackError::Padding {
            found: last >> used,
        }),
        _ => Ok(()),
    }
}

// The packers return the bitwise or of all codes: one comparison at the end finds any that was too large.

fn pack_8<C: Code>(codes: &[C], out: &mut [u8]) -> u32 {
    out.iter_mut().zip(codes).fold(0, |all, (slot, code)| {
        let code = code.to_code();
        *slot = code as u8;
        all | code
    })
}

fn pack_16<C: Code>(codes: &[C], out: &mut [u8]) -> u32 {
    let (slots, _) = out.as_chunks_mut::<2>();
    slots.iter_mut().zip(codes).fold(0, |all, (slot, code)| {
        let code = code.to_code();
        *slot = (code as u16).to_le_bytes();
        all | code
    })
}

fn pack_32<C: Code>(codes: &[C], out: &mut [u8]) -> u32 {
    let (slots, _) = out.as_chunks_mut::<4>();
    slots.iter_mut().zip(codes).fold(0, |all, (slot, code)| {
        let code = code.to_code();
        *slot = code.to_le_bytes();
        all | code
    })
}

fn pack_any<C: Code>(codes: &[C], bits: u32, out: &mut [u8]) -> u32 {
    let mut rest = out;
    let mut register = 0_u64;
    let mut held = 0;
    let mut all = 0;
    for code in codes {
        let code = code.to_code();
        all |= code;
        // Fewer than 32 bits are held here, so 32 more fit the register.
        register |= u64::from(code) << held;
        held += bits;
        if held >= 32 {
            // Four bytes are free: `out` has room for every bit, and 32 of them are still to be written.
            if let Some((word, tail)) = mem::take(&mut rest).split_first_chunk_mut::<4>() {
                *word = (register as u32).to_le_bytes();
                rest = tail;
            }
            register >>= 32;
            held -= 32;
        }
    }
    for (slot, byte) in rest.iter_mut().zip(register.to_le_bytes()) {
        *slot = byte;
    }
    all
}

// The bytes were checked to be as many as the codes take.

fn unpack_8<C: Code>(bytes: &[u8], out: &mut [C]) {
    for (slot, &byte) in out.iter_mut().zip(bytes) {
        *slot = C::from_code(u32::from(byte));
    }
}

fn unpack_16<C: Code>(bytes: &[u8], out: &mut [C]) {
    let (pairs, _) = bytes.as_chunks::<2>();
    for (slot, pair) in out.iter_mut().zip(pairs) {
        *slot = C::from_code(u32::from(u16::from_le_bytes(*pair)));
    }
}

fn unpack_32<C: Code>(bytes: &[u8], out: &mut [C]) {
    let (words, _) = bytes.as_chunks::<4>();
    for (slot, word) in out.iter_mut().zip(words) {
        *slot = C::from_code(u32::from_le_bytes(*word));
    }
}

/// Finds the code that [`pack`] saw to be too large.
#[cold]
fn too_large<C: Code>(codes: &[C], bits: u8) -> PackError {
    let (index, found) = codes
        .iter()
        .map(|code| code.to_code())
        .enumerate()
        .find(|&(_, code)| code > mask(bits))
        .unwrap_or_default();
    PackError::CodeTooLarge { index, found, bits }
}
