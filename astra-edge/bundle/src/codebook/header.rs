//! The header of `codebooks.bin`.

use crate::error::Invalid;
use crate::layout::ALIGN;

const MAGIC: &[u8; 8] = b"ASTRACB2";
const VERSION: u32 = 2;
/// Bytes before the first block.
const HEADER_BYTES: usize = ALIGN as usize;

/// The 64 bytes that every `codebooks.bin` starts with.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let fields = MAGIC.iter().copied().chain(VERSION.to_le_bytes());
    for (byte, value) in bytes.iter_mut().zip(fields) {
        *byte = value;
    }
    bytes
}

/// Checks the first 64 bytes of `codebooks.bin`.
pub(crate) fn check_header(file: &[u8]) -> Result<(), Invalid> {
    let found = file.get(..HEADER_BYTES).unwrap_or(file);
    if found == header() {
        return Ok(());
    }
    let found = found.get(..12).unwrap_or(found).escape_ascii();
    let expected = MAGIC.iter().copied().chain(VERSION.to_le_bytes());
    let expected: Vec<u8> = expected.collect();
    Err(Invalid::new(
        "header",
        format!("\"{found}\""),
        format!(
            "\"{}\" and zeros up to byte {HEADER_BYTES}",
            expected.escape_ascii()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_fixed() {
        let good = header();
        assert_eq!(&good[..12], b"ASTRACB2\x02\0\0\0");
        assert_eq!(check_header(&good), Ok(()));
        for i in 0..good.len() {
            let mut bad = good;
            bad[i] ^= 1;
            assert!(check_header(&bad).is_err(), "byte {i}");
            assert!(check_header(&good[..i]).is_err(), "{i} bytes");
        }
    }
}
