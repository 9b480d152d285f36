//! Another device's hello: whether it can be read, and whether the device can work with this one.

use std::fmt;

use astra_bundle::Sha256Digest;
use astra_wire::{
    Control, DeviceId, FrameError, Hello, HelloPrefix, VersionError, Versions, negotiate,
};

/// What every device of a cluster must share with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Fingerprint of the cluster key.
    pub key: [u8; 8],
    /// Hash of the bundle.
    pub bundle: [u8; 32],
}

/// Why a device is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// Its hello has not arrived yet.
    Unheard,
    /// It has another cluster key.
    OtherKey,
    /// It has another bundle.
    OtherBundle {
        /// Hash of its bundle.
        found: [u8; 32],
        /// Hash of ours.
        expected: [u8; 32],
    },
    /// It speaks no wire version that we do.
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
            Self::Unheard => f.write_str("its hello has not arrived yet"),
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

/// Reads the hello of `device`.
///
/// # Errors
/// There is no common wire version, or the bytes are not a hello of that device.
pub fn read(bytes: &[u8], device: DeviceId) -> Result<Hello, Rejection> {
    let unreadable = |error: &dyn fmt::Display| Rejection::Unreadable(error.to_string());
    let prefix = HelloPrefix::parse(bytes).map_err(|error| unreadable(&error))?;
    negotiate(Versions::OURS, prefix.versions).map_err(Rejection::Version)?;
    let hello = match Control::parse(bytes) {
        Ok(Control::Hello(hello)) => hello,
        Ok(_) => return Err(unreadable(&"another message")),
        Err(error @ FrameError::Version { .. }) => return Err(unreadable(&error)),
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
    use crate::cluster::membership::identity::shorten;

    pub(crate) const OURS: Requirements = Requirements {
        key: [7; 8],
        bundle: [9; 32],
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
        assert_eq!(read(&bytes(&hello), device(1)), Ok(hello.clone()));
        assert_eq!(judge(&hello, &OURS), Ok(()));
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
        // Written in version 0, which nobody speaks, and claiming to speak no other.
        older[0] = 0;
        older[2] = 0;
        older[3] = 0;
        assert!(matches!(
            read(&older, device(1)),
            Err(Rejection::Version(_))
        ));
        let mut newer = bytes(&hello(1, 0));
        newer[0] = astra_wire::VERSION + 1;
        newer[2] = astra_wire::VERSION + 1;
        newer[3] = astra_wire::VERSION + 4;
        let why = read(&newer, device(1)).unwrap_err();
        assert!(why.to_string().contains("update this device"), "{why}");
    }

    #[test]
    fn broken_hellos_are_refused() {
        let whole = bytes(&hello(1, 1000));
        for end in 0..whole.len() {
            assert!(read(&whole[..end], device(1)).is_err(), "{end} bytes");
        }
        let why = read(&whole, device(2)).unwrap_err();
        assert!(matches!(why, Rejection::Unreadable(_)), "{why}");
        let leave = Control::Leave { device: device(1) };
        let mut bytes = vec![0; leave.encoded_len()];
        leave.emit(astra_wire::VERSION, &mut bytes).unwrap();
        assert!(matches!(
            read(&bytes, device(1)),
            Err(Rejection::Unreadable(_))
        ));
    }
}
