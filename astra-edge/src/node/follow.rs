//! The device goes where its address goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::membership::Member;
use super::roaming::{Roaming, Step};
use crate::link::Place;
use crate::link::interface::{Changes, interfaces};

/// Until the next try where joining from a new address failed.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait for the end of a request before an address that still works is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the changes of this machine's addresses, until the system has no more of them to tell.
pub(super) async fn follow(member: Arc<Member>, mut changes: Changes) {
    let mut roaming = Roaming::default();
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
        again = look(&member, &mut roaming).await;
    }
}

/// Looks where the device is best. Says when to look again even if nothing changes.
async fn look(member: &Member, roaming: &mut Roaming) -> Option<Duration> {
    let interfaces = interfaces();
    let found = member.joining.reach.place(&interfaces);
    let missing = found.as_ref().err().map(ToString::to_string);
    let place = member.place();
    let held = place
        .as_ref()
        .map(|place| (place, place.holds(&interfaces)));
    let in_use = matches!(held, Some((_, true)));
    match roaming.step(Instant::now(), held, found.ok()) {
        Step::Stay => None,
        Step::Wait(time) => Some(time),
        Step::Leave => {
            let missing = missing.unwrap_or_default();
            tracing::warn!("left the cluster, and joins again when it can: {missing}");
            member.leave(missing);
            None
        }
        Step::Move(to) => go(member, to, in_use).await,
    }
}

/// Joins from another place. A request at work is only cut off where the address it uses is gone anyway.
async fn go(member: &Member, to: Place, in_use: bool) -> Option<Duration> {
    let coordinator = member.current.get();
    let _engaged = match in_use {
        true => coordinator.device().engage(Instant::now() + PATIENCE).await,
        false => None,
    };
    let text = to.chosen.to_string();
    tracing::info!("the address of this device changes: {text}");
    member.leave("the new address".to_owned());
    match member.join(to).await {
        Ok(()) => {
            let hello = member.hello();
            tracing::info!(device = %hello.device, addresses = ?hello.addresses, "joined again");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "cannot join from the new address; tries again");
            Some(RETRY)
        }
    }
}
