//! Which versions of the wire two devices have in common.
//!
//! The first byte of every frame and message is the version it is written in. These rules bind every change of this crate; `WIRE.md`
//! has the same:
//!
//! 1. Any change to the bytes of a message or frame, a new message or a new value of an enum included, takes a new [`VERSION`]. Fields,
//!    messages and enum values keep their order; new ones go last.
//! 2. [`MIN_VERSION`] rises only when an old version is no longer read.
//! 3. The first 20 bytes of a hello (version, kind 0, oldest and newest version, device) never change in any version: see
//!    [`HelloPrefix`](crate::HelloPrefix).
//! 4. Two devices write the newest version that both read, which [`negotiate`] yields; an answer is written in the version of its
//!    request, and everything of a plan, code frames included, in the newest version that all of its members read. A device that
//!    has no version in common with another lists it, says why, and does not use it.
//! 5. Version 0 is never used.

use core::fmt;

use thiserror::Error;

/// Oldest version this crate reads. Versions 1 and 2 were in no release.
pub const MIN_VERSION: u8 = 3;

/// Newest version this crate reads and writes.
pub const VERSION: u8 = 3;

/// The versions a device reads and writes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Oldest.
    pub min: u8,
    /// Newest.
    pub max: u8,
}

impl Versions {
    /// The versions of this crate.
    pub const OURS: Self = Self {
        min: MIN_VERSION,
        max: VERSION,
    };

    /// Those of a device that does not say: the first version had no way to.
    pub const UNSTATED: Self = Self { min: 1, max: 1 };

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: u8) -> bool {
        self.min <= version && version <= self.max
    }

    /// Reads what [`Display`](fmt::Display) writes: `3-4`. `None` where that is not a range.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (min, max) = text.split_once('-')?;
        let (min, max) = (min.parse().ok()?, max.parse().ok()?);
        (0 < min && min <= max).then_some(Self { min, max })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// Two devices have no version in common.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VersionError {
    /// The other device reads older versions only.
    #[error(
        "wire version of the peer: found {newest} at most, expected {needed} or newer: update the peer"
    )]
    PeerTooOld {
        /// The peer's newest version.
        newest: u8,
        /// Our oldest.
        needed: u8,
    },
    /// The other device reads newer versions only.
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

/// The newest version both sides read.
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
