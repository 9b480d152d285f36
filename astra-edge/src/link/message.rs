//! Control messages as bytes.

use astra_wire::{Control, EmitError};

/// A control message as it is sent, in a version of the wire.
///
/// # Errors
/// The message contradicts itself, or the version is not one that is written.
pub fn encode(version: u8, message: &Control<'_>) -> Result<Vec<u8>, EmitError> {
    message.check()?;
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(version, &mut bytes)?;
    Ok(bytes)
}
