//! Another device's hello: whether it can be read, and whether the device can work with this one.

use std::fmt;

use astra_bundle::Sha256Digest;
use astra_wire::{Control, DeviceId, Hello, HelloPrefix, VersionError, Versions, negotiate};

use crate::cluster::membership::identity::{printable, shorten};
use crate::link::encode;

/// What every device of a cluster must share with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Fingerprint of the cluster key.
    pub key: [u8; 8],
    /// Hash of the bundle.
    pub bundle: [u8; 32],
    /// Wire versions of which it must read one.
    pub versions: Versions,
}

/// Why a device is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// Its hello has not arrived yet.
    NoHello,
    /// It has another cluster key.
    OtherKey,
    /// It has another bundle.
    OtherBundle {
        /// Hash of its bundle.
        found: [u8; 32],
        /// Hash of ours.
        expected: [u8; 32],
    },
    /// It reads no wire version that this device reads.
    Version(VersionError),
    /// Its hello cannot be decoded.
    Unreadable(String),
    /// It did not reply in time.
    Unreachable(String),
    /// It refused its part in a plan.
    Refused(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHello => f.write_str("its hello has not arrived yet"),
            Self::OtherKey => f.write_str("other cluster key"),
            Self::OtherBundle { found, expected } => write!(
                f,
                "other bundle: found {}, expected {}",
                short_hash(found),
                short_hash(expected)
            ),
            Self::Version(error) => write!(f, "other version: {error}"),
            Self::Unreadable(text) => write!(f, "unreadable hello: {text}"),
            Self::Unreachable(text) => write!(f, "unreachable: {text}"),
            Self::Refused(text) => write!(f, "refused: {text}"),
        }
    }
}

/// The first digits of a bundle's hash, as people compare it.
pub fn short_hash(hash: &[u8; 32]) -> String {
    Sha256Digest(*hash).short()
}

/// The bytes of a hello for a device that reads `theirs`: in the newest version that both devices read, or the first bytes alone,
/// which name device and versions, where there is none.
pub fn reply(hello: &Hello, theirs: Versions) -> Vec<u8> {
    let whole = negotiate(hello.versions(), theirs)
        .ok()
        .and_then(|version| encode(version, &Control::Hello(hello.clone())).ok());
    whole.unwrap_or_else(|| {
        let prefix = HelloPrefix {
            versions: hello.versions(),
            device: hello.device,
        };
        prefix.to_bytes().to_vec()
    })
}

/// Reads the hello of `device`, by a device that reads `versions`.
///
/// # Errors
/// There is no common wire version, or the bytes are not a hello of that device.
pub fn read(bytes: &[u8], device: DeviceId, versions: Versions) -> Result<Hello, Rejection> {
    let unreadable = |error: &dyn fmt::Display| Rejection::Unreadable(error.to_string());
    let prefix = HelloPrefix::parse(bytes).map_err(|error| unreadable(&error))?;
    negotiate(versions, prefix.versions).map_err(Rejection::Version)?;
    let hello = match Control::parse(bytes) {
        Ok(Control::Hello(hello)) => shown(hello),
        Ok(_) => return Err(unreadable(&"another message")),
        Err(error) => return Err(unreadable(&error)),
    };
    if hello.device == device {
        return Ok(hello);
    }
    Err(unreadable(&format_args!(
        "device: found {}, expected {device}",
        hello.device
    )))
}

/// The hello without characters that terminals obey: its texts are printed and logged.
fn shown(hello: Hello) -> Hello {
    let addresses = hello.addresses.iter();
    Hello {
        name: shorten(&printable(&hello.name)),
        software: shorten(&printable(&hello.software)),
        runtime: shorten(&printable(&hello.runtime)),
        model: shorten(&printable(&hello.model)),
        addresses: addresses.map(|text| shorten(&printable(text))).collect(),
        ..hello
    }
}

