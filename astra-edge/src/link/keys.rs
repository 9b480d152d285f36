//! Key space of a cluster.
//!
//! | key | what is there |
//! |---|---|
//! | `astra/<cluster>/device/<id>` | liveliness token of a device |
//! | `astra/<cluster>/hello/<id>` | queryable: who the device is |
//! | `astra/<cluster>/control/<id>` | queryable: every other control message |
//! | `astra/<cluster>/codes/<plan>/<sender>` | code frames of one member of a plan |
//!
//! `<id>` is 32 hexadecimal digits, `<plan>` 16, `<sender>` the member's number.

use std::fmt;
use std::str::FromStr;

use astra_wire::DeviceId;

use super::LinkError;

/// Name of a cluster: one part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// Most characters.
    pub const MAX: usize = 64;
}

impl FromStr for ClusterName {
    type Err = LinkError;

    fn from_str(name: &str) -> Result<Self, LinkError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if (1..=Self::MAX).contains(&name.len()) && name.chars().all(allowed) {
            return Ok(Self(name.to_owned()));
        }
        Err(LinkError::ClusterName {
            found: name.to_owned(),
            max: Self::MAX,
        })
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClusterName {
    /// Liveliness token of a device.
    pub(super) fn device(&self, id: DeviceId) -> String {
        format!("astra/{self}/device/{id}")
    }

    /// Liveliness tokens of all devices.
    pub(super) fn devices(&self) -> String {
        format!("astra/{self}/device/*")
    }

    /// A device's hello.
    pub(super) fn hello(&self, id: DeviceId) -> String {
        format!("astra/{self}/hello/{id}")
    }

    /// A device's control messages.
    pub(super) fn control(&self, id: DeviceId) -> String {
        format!("astra/{self}/control/{id}")
    }

    /// Control messages of all devices.
    pub(super) fn controls(&self) -> String {
        format!("astra/{self}/control/*")
    }

    /// Code frames of one member.
    pub(super) fn codes(&self, plan: u64, sender: usize) -> String {
        format!("astra/{self}/codes/{plan:016x}/{sender}")
    }
}

/// The device that the last part of a key names.
pub(super) fn device_of(key: &str) -> Option<DeviceId> {
    let digits = key.rsplit('/').next()?;
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(digits, 16).ok()?;
    Some(DeviceId(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_one_part_of_a_key() {
        for good in ["astra", "a", "Lab-2.north_east", &"x".repeat(64)] {
            assert_eq!(good.parse::<ClusterName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "a/b",
            "a*",
            "$x",
            "a b",
            "é",
            "a#",
            "a?",
            &"x".repeat(65),
        ] {
            let error = bad.parse::<ClusterName>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn keys_name_their_device() {
        let cluster: ClusterName = "lab".parse().unwrap();
        let id = DeviceId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        let key = cluster.device(id);
        assert_eq!(key, "astra/lab/device/000102030405060708090a0b0c0d0eff");
        assert_eq!(device_of(&key), Some(id));
        assert_eq!(cluster.codes(0xab, 3), "astra/lab/codes/00000000000000ab/3");
        for bad in [
            "",
            "astra/lab/device/",
            "astra/lab/device/+0102030405060708090a0b0c0d0eff",
        ] {
            assert_eq!(device_of(bad), None);
        }
    }
}
