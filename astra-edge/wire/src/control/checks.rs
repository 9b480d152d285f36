//! Checks that several messages share.

use crate::error::ControlError;
use crate::limits::MAX_MEMBERS;

pub(super) fn check_member(found: u8) -> Result<(), ControlError> {
    if usize::from(found) < MAX_MEMBERS {
        return Ok(());
    }
    Err(ControlError::Member {
        found,
        max: MAX_MEMBERS,
    })
}

pub(super) fn check_floats(field: &'static str, bytes: &[u8]) -> Result<(), ControlError> {
    if bytes.len().is_multiple_of(4) {
        return Ok(());
    }
    Err(ControlError::Floats {
        field,
        found: bytes.len(),
    })
}
