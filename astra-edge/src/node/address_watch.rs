//! Follows changes of this machine's addresses: leaves the cluster, and joins it again from a new address.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::address_policy::{Action, AddressPolicy};
use super::membership::ClusterMembership;
use crate::link::LocalAddresses;
use crate::link::interface::{Changes, interfaces};

/// Until the next try where joining from a new address failed.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for the end of a request before giving up an address that still works.
const REQUEST_END: Duration = Duration::from_secs(10);

/// Runs until the system no longer reports changes.
pub(super) async fn watch_addresses(membership: Arc<ClusterMembership>, mut changes: Changes) {
    let mut policy = AddressPolicy::default();
    // The address may have changed while the model was loaded.
    let mut again = Some(Duration::ZERO);
    loop {
        let settled = changes.settled();
        let settled = match again {
            Some(after) => timeout(after, settled).await.unwrap_or(Ok(())),
            None => settled.await,
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "changes of this machine's address are no longer noticed");
            return;
        }
        again = check(&membership, &mut policy).await;
    }
}

/// Acts on the addresses that are there now. Returns when to check again even if nothing changes.
async fn check(membership: &ClusterMembership, policy: &mut AddressPolicy) -> Option<Duration> {
    let interfaces = interfaces();
    let best = membership.settings.addresses.resolve(&interfaces);
    let missing = best.as_ref().err().map(ToString::to_string);
    let addresses = membership.addresses();
    let current = addresses
        .as_ref()
        .map(|addresses| (addresses, addresses.are_usable(&interfaces)));
    let in_use = matches!(current, Some((_, true)));
    match policy.decide(Instant::now(), current, best.ok()) {
        Action::Keep => None,
        Action::Wait(time) => Some(time),
        Action::Leave => {
            let missing = missing.unwrap_or_default();
            tracing::warn!("left the cluster, and joins again when it can: {missing}");
            membership.leave(missing);
            None
        }
        Action::Change(to) => change(membership, to, in_use).await,
    }
}

/// Joins again from other addresses. A request in progress is only cut off where the addresses it uses are gone anyway.
async fn change(
    membership: &ClusterMembership,
    to: LocalAddresses,
    in_use: bool,
) -> Option<Duration> {
    let coordinator = membership.coordinator.get();
    let _engaged = match in_use {
        true => {
            let until = Instant::now() + REQUEST_END;
            coordinator.device().engage(until).await
        }
        false => None,
    };
    let text = to.selected.to_string();
    tracing::info!("the address of this device changes: {text}");
    membership.leave("the new address".to_owned());
    match membership.join(to).await {
        Ok(()) => {
            let hello = membership.hello();
            tracing::info!(device = %hello.device, addresses = ?hello.addresses, "joined again");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "cannot join from the new address; tries again");
            Some(RETRY)
        }
    }
}
