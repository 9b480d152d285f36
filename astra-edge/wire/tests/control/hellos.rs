//! Hellos, and the version that two devices share.

use astra_wire::*;

use super::common::{device, hello};
use super::refused;

#[test]
fn a_hello_of_another_version_still_names_its_device() {
    let mut hello = hello();
    hello.max_version = 9;
    hello.min_version = 7;
    let mut buffer = [0; MAX_FRAME];
    let length = Control::Hello(hello).emit(VERSION, &mut buffer).unwrap();
    buffer[0] = 9;
    assert_eq!(
        Control::parse(&buffer[..length]),
        Err(FrameError::Version {
            found: 9,
            min: MIN_VERSION,
            max: VERSION
        })
    );
    // Whatever version 9 has after the prefix.
    let prefix = HelloPrefix::parse(&buffer[..20]).unwrap();
    assert_eq!(prefix.device, device(0x10));
    assert_eq!(
        negotiate(Versions::OURS, prefix.versions),
        Err(VersionError::PeerTooNew {
            oldest: 7,
            ours: VERSION
        })
    );
}

#[test]
fn the_prefix_of_a_hello_is_its_first_bytes() {
    let mut buffer = [0; MAX_FRAME];
    let hello = hello();
    let prefix = HelloPrefix {
        versions: hello.versions(),
        device: hello.device,
    };
    Control::Hello(hello).emit(VERSION, &mut buffer).unwrap();
    assert_eq!(prefix.to_bytes(), buffer[..HelloPrefix::LENGTH]);
    assert_eq!(HelloPrefix::parse(&prefix.to_bytes()), Ok(prefix));
    // Of versions that this crate neither reads nor writes.
    let versions = Versions { min: 7, max: 9 };
    let bytes = HelloPrefix { versions, ..prefix }.to_bytes();
    assert_eq!(bytes[..4], [9, 0, 7, 9]);
    assert_eq!(HelloPrefix::parse(&bytes).unwrap().versions, versions);
    for end in 0..HelloPrefix::LENGTH {
        assert_eq!(
            HelloPrefix::parse(&bytes[..end]),
            Err(FrameError::Truncated)
        );
    }
}

#[test]
fn a_message_is_written_in_a_version_of_this_crate_only() {
    let mut buffer = [0; 8];
    let message = Control::Ack {
        plan: 1,
        request: 2,
    };
    for version in MIN_VERSION..=VERSION {
        let length = message.emit(version, &mut buffer).unwrap();
        assert_eq!(buffer[..length], [version, 23, 1, 2]);
    }
    for found in [0, MIN_VERSION - 1, VERSION + 1, u8::MAX] {
        assert_eq!(
            message.emit(found, &mut buffer),
            Err(EmitError::Version {
                found,
                min: MIN_VERSION,
                max: VERSION
            })
        );
    }
}

#[test]
fn a_range_of_versions_is_read_as_it_is_written() {
    for versions in [
        Versions::OURS,
        Versions::UNSTATED,
        Versions { min: 2, max: 255 },
    ] {
        assert_eq!(Versions::from_text(&versions.to_string()), Some(versions));
    }
    for text in [
        "", "2", "-", "2-", "-2", "0-2", "3-2", "2-256", "2-3-4", "a-b",
    ] {
        assert_eq!(Versions::from_text(text), None, "{text:?}");
    }
}

#[test]
fn a_hello_without_versions_is_refused() {
    for (min, max) in [(0, 1), (2, 1)] {
        let hello = Hello {
            min_version: min,
            max_version: max,
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
