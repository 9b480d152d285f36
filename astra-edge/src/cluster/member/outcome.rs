//! How one member's part of a request ended.

use astra_wire::{Control, FrameError, MemberStats, Reason};

use super::share::Share;
use crate::cluster::membership::identity::printable;

/// How one member's part ended.
pub enum PartOutcome {
    /// Its share, what it cost, and the bytes of the message.
    Share(Share, MemberStats, u64),
    /// It does not take part.
    Refused(Reason),
    /// It began and failed.
    Failed(String),
    /// No reply: it is gone, or too late.
    Silent(String),
}

impl PartOutcome {
    /// The outcome that a reply other than the expected one means.
    pub(crate) fn of_other_reply(reply: Result<Control<'_>, FrameError>) -> Self {
        match reply {
            Ok(Control::Refuse { reason, .. }) => Self::Refused(reason),
            Ok(Control::Failed { text }) => Self::Failed(printable(text)),
            Ok(_) => Self::Failed("a reply of another kind than expected".to_owned()),
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}
