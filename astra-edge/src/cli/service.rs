//! What a device tells the service manager that started it; nothing where none did.
//!
//! The protocol is systemd's `sd_notify`: `READY=1` once the device takes questions, `WATCHDOG=1` while it is alive, `STOPPING=1`
//! when it leaves. `STATUS=` is shown by `systemctl status`.

use std::net::IpAddr;
use std::time::Duration;

use astra_edge::config::Config;
use astra_edge::link::interface;
use astra_edge::node::{Node, describe};
use sd_notify::NotifyState;

/// Of the watchdog's time, so that one late sign costs nothing.
const SIGNS: u32 = 3;

/// Between two looks at what changes by itself.
const POLL: Duration = Duration::from_secs(1);
/// What a device has to get ready once there is a network: as long as the unit gives it, in microseconds.
const START_LIMIT: u32 = 600_000_000;
const NO_ROUTE: &str = "waits for a network: nothing leaves this machine by multicast yet, and \
                        neither listen nor multicast_interface names an address";

/// The settings with the address that the system chooses. A service waits for one: it may start before the network does, and on
/// loopback nobody would ever find it.
pub(super) async fn with_address(mut config: Config) -> Config {
    if is_service() && config.leaves_address_open() {
        let address = first_address(interface::route_address, notify).await;
        config.multicast_interface = Some(address.to_string());
    }
    config
}

async fn first_address(
    mut look: impl FnMut() -> Option<IpAddr>,
    mut tell: impl FnMut(&[NotifyState<'_>]),
) -> IpAddr {
    let mut waited = false;
    loop {
        if let Some(address) = look() {
            if waited {
                tracing::info!(%address, "there is a network");
                tell(&[NotifyState::Status("starts")]);
            }
            return address;
        }
        if !waited {
            tracing::warn!("{NO_ROUTE}");
            waited = true;
        }
        tell(&[
            NotifyState::Status(NO_ROUTE),
            NotifyState::ExtendTimeoutUsec(START_LIMIT),
        ]);
        tokio::time::sleep(POLL).await;
    }
}

/// The device takes questions. The number of others it can use, as told.
pub(super) fn ready(node: &Node) -> usize {
    let others = node.others();
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(&status(node, others)),
    ]);
    others
}

/// Tells when the number of `others` changes; never returns.
pub(super) async fn show(node: &Node, mut others: usize) {
    if !is_service() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(POLL).await;
        let now = node.others();
        if now != others {
            others = now;
            notify(&[NotifyState::Status(&status(node, others))]);
        }
    }
}

/// deploy/remote.sh reads the number.
fn status(node: &Node, others: usize) -> String {
    format!("{}; others it can use: {others}", describe(node.hello()))
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

    #[tokio::test]
    async fn an_address_is_waited_for_and_the_service_manager_with_it() {
        let address = IpAddr::from([192, 168, 1, 20]);
        let mut looks = [None, Some(address)].into_iter();
        let mut told = Vec::new();
        let tell = |states: &[NotifyState<'_>]| {
            told.extend(states.iter().map(NotifyState::to_string));
        };
        let found = first_address(|| looks.next().flatten(), tell).await;
        assert_eq!(found, address);
        let [waits, extend, starts] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert!(waits.starts_with("STATUS=waits for a network"), "{waits}");
        assert_eq!(extend, "EXTEND_TIMEOUT_USEC=600000000");
        assert_eq!(starts, "STATUS=starts");
    }

    #[tokio::test]
    async fn an_address_that_is_there_is_nothing_to_speak_of() {
        let address = IpAddr::from([192, 168, 1, 20]);
        let found = first_address(|| Some(address), |said| panic!("{said:?}")).await;
        assert_eq!(found, address);
    }

    #[test]
    fn a_device_that_waited_has_the_time_that_the_unit_gives() {
        let unit = include_str!("../../../deploy/astra-edge.service");
        let minutes = START_LIMIT / 60_000_000;
        assert!(unit.contains(&format!("\nTimeoutStartSec={minutes}min\n")));
    }
}
