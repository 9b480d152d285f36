//! What a device tells the service manager that started it; nothing where none did.
//!
//! The protocol is systemd's `sd_notify`: `READY=1` once the device takes questions, `WATCHDOG=1` while it is alive, `STOPPING=1`
//! when it leaves. `STATUS=` is shown by `systemctl status`.

use std::time::Duration;

use astra_edge::config::Settings;
use astra_edge::link::interface::{Changes, Interface, interfaces};
use astra_edge::link::{LinkError, Reach};
use astra_edge::node::{Node, describe};
use sd_notify::NotifyState;

/// Of the watchdog's time, so that one late sign costs nothing.
const SIGNS: u32 = 3;

/// Between two looks at what changes by itself.
const POLL: Duration = Duration::from_secs(1);
/// What a device has to get ready once there is a network: as long as the unit gives it, in microseconds.
const START_LIMIT: u32 = 600_000_000;
/// Between two requests for that time.
const EXTENDED: Duration = Duration::from_secs(60);

/// The settings once there is a network, where they leave it to the system to choose one. A service may start before the network
/// does, and on loopback nobody would ever find it.
pub(super) async fn with_network(mut settings: Settings) -> Settings {
    let reach = &mut settings.link.reach;
    if is_service() && reach.is_open() {
        reach.loopback = false;
        let changes = Changes::subscribe();
        wait_for_network(reach, interfaces, Notices(changes.ok()), notify).await;
    }
    settings
}

/// What tells that there may be a network now.
struct Notices(Option<Changes>);

impl Notices {
    async fn next(&mut self) {
        let Some(changes) = &mut self.0 else {
            // Where the system does not tell, it has to be asked.
            return tokio::time::sleep(POLL).await;
        };
        if changes.settled().await.is_err() {
            self.0 = None;
        }
    }
}

async fn wait_for_network(
    reach: &Reach,
    mut look: impl FnMut() -> Vec<Interface>,
    mut notices: Notices,
    mut tell: impl FnMut(&[NotifyState<'_>]),
) {
    let mut waited = false;
    while let Err(error @ LinkError::NoNetwork) = reach.place(&look()) {
        let status = waiting(&error.to_string());
        if !waited {
            tracing::warn!("{status}");
            waited = true;
        }
        tell(&[
            NotifyState::Status(&status),
            NotifyState::ExtendTimeoutUsec(START_LIMIT),
        ]);
        let _ = tokio::time::timeout(EXTENDED, notices.next()).await;
    }
    if waited {
        tracing::info!("there is a network");
        tell(&[NotifyState::Status("starts")]);
    }
}

/// What is shown while there is no network, or not the one that settings name.
fn waiting(missing: &str) -> String {
    format!("waits for a network: {missing}")
}

/// The device takes questions. Its status, as told.
pub(super) fn ready(node: &Node) -> String {
    let status = status(node);
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    status
}

/// Tells when the `status` changes: the number of other devices, or the address; never returns.
pub(super) async fn show(node: &Node, mut told: String) {
    if !is_service() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(POLL).await;
        let now = status(node);
        if now != told {
            told = now;
            notify(&[NotifyState::Status(&told)]);
        }
    }
}

/// deploy/remote.sh reads the number.
fn status(node: &Node) -> String {
    if let Some(missing) = node.waits_for() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn a_network() -> Vec<Interface> {
        vec![Interface {
            name: "eth0".to_owned(),
            up: true,
            carrier: true,
            addresses: vec![[192, 168, 1, 20].into()],
            ..Interface::default()
        }]
    }

    fn reach() -> Reach {
        Reach {
            listen: Vec::new(),
            interface: astra_edge::link::Wanted::Best,
            multicast: true,
            loopback: false,
        }
    }

    #[tokio::test]
    async fn a_network_is_waited_for_and_the_service_manager_with_it() {
        let mut looks = [Vec::new(), a_network()].into_iter();
        let mut told = Vec::new();
        let tell = |states: &[NotifyState<'_>]| {
            told.extend(states.iter().map(NotifyState::to_string));
        };
        wait_for_network(&reach(), || looks.next().unwrap(), Notices(None), tell).await;
        let [waits, extend, starts] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(waits.starts_with("STATUS=waits for a network"), "{waits}");
        assert_eq!(extend, "EXTEND_TIMEOUT_USEC=600000000");
        assert_eq!(starts, "STATUS=starts");
    }

    #[tokio::test]
    async fn a_network_that_is_there_is_nothing_to_speak_of() {
        let tell = |said: &[NotifyState<'_>]| panic!("{said:?}");
        wait_for_network(&reach(), a_network, Notices(None), tell).await;
    }

    #[test]
    fn a_device_that_waited_has_the_time_that_the_unit_gives() {
        let unit = include_str!("../../../deploy/astra-edge.service");
        let minutes = START_LIMIT / 60_000_000;
        assert!(unit.contains(&format!("\nTimeoutStartSec={minutes}min\n")));
    }
}
