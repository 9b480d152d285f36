//! Token ids, a varint each: most are small numbers.

use crate::error::ControlError;

/// Most bytes of one id.
pub const MAX_ID: usize = 5;

/// Writes ids to the front of `out`, one varint after another, and returns their bytes; `None` where they do not fit.
#[must_use]
pub fn pack_ids(ids: &[u32], out: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    for id in ids {
        length += postcard::to_slice(id, out.get_mut(length..)?).ok()?.len();
    }
    Some(length)
}

/// Reads ids one after another, up to the first that is not a shortest varint of 32 bits.
pub fn unpack_ids(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (id, length) = first_id(rest)?;
        rest = rest.get(length..)?;
        Some(id)
    })
}

/// The first id and its bytes; `None` if it is not a shortest varint of 32 bits.
fn first_id(bytes: &[u8]) -> Option<(u32, usize)> {
    let (id, rest) = postcard::take_from_bytes(bytes).ok()?;
    let length = bytes.len() - rest.len();
    // Only a varint that could be shorter ends in a zero byte, but for the one byte of id 0.
    let shortest = length == 1 || bytes.get(length - 1) != Some(&0);
    shortest.then_some((id, length))
}

/// Checks that bytes are ids, at least one.
pub(super) fn check_ids(bytes: &[u8]) -> Result<(), ControlError> {
    if bytes.is_empty() {
        return Err(ControlError::NoInput);
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (_, length) = first_id(rest).ok_or(ControlError::Id { at })?;
        at += length;
    }
    Ok(())
}
