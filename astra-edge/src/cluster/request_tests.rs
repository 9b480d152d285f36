//! A request's bookkeeping, on a plan without a network.

use super::*;
use crate::cluster::choose::Choice;
use crate::cluster::roster::Candidate;
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
    let choice = Choice {
        members: (0..3).map(member).collect(),
        ranges,
        me: 0,
    };
    ActivePlan::new(choice, Arc::new(Seat::for_test(&link, plan, 0).await))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plan_is_as_it_was_where_a_member_is_busy_and_none_has_failed() {
    let plan = plan().await;
    let busy = |harvest: &mut Harvest| {
        let end = End::Refused(Reason::Busy);
        match note(harvest, &plan, 2, 0, end) {
            Err(GivenUp::Busy { member, sound }) => (member, sound),
            other => panic!("{other:?}"),
        }
    };
    let mut harvest = Harvest::new(3);
    assert_eq!(busy(&mut harvest), (DeviceId([2; 16]), true));
    // Nothing is waited for from this one in any later request of the plan.
    let silent = End::Silent("no answer".to_owned());
    note(&mut harvest, &plan, 1, 0, silent).unwrap();
    assert_eq!(busy(&mut harvest), (DeviceId([2; 16]), false));
}
