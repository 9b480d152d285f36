//! Control messages as bytes.

use astra_wire::{Control, EmitError};

/// A control message as it is sent.
///
/// # Errors
/// The message contradicts itself.
pub fn encode(message: &Control<'_>) -> Result<Vec<u8>, EmitError> {
    message.check()?;
    let mut bytes = vec![0; message.encoded_len()];
    message.emit(astra_wire::VERSION, &mut bytes)?;
    Ok(bytes)
}
