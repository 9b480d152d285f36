//! Token ids, a varint each: most are small numbers.

use super::ControlError;

/// Most bytes of one id.
pub const MAX_ID: usize = 5;

/// Writes ids to the front of `out`, one varint after another, and returns how many bytes they take; `None` if there is no
/// room.
#[must_use]
pub fn pack_ids(ids: &[u32], out: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    for &id in ids {
        let mut rest = id;
        loop {
            let place = out.get_mut(at)?;
            at += 1;
            // The seven bits are what is left of the cast.
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                *place = low;
                break;
            }
            *place = low | 0x80;
        }
    }
    Some(at)
}

/// Reads ids one after another; a varint that ends nowhere ends them.
pub fn unpack_ids(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (id, length) = first(rest)?;
        rest = rest.get(length..)?;
        Some(id)
    })
}

/// The first id and the bytes it takes; `None` of what is no shortest varint of 32 bits.
fn first(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut id = 0_u64;
    for (index, &byte) in bytes.iter().take(MAX_ID).enumerate() {
        id |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || index == 0;
            let id = u32::try_from(id).ok()?;
            return shortest.then_some((id, index + 1));
        }
    }
    None
}

/// Checks that bytes are ids, at least one.
pub(super) fn check_ids(bytes: &[u8]) -> Result<(), ControlError> {
    if bytes.is_empty() {
        return Err(ControlError::NoInput);
    }
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (_, length) = first(rest).ok_or(ControlError::Id { at })?;
        at += length;
    }
    Ok(())
}
