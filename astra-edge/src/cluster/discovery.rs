//! Keeps the roster current: asks whoever appears who it is, and tells the plans who left.

use std::sync::Arc;
use std::time::Duration;

use astra_wire::{Control, DeviceId};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::device::Device;
use super::hello::{self, Why};
use super::roster::Standing;
use crate::link::PresenceEvent;

/// How long a device has to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_millis(800);
/// How often devices that did not answer are asked again.
const RECHECK: Duration = Duration::from_secs(1);

/// Follows who comes and goes, until the session ends.
pub async fn follow(device: Arc<Device>, mut events: mpsc::UnboundedReceiver<PresenceEvent>) {
    let mut recheck = tokio::time::interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => note(&device, event),
                None => return,
            },
            _ = recheck.tick() => {
                let doubtful = device.roster().doubtful();
                for other in doubtful {
                    tokio::spawn(introduce(Arc::clone(&device), other));
                }
            }
        }
    }
}

fn note(device: &Arc<Device>, event: PresenceEvent) {
    // Links that this device has left are remembered by others for a while.
    if event.device == device.id || device.former.contains(&event.device) {
        return;
    }
    if !event.alive {
        gone(device, event.device);
    } else if device.roster().appeared(event.device) {
        tokio::spawn(introduce(Arc::clone(device), event.device));
    }
}

/// A device left or was lost: requests at work stop waiting for it.
pub(super) fn gone(device: &Device, other: DeviceId) {
    device.seats.member_left(other);
    if let Some(entry) = device.roster().left(other) {
        let name = entry.hello.map(|hello| hello.name);
        tracing::info!(device = %other, name = name.as_deref().unwrap_or("?"), "device left");
    }
}

/// Tells another device that this one is gone from the links it has left. It would take the other seconds to find out, and a request
/// that it begins meanwhile would wait for a member that is not there.
async fn disown(device: Arc<Device>, other: DeviceId) {
    for former in &device.former {
        let leave = Control::Leave { device: *former };
        // It has no answer.
        let _ = device.ask(other, &leave, HELLO_TIMEOUT).await;
    }
}

async fn introduce(device: Arc<Device>, other: DeviceId) {
    let said = match device.link.ask_hello(other, HELLO_TIMEOUT).await {
        Ok(bytes) => hello::read(&bytes, other),
        Err(error) => Err(Why::Unreachable(error.to_string())),
    };
    if said.is_ok() && !device.former.is_empty() {
        tokio::spawn(disown(Arc::clone(&device), other));
    }
    let mut roster = device.roster();
    let name = said.as_ref().map_or_else(
        |_| roster.name_of(other),
        |hello| hello.name.as_str().to_owned(),
    );
    match roster.introduced(other, said) {
        Some(Standing::Usable { .. }) => tracing::info!(device = %other, name, "device joined"),
        Some(Standing::Unusable(why)) => {
            tracing::info!(device = %other, name, %why, "device not used");
        }
        None => {}
    }
}
