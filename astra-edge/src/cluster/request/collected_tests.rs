//! A request's bookkeeping, on a plan without a network.

use std::sync::Arc;

use astra_model::partition::TokenRange;
use astra_wire::DeviceId;

use super::*;
use crate::cluster::device::slot::PlanSlot;
use crate::cluster::member::outcome::PartOutcome;
use crate::cluster::membership::roster::Candidate;
use crate::cluster::placement::choose::Placement;
use crate::cluster::request::collected::Collected;
use crate::cluster::session::cancel::Abort;
use crate::link::{Link, LinkSettings};
use crate::plan::Plan;

/// Three members, of which the first coordinates.
async fn plan() -> ActivePlan {
    let settings = LinkSettings {
        cluster: "request".parse().unwrap(),
        listen: Vec::new(),
        connect: Vec::new(),
        multicast: None,
    };
    let link = Link::open(settings).await.unwrap();
    let ranges: Vec<TokenRange> = (0..3)
        .map(|first| TokenRange { first, tokens: 1 })
        .collect();
    let plan = Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung: 0,
        causal: false,
        ranges: ranges.clone(),
    };
    let member = |number: u8| Candidate {
        device: DeviceId([number; 16]),
        name: format!("device-{number}"),
        speed: 1.0,
        since: 0,
    };
    let placement = Placement {
        members: (0..3).map(member).collect(),
        ranges,
        me: 0,
    };
    ActivePlan::new(
        placement,
        Arc::new(PlanSlot::for_test(&link, plan, 0).await),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plan_is_as_it_was_where_a_member_is_busy_and_none_has_failed() {
    let plan = plan().await;
    let busy = |collected: &mut Collected| {
        let end = PartOutcome::Refused(Reason::Busy);
        match note(collected, &plan, 2, 0, end) {
            Err(Abort::Busy { member, intact }) => (member, intact),
            other => panic!("{other:?}"),
        }
    };
    let mut collected = Collected::new(3);
    assert_eq!(busy(&mut collected), (DeviceId([2; 16]), true));
    // Nothing is waited for from this one in any later request of the plan.
    let silent = PartOutcome::Silent("no answer".to_owned());
    note(&mut collected, &plan, 1, 0, silent).unwrap();
    assert_eq!(busy(&mut collected), (DeviceId([2; 16]), false));
}
