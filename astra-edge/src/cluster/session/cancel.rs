//! Requests that are cancelled on all members before they end.

use std::sync::Arc;
use std::time::Duration;

use astra_wire::{Control, DeviceId, SECRET};

use crate::cluster::device::Device;
use crate::cluster::membership::hello::Rejection;

/// Longest wait for members to cancel.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a request was cancelled on all members.
#[derive(Debug)]
pub enum Abort {
    /// A member works on another request.
    Busy {
        /// The member.
        member: DeviceId,
        /// Whether nothing was lost until then: the plan can be used again.
        intact: bool,
    },
    /// A member no longer knows the plan.
    Stale {
        /// The member.
        member: DeviceId,
    },
    /// The member that the answer depends on failed, or is gone.
    Lost {
        /// The member.
        member: DeviceId,
        /// How it failed.
        why: Rejection,
    },
    /// This device's own part failed.
    Own(String),
}

/// What a member ends a request for.
#[derive(Clone, Copy)]
pub(crate) struct Cancellation {
    /// Wire version of the request.
    pub(crate) version: u8,
    pub(crate) plan: u64,
    pub(crate) request: u32,
    /// That of the plan's offer, or of the message that began the generation.
    pub(crate) secret: [u8; SECRET],
}

/// Sends a device the cancellation of a request, without waiting for the reply.
pub(crate) fn cancel(device: &Arc<Device>, other: DeviceId, of: Cancellation) {
    let device = Arc::clone(device);
    tokio::spawn(async move {
        let message = Control::Cancel {
            plan: of.plan,
            request: of.request,
            secret: of.secret,
        };
        // A device that is gone works on nothing.
        let _ = device
            .request(other, of.version, &message, CANCEL_TIMEOUT)
            .await;
    });
}
