//! Identity of a device: its hello.

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::error::{ControlError, FrameError};
use crate::version::Versions;

/// Identifies a device for as long as its process keeps its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 16]);

impl fmt::Display for DeviceId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A device, and the model and key it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest wire version it reads.
    pub min_version: u8,
    /// Newest wire version it reads.
    pub max_version: u8,
    /// The device.
    pub device: DeviceId,
    /// Its name, for people.
    pub name: String<64>,
    /// The program, with its version.
    pub software: String<32>,
    /// The inference runtime, such as "onnxruntime 1.32 cpu".
    pub runtime: String<48>,
    /// Fingerprint of the cluster key.
    pub key: [u8; 8],
    /// Hash of the bundle it has loaded.
    pub bundle: [u8; 32],
    /// Model in the bundle, for people.
    pub model: String<64>,
    /// Microseconds it needs for one whole request without other devices, for a text model one of 128 tokens; 0 while not
    /// measured.
    pub speed: u32,
    /// Where it can be reached, such as "tcp/10.0.0.7:7447".
    pub addresses: Vec<String<64>, 8>,
}

impl Hello {
    /// The versions the device reads and writes.
    #[must_use]
    pub const fn versions(&self) -> Versions {
        Versions {
            min: self.min_version,
            max: self.max_version,
        }
    }

    pub(super) fn check(&self) -> Result<(), ControlError> {
        let Versions { min, max } = self.versions();
        if min == 0 || min > max {
            return Err(ControlError::Versions { min, max });
        }
        Ok(())
    }
}

/// The first bytes of a hello, which are the same in every version there is or will be: all that devices without a common version
/// can read of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloPrefix {
    /// The versions the device reads and writes.
    pub versions: Versions,
    /// The device.
    pub device: DeviceId,
}

impl HelloPrefix {
    /// Bytes of the prefix.
    pub const LENGTH: usize = 20;

    /// Reads the prefix of a hello of any version.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`], and [`FrameError::Kind`] for another message.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let (&[_, kind, min, max], rest) =
            bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
        if kind != 0 {
            return Err(FrameError::Kind { found: kind });
        }
        let device = rest.first_chunk().ok_or(FrameError::Truncated)?;
        Ok(Self {
            versions: Versions { min, max },
            device: DeviceId(*device),
        })
    }

    /// The prefix as a message of its own: the answer to a device that could not read the rest.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let Versions { min, max } = self.versions;
        let mut bytes = [0; Self::LENGTH];
        let values = [max, 0, min, max].into_iter().chain(self.device.0);
        bytes
            .iter_mut()
            .zip(values)
            .for_each(|(byte, value)| *byte = value);
        bytes
    }
}