/// Checks that a device can be a member of this one's requests.
///
/// # Errors
/// The first requirement that it does not meet.
pub fn judge(hello: &Hello, ours: &Requirements) -> Result<(), Rejection> {
    if hello.key != ours.key {
        return Err(Rejection::OtherKey);
    }
    if hello.bundle != ours.bundle {
        return Err(Rejection::OtherBundle {
            found: hello.bundle,
            expected: ours.bundle,
        });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const OURS: Requirements = Requirements {
        key: [7; 8],
        bundle: [9; 32],
        versions: Versions::OURS,
    };

    pub(crate) fn device(number: u8) -> DeviceId {
        DeviceId([number; 16])
    }

    pub(crate) fn hello(number: u8, speed: u32) -> Hello {
        Hello {
            min_version: astra_wire::MIN_VERSION,
            max_version: astra_wire::VERSION,
            device: device(number),
            name: shorten(&format!("device-{number}")),
            software: shorten("astra-edge test"),
            runtime: shorten("onnxruntime"),
            key: OURS.key,
            bundle: OURS.bundle,
            model: shorten("model"),
            speed,
            addresses: heapless::Vec::new(),
        }
    }

    fn bytes(hello: &Hello) -> Vec<u8> {
        let message = Control::Hello(hello.clone());
        let mut bytes = vec![0; message.encoded_len()];
        message.emit(astra_wire::VERSION, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_like_device_is_used() {
        let hello = hello(1, 1000);
        assert_eq!(
            read(&bytes(&hello), device(1), Versions::OURS),
            Ok(hello.clone())
        );
        assert_eq!(judge(&hello, &OURS), Ok(()));
    }

    #[test]
    fn texts_of_a_hello_are_read_without_control_characters() {
        let mut hostile = hello(1, 0);
        hostile.name = shorten("\u{1b}]0;x\u{7}kitchen");
        hostile.addresses = [shorten("10.0.0.1:7447\n")].into_iter().collect();
        let read = read(&bytes(&hostile), device(1), Versions::OURS).unwrap();
        assert_eq!(read.name, "?]0;x?kitchen");
        assert_eq!(read.addresses[0], "10.0.0.1:7447?");
    }

    #[test]
    fn key_and_bundle_must_match() {
        let other = Hello {
            key: [8; 8],
            ..hello(1, 0)
        };
        assert_eq!(judge(&other, &OURS), Err(Rejection::OtherKey));
        let other = Hello {
            bundle: [1; 32],
            ..hello(1, 0)
        };
        let why = judge(&other, &OURS).unwrap_err();
        assert_eq!(
            why.to_string(),
            "other bundle: found 010101010101, expected 090909090909"
        );
    }

    #[test]
    fn a_device_of_another_age_is_named_and_refused() {
        let mut older = bytes(&hello(1, 0));
        // Written in version 0, which no device reads, and claiming to read no other.
        older[0] = 0;
        older[2] = 0;
        older[3] = 0;
        assert!(matches!(
            read(&older, device(1), Versions::OURS),
            Err(Rejection::Version(_))
        ));
        let mut newer = bytes(&hello(1, 0));
        newer[0] = astra_wire::VERSION + 1;
        newer[2] = astra_wire::VERSION + 1;
        newer[3] = astra_wire::VERSION + 4;
        let why = read(&newer, device(1), Versions::OURS).unwrap_err();
        assert!(why.to_string().contains("update this device"), "{why}");
    }

    #[test]
    fn a_hello_is_sent_in_a_version_that_the_asking_device_reads() {
        let hello = hello(1, 1000);
        let ours = hello.versions();
        for theirs in [
            ours,
            Versions {
                min: 1,
                max: ours.max,
            },
            Versions {
                min: ours.min,
                max: ours.max + 5,
            },
        ] {
            assert_eq!(reply(&hello, theirs), bytes(&hello), "{theirs}");
        }
        for theirs in [
            Versions::UNSTATED,
            Versions {
                min: ours.max + 1,
                max: ours.max + 1,
            },
        ] {
            // All that such a device can read: who this is, and which versions it reads.
            let reply = reply(&hello, theirs);
            assert_eq!(reply, bytes(&hello)[..HelloPrefix::LENGTH], "{theirs}");
            let why = read(&reply, device(1), theirs).unwrap_err();
            assert!(matches!(why, Rejection::Version(_)), "{theirs}: {why}");
        }
    }

    #[test]
    fn older_devices_are_read_in_their_version_or_named() {
        // A device of the version after this one, whose newest is one that it has in common with this one.
        let newer = Versions {
            min: astra_wire::VERSION,
            max: astra_wire::VERSION + 1,
        };
        let older = hello(1, 1000);
        assert_eq!(
            read(&reply(&older, newer), device(1), newer),
            Ok(older.clone())
        );
        // And of one that no longer reads it.
        let newest = Versions {
            min: newer.max,
            max: newer.max,
        };
        let why = read(&reply(&older, newest), device(1), newest).unwrap_err();
        assert_eq!(
            why.to_string(),
            "other version: wire version of the peer: found 3 at most, expected 4 or newer: update the peer"
        );
    }

    #[test]
    fn broken_hellos_are_refused() {
        let whole = bytes(&hello(1, 1000));
        for end in 0..whole.len() {
            assert!(
                read(&whole[..end], device(1), Versions::OURS).is_err(),
                "{end} bytes"
            );
        }
        let why = read(&whole, device(2), Versions::OURS).unwrap_err();
        assert!(matches!(why, Rejection::Unreadable(_)), "{why}");
        let leave = Control::Leave { device: device(1) };
        let mut bytes = vec![0; leave.encoded_len()];
        leave.emit(astra_wire::VERSION, &mut bytes).unwrap();
        assert!(matches!(
            read(&bytes, device(1), Versions::OURS),
            Err(Rejection::Unreadable(_))
        ));
    }
}
