//! Messages that contradict themselves are neither sent nor accepted, and devices find the newest version that both read.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

#[path = "../common/mod.rs"]
mod common;
mod hellos;
mod offers;
mod shares;
mod sizes;
mod texts;

use astra_wire::*;

/// Neither sent nor accepted: both ends call the same check.
fn refused(message: &Control) -> ControlError {
    let error = message.check().unwrap_err();
    let mut buffer = [0; 2048];
    assert_eq!(
        message.emit(VERSION, &mut buffer),
        Err(EmitError::Control(error))
    );
    error
}
