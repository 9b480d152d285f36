//! Any bytes as a control message: no panic, and what is accepted has one encoding.
#![no_main]

use astra_wire::{Control, HelloPrefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Control::parse(bytes) else {
        // The prefix of a hello is read without the rest.
        let _ = HelloPrefix::parse(bytes);
        return;
    };
    if let Control::Hello(hello) = &message {
        let prefix = HelloPrefix::parse(bytes).expect("a hello begins with its prefix");
        assert_eq!(
            (prefix.versions, prefix.device),
            (hello.versions(), hello.device)
        );
    }
    let mut again = vec![0; bytes.len()];
    assert_eq!(message.emit(bytes[0], &mut again), Ok(bytes.len()));
    assert_eq!(again, bytes);
});
