//! Which versions of the wire two devices have in common.
//!
//! The first byte of every frame and message is the version it is written in. Rules of evolution, binding
//! for every change of this crate:
//!
//! 1. Any change to the bytes of a message or frame, a new message or a new value of an enum included,
//!    takes a new [`VERSION`]. Fields, messages and enum values keep their order; new ones go last.
//! 2. [`MIN_VERSION`] rises only when an old version is no longer read.
//! 3. The first 20 bytes of a hello (version, kind 0, lowest and highest version, device) never change in
//!    any version, so that devices with no version in common can still name each other: see
//!    [`greeting`](crate::greeting).
//! 4. Devices write what [`negotiate`] yields; a device with none in common is listed and not used.

use thiserror::Error;

/// Oldest version this crate reads.
pub const MIN_VERSION: u8 = 1;

/// Version this crate writes, and the newest it reads.
pub const VERSION: u8 = 1;

/// The versions a device speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Oldest.
    pub min: u8,
    /// Newest.
    pub max: u8,
}

impl Versions {
    /// The versions this crate speaks.
    pub const OURS: Self = Self {
        min: MIN_VERSION,
        max: VERSION,
    };

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: u8) -> bool {
        self.min <= version && version <= self.max
    }
}

/// Two devices have no version in common.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionError {
    /// The other device is older than anything we speak.
    #[error(
        "wire version of the peer: found {newest} at most, expected {needed} or newer: update the peer"
    )]
    PeerTooOld {
        /// The peer's newest version.
        newest: u8,
        /// Our oldest.
        needed: u8,
    },
    /// The other device no longer speaks anything we do.
    #[error(
        "wire version of the peer: found {oldest} at least, expected {ours} or older: update this device"
    )]
    PeerTooNew {
        /// The peer's oldest version.
        oldest: u8,
        /// Our newest.
        ours: u8,
    },
    /// A range whose ends are the wrong way round, or that holds the unused version 0.
    #[error("versions: found {min} to {max}, expected a range")]
    NoRange {
        /// Lower end as given.
        min: u8,
        /// Upper end as given.
        max: u8,
    },
}

/// The newest version both sides speak.
///
/// # Errors
///
/// [`VersionError`] says which side has to be updated.
pub fn negotiate(mine: Versions, theirs: Versions) -> Result<u8, VersionError> {
    for Versions { min, max } in [mine, theirs] {
        if min == 0 || min > max {
            return Err(VersionError::NoRange { min, max });
        }
    }
    if theirs.max < mine.min {
        return Err(VersionError::PeerTooOld {
            newest: theirs.max,
            needed: mine.min,
        });
    }
    if theirs.min > mine.max {
        return Err(VersionError::PeerTooNew {
            oldest: theirs.min,
            ours: mine.max,
        });
    }
    Ok(mine.max.min(theirs.max))
}
