//! Any bytes as a control message: no panic, and what is accepted has one encoding.
#![no_main]

use astra_wire::{Control, greeting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Control::parse(bytes) else {
        // The part of a hello that all versions share is read without the rest.
        let _ = greeting(bytes);
        return;
    };
    if let Control::Hello(hello) = &message {
        let greeting = greeting(bytes).expect("a hello begins with a greeting");
        assert_eq!(
            (greeting.versions, greeting.device),
            (hello.versions(), hello.device)
        );
    }
    let mut again = vec![0; bytes.len()];
    assert_eq!(message.emit(&mut again), Ok(bytes.len()));
    assert_eq!(again, bytes);
});
