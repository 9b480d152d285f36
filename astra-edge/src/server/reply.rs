//! Helpers of several handlers: replies, and parameters of requests.

use std::fmt::Display;

use astra_wire::{Control, Reason, Versions};

use crate::link::encode;

/// Writes replies to one message, in the version of that message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replies {
    /// The version.
    pub(crate) version: u8,
}

impl Replies {
    /// Replies to a message as it was received. One in a version that this device, whose versions are `ours`, does not read is replied
    /// to in the newest of them.
    pub(crate) fn to(message: &[u8], ours: Versions) -> Self {
        let version = message.first().copied();
        let readable = version.filter(|version| ours.contains(*version));
        Self {
            version: readable.unwrap_or(ours.max),
        }
    }

    /// A reply; one that cannot be written becomes [`failed`](Self::failed).
    pub(crate) fn message(self, message: &Control<'_>) -> Vec<u8> {
        encode(self.version, message).unwrap_or_else(|error| {
            tracing::error!(%error, "a reply cannot be written");
            self.failed(&error)
        })
    }

    /// The request failed, for this reason.
    pub(crate) fn failed(self, text: &dyn Display) -> Vec<u8> {
        let text = text.to_string();
        encode(self.version, &Control::Failed { text: &text }).unwrap_or_default()
    }

    /// The device does not do what a message of this plan requests.
    pub(crate) fn refuse(self, plan: u64, reason: Reason) -> Vec<u8> {
        self.message(&Control::Refuse { plan, reason })
    }
}

/// Parses `100,80,76`; anything else is an empty list, which is refused when tokens are divided.
pub(crate) fn parse_shares(text: &str) -> Option<Vec<u16>> {
    let shares: Result<_, _> = text.split(',').map(|share| share.trim().parse()).collect();
    Some(shares.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_between_commas() {
        assert_eq!(parse_shares("100,80,76"), Some(vec![100, 80, 76]));
        assert_eq!(parse_shares(" 1 , 2"), Some(vec![1, 2]));
        // Refused when the tokens are divided.
        assert_eq!(parse_shares("100,80,x"), Some(vec![]));
        assert_eq!(parse_shares(""), Some(vec![]));
    }

    #[test]
    fn a_reply_is_in_the_version_of_its_message() {
        let ours = Versions { min: 2, max: 4 };
        for (message, version) in [
            (&[2_u8, 4][..], 2),
            (&[3], 3),
            (&[4, 0, 0], 4),
            // In versions that this device does not read.
            (&[1, 4], 4),
            (&[5, 4], 4),
            (&[], 4),
        ] {
            assert_eq!(Replies::to(message, ours).version, version, "{message:?}");
        }
    }
}
