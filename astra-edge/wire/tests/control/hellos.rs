//! Hellos, and the version that two devices share.

use astra_wire::*;

use super::common::{device, hello};
use super::refused;

#[test]
fn a_hello_of_another_version_still_greets() {
    let mut hello = hello();
    hello.version = 9;
    hello.min_version = 7;
    let mut buffer = [0; MAX_FRAME];
    let length = Control::Hello(hello).emit(&mut buffer).unwrap();
    buffer[0] = 9;
    assert_eq!(
        Control::parse(&buffer[..length]),
        Err(FrameError::Version {
            found: 9,
            min: MIN_VERSION,
            max: VERSION
        })
    );
    // Whatever version 9 has behind the part that never changes.
    let greeting = greeting(&buffer[..20]).unwrap();
    assert_eq!(greeting.device, device(0x10));
    assert_eq!(
        negotiate(Versions::OURS, greeting.versions),
        Err(VersionError::PeerTooNew {
            oldest: 7,
            ours: VERSION
        })
    );
}

#[test]
fn a_hello_without_versions_is_refused() {
    for (min, max) in [(0, 1), (2, 1)] {
        let hello = Hello {
            min_version: min,
            version: max,
            ..hello()
        };
        assert_eq!(
            refused(&Control::Hello(hello)),
            ControlError::Versions { min, max }
        );
    }
}

#[test]
fn devices_agree_on_the_newest_version_both_speak() {
    let range = |min, max| Versions { min, max };
    for mine in 1..6_u8 {
        for (my_min, min, max) in
            (1..=mine).flat_map(|a| (1..6).flat_map(move |b| (b..6).map(move |c| (a, b, c))))
        {
            let (ours, theirs) = (range(my_min, mine), range(min, max));
            let common = (1..6)
                .rev()
                .find(|&v| ours.contains(v) && theirs.contains(v));
            assert_eq!(negotiate(ours, theirs).ok(), common);
            assert_eq!(negotiate(theirs, ours).ok(), common);
        }
    }
    assert_eq!(
        negotiate(range(3, 5), range(1, 2)),
        Err(VersionError::PeerTooOld {
            newest: 2,
            needed: 3
        })
    );
    assert_eq!(
        negotiate(range(1, 2), range(3, 5)),
        Err(VersionError::PeerTooNew { oldest: 3, ours: 2 })
    );
    for (min, max) in [(0, 3), (4, 3)] {
        let none = Err(VersionError::NoRange { min, max });
        assert_eq!(negotiate(range(1, 5), range(min, max)), none);
        assert_eq!(negotiate(range(min, max), range(1, 5)), none);
    }
}

#[test]
fn a_device_is_shown_as_hexadecimal_digits() {
    assert_eq!(device(0x08).to_string(), "08090a0b0c0d0e0f1011121314151617");
}
