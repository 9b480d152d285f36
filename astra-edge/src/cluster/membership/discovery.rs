//! Keeps the roster current: requests the hello of each device that appears, and removes those that leave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, Hello, Versions, negotiate};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Membership;
use super::hello::{self, Rejection};
use super::roster::Standing;
use crate::link::{Link, PresenceEvent};

/// How long a device may take to send its hello.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_millis(800);
/// How often it is checked whether the hello of a device that did not reply is to be requested again.
const RECHECK: Duration = Duration::from_secs(1);

/// Follows presence events until the session ends. `left` is called for each device that is gone, whether or not it was usable.
pub async fn follow(
    membership: Arc<Membership>,
    mut events: mpsc::UnboundedReceiver<PresenceEvent>,
    left: impl Fn(DeviceId),
) {
    let mut recheck = tokio::time::interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => note(&membership, event, &left),
                None => return,
            },
            _ = recheck.tick() => {
                let doubtful = membership.roster().take_doubtful(Instant::now());
                for other in doubtful {
                    tokio::spawn(introduce(Arc::clone(&membership), other));
                }
            }
        }
    }
}

fn note(membership: &Arc<Membership>, event: PresenceEvent, left: &impl Fn(DeviceId)) {
    // Other devices remember links that this device has left for a while.
    if event.device == membership.id || membership.former.contains(&event.device) {
        return;
    }
    if !event.alive {
        left(event.device);
    } else if membership.roster().appeared(event.device) {
        tokio::spawn(introduce(Arc::clone(membership), event.device));
    }
}

/// Sends a device the leave messages of this one's former ids, which it would otherwise notice only when their links time out.
async fn leave_former(membership: Arc<Membership>, other: DeviceId, version: u8) {
    for former in &membership.former {
        let leave = Control::Leave { device: *former };
        // It has no reply.
        let _ = membership
            .request(other, version, &leave, HELLO_TIMEOUT)
            .await;
    }
}

/// The hello of a device, for one that reads `versions`.
///
/// # Errors
/// It did not come within 0.8 s, cannot be read, or the device reads none of these versions.
pub async fn request_hello(
    link: &Link,
    device: DeviceId,
    versions: Versions,
) -> Result<Hello, Rejection> {
    match link.request_hello(device, versions, HELLO_TIMEOUT).await {
        Ok(bytes) => hello::read(&bytes, device, versions),
        Err(error) => Err(Rejection::Unreachable(error.to_string())),
    }
}

async fn introduce(membership: Arc<Membership>, other: DeviceId) {
    let versions = membership.versions();
    let hello = request_hello(&membership.link, other, versions).await;
    let version = hello
        .as_ref()
        .ok()
        .and_then(|hello| negotiate(versions, hello.versions()).ok());
    if let Some(version) = version.filter(|_| !membership.former.is_empty()) {
        tokio::spawn(leave_former(Arc::clone(&membership), other, version));
    }
    let mut roster = membership.roster();
    let name = hello.as_ref().map_or_else(
        |_| roster.name_of(other),
        |hello| hello.name.as_str().to_owned(),
    );
    match roster.introduced(other, hello) {
        Some(Standing::Usable { .. }) => tracing::info!(device = %other, name, "device joined"),
        Some(Standing::Unusable(rejection)) => {
            tracing::info!(device = %other, name, why = %rejection, "device not used");
        }
        None => {}
    }
}
