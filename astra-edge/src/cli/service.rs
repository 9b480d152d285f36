//! Notifications to the service manager that started the device, if one did.
//!
//! The protocol is systemd's `sd_notify`: `READY=1` once the device takes requests, `WATCHDOG=1` while it is alive, `STOPPING=1` when
//! it leaves. `systemctl status` shows `STATUS=`.

use std::time::Duration;

use astra_edge::config::Settings;
use astra_edge::link::interface::{Changes, Interface, interfaces};
use astra_edge::link::{AddressSettings, LinkError};
use astra_edge::node::{Node, describe};
use sd_notify::NotifyState;

/// Notifications in the watchdog's time, so that a late one does no harm.
const PER_TIMEOUT: u32 = 3;

/// Between two checks of the status.
const POLL: Duration = Duration::from_secs(1);
/// Time to get ready once there is a network, in microseconds: as long as the unit gives it.
const START_LIMIT: u32 = 600_000_000;
/// Between two requests for that time.
const EXTEND_EVERY: Duration = Duration::from_secs(60);

/// Waits for a network, where the settings leave the interface to the ranking. A service may start before the network does, and on
/// loopback other machines would never find it.
pub(super) async fn with_network(mut settings: Settings) -> Settings {
    let addresses = &mut settings.link.addresses;
    if is_service() && addresses.is_automatic() {
        addresses.loopback = false;
        let changes = Changes::subscribe();
        wait_for_network(addresses, interfaces, Notifications(changes.ok()), notify).await;
    }
    settings
}

/// Notifications that there may be a network now.
struct Notifications(Option<Changes>);

impl Notifications {
    async fn next(&mut self) {
        let Some(changes) = &mut self.0 else {
            // Without notifications, it polls.
            return tokio::time::sleep(POLL).await;
        };
        if changes.settled().await.is_err() {
            self.0 = None;
        }
    }
}

async fn wait_for_network(
    addresses: &AddressSettings,
    mut list: impl FnMut() -> Vec<Interface>,
    mut notifications: Notifications,
    mut send: impl FnMut(&[NotifyState<'_>]),
) {
    let mut waited = false;
    while let Err(error @ LinkError::NoNetwork) = addresses.resolve(&list()) {
        let status = waiting(&error.to_string());
        if !waited {
            tracing::warn!("{status}");
            waited = true;
        }
        send(&[
            NotifyState::Status(&status),
            NotifyState::ExtendTimeoutUsec(START_LIMIT),
        ]);
        let _ = tokio::time::timeout(EXTEND_EVERY, notifications.next()).await;
    }
    if waited {
        tracing::info!("there is a network");
        send(&[NotifyState::Status("starts")]);
    }
}

/// The status while there is no network, or not the one of the settings.
fn waiting(missing: &str) -> String {
    format!("waits for a network: {missing}")
}

/// Notifies that the device takes requests; returns the status that was sent.
pub(super) fn ready(node: &Node) -> String {
    let status = status(node);
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    status
}

/// Notifies when the status changes: the number of other devices, or the address; never returns.
pub(super) async fn show(node: &Node, mut sent: String) {
    if !is_service() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(POLL).await;
        let now = status(node);
        if now != sent {
            sent = now;
            notify(&[NotifyState::Status(&sent)]);
        }
    }
}

/// deploy/remote.sh reads the number.
fn status(node: &Node) -> String {
    if let Some(missing) = node.missing() {
        return waiting(&missing);
    }
    let cacheless = if node.lacks_weights_cache() {
        "; no weights cache"
    } else {
        ""
    };
    let others = node.others();
    format!(
        "{}{cacheless}; others it can use: {others}",
        describe(&node.hello())
    )
}

fn is_service() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Notifies that the device leaves.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Notifies the watchdog for as long as the device is alive; never returns.
pub(super) async fn watch(node: &Node) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut next = tokio::time::interval(limit / PER_TIMEOUT);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        next.tick().await;
        match node.check_alive(reply_limit(limit), limit).await {
            Ok(()) => notify(&[NotifyState::Watchdog]),
            Err(reason) => tracing::warn!(reason, "the watchdog is not notified"),
        }
    }
}

/// Time for the device to reply to itself: half of the time between two notifications.
fn reply_limit(limit: Duration) -> Duration {
    limit / (2 * PER_TIMEOUT)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astra_edge::link::InterfaceSetting;

    fn a_network() -> Vec<Interface> {
        vec![Interface {
            name: "eth0".to_owned(),
            up: true,
            carrier: true,
            addresses: vec![[192, 168, 1, 20].into()],
            ..Interface::default()
        }]
    }

    fn addresses() -> AddressSettings {
        AddressSettings {
            listen: Vec::new(),
            interface: InterfaceSetting::Auto,
            multicast: true,
            loopback: false,
        }
    }

    #[tokio::test]
    async fn a_network_is_waited_for_and_the_service_manager_with_it() {
        let mut lists = [Vec::new(), a_network()].into_iter();
        let mut sent = Vec::new();
        let send = |states: &[NotifyState<'_>]| {
            sent.extend(states.iter().map(NotifyState::to_string));
        };
        wait_for_network(
            &addresses(),
            || lists.next().unwrap(),
            Notifications(None),
            send,
        )
        .await;
        let [waits, extend, starts] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        assert!(waits.starts_with("STATUS=waits for a network"), "{waits}");
        assert_eq!(extend, "EXTEND_TIMEOUT_USEC=600000000");
        assert_eq!(starts, "STATUS=starts");
    }

    #[tokio::test]
    async fn a_network_that_is_there_is_not_waited_for() {
        let send = |states: &[NotifyState<'_>]| panic!("{states:?}");
        wait_for_network(&addresses(), a_network, Notifications(None), send).await;
    }

    #[test]
    fn a_device_that_waited_has_the_time_that_the_unit_gives() {
        let unit = include_str!("../../../deploy/astra-edge.service");
        let minutes = START_LIMIT / 60_000_000;
        assert!(unit.contains(&format!("\nTimeoutStartSec={minutes}min\n")));
    }
}
