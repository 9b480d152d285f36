//! Who a device is.

use core::fmt;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use super::ControlError;
use crate::error::FrameError;
use crate::version::Versions;

/// Name of a device, unique for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 16]);

impl fmt::Display for DeviceId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who a device is and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest wire version it reads.
    pub min_version: u8,
    /// Newest wire version it reads.
    pub version: u8,
    /// The device.
    pub device: DeviceId,
    /// Its name, for people.
    pub name: String<64>,
    /// The program, with its version.
    pub software: String<32>,
    /// What runs its graphs, such as "onnxruntime 1.32 cpu".
    pub runtime: String<48>,
    /// Fingerprint of the cluster key.
    pub key: [u8; 8],
    /// Hash of the bundle it has loaded.
    pub bundle: [u8; 32],
    /// Model in the bundle, for people.
    pub model: String<64>,
    /// Microseconds it needs alone for one whole request, of a text for one of 128 tokens; 0 while not measured.
    pub speed: u32,
    /// Where it can be reached.
    pub addresses: Vec<String<64>, 8>,
}

impl Hello {
    /// The versions the device speaks.
    #[must_use]
    pub const fn versions(&self) -> Versions {
        Versions {
            min: self.min_version,
            max: self.version,
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

/// What a hello says in every version there is or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The versions the device speaks.
    pub versions: Versions,
    /// The device.
    pub device: DeviceId,
}

/// Reads the part of a hello that never changes, in whatever version the rest is written. This is how a
/// device with no version in common is named and refused.
///
/// # Errors
///
/// [`FrameError::Truncated`], and [`FrameError::Kind`] for another message.
pub fn greeting(bytes: &[u8]) -> Result<Greeting, FrameError> {
    let (&[_, kind, min, max], rest) = bytes.split_first_chunk().ok_or(FrameError::Truncated)?;
    if kind != 0 {
        return Err(FrameError::Kind { found: kind });
    }
    let device = rest.first_chunk().ok_or(FrameError::Truncated)?;
    Ok(Greeting {
        versions: Versions { min, max },
        device: DeviceId(*device),
    })
}
