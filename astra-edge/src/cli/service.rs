//! What a device tells the service manager that started it; nothing where none did.
//!
//! The protocol is systemd's `sd_notify`: `READY=1` once the device takes questions, `WATCHDOG=1` while it is alive, `STOPPING=1`
//! when it leaves.

use std::time::Duration;

use astra_edge::node::Node;
use sd_notify::NotifyState;

/// Of the watchdog's time, so that one late sign costs nothing.
const SIGNS: u32 = 3;

/// The device takes questions; `status` is shown by `systemctl status`.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The device leaves.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Gives the watchdog signs of life for as long as the device is alive; never returns.
pub(super) async fn watch(node: &Node) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut next = tokio::time::interval(limit / SIGNS);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        next.tick().await;
        match node.alive(answer_limit(limit), limit).await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            Err(reason) => tracing::warn!(reason, "no sign of life to the watchdog"),
        }
    }
}

/// The device's own answer comes within a moment; half of what is between two signs is generous.
fn answer_limit(limit: Duration) -> Duration {
    limit / (2 * SIGNS)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
