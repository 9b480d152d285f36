//! Causal plans, whose members receive only from earlier members, and predicted blocks.

use super::*;

#[test]
fn causal_members_wait_for_earlier_members_only() {
    let first = gather_of(coded(), 0, true);
    first.begin(0).unwrap();
    send(&first, 0, 0, 2);
    // There is no member to wait for: this returns although the deadline is far away.
    let outcome = collect(&first, (0, 0), &mut [], &mut wait_state(LONG));
    assert_eq!((outcome.arrived, outcome.missing), (0, 0));
    assert_eq!(
        first.take_stats().refused,
        1,
        "the frame of a later member is refused"
    );

    let middle = gather_of(coded(), 1, true);
    middle.begin(0).unwrap();
    send(&middle, 0, 0, 0);
    let mut remote = vec![-1.0; 3 * CODES];
    let outcome = collect(&middle, (0, 0), &mut remote, &mut wait_state(LONG));
    assert_eq!((outcome.arrived, outcome.missing), (3, 0));
    assert_eq!(remote, rows(0, 0, &[0, 1, 2]));
}

#[test]
fn the_first_causal_member_stops_when_the_request_is_cancelled() {
    let (first, ramp) = (gather_of(coded(), 0, true), Ramp::new());
    first.begin(0).unwrap();
    collect(&first, (0, 0), &mut [], &mut wait_state(LONG));
    first.cancel(0);
    let end = first.collect(
        0,
        1,
        Some(ramp.stages()),
        &mut [],
        &mut [],
        &mut wait_state(LONG),
    );
    assert!(matches!(end, Err(GatherError::Cancelled { request: 0 })));
}

#[test]
fn a_slow_causal_member_finds_every_block_of_the_request() {
    let blocks = 40;
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        version: astra_wire::VERSION,
        epoch: 5,
        rung: coded().rung(),
        causal: true,
        ranges: vec![range(0, 3), range(3, 4)],
    };
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, vec![coded(); blocks], false, thread);
    for request in 0..2 {
        // The first member finishes before this one begins.
        (0..blocks as u8).for_each(|block| send(&gather, request, block, 0));
        gather.begin(request).unwrap();
        for block in 0..blocks {
            let mut remote = vec![-1.0; 3 * CODES];
            let outcome = collect(
                &gather,
                (request, block),
                &mut remote,
                &mut wait_state(LONG),
            );
            assert_eq!(outcome.arrived, 3);
            assert_eq!(remote, rows(request, block as u8, &[0, 1, 2]));
        }
        gather.end(request);
    }
    let received = gather.take_stats();
    assert_eq!((received.late, received.refused), (0, 0));
}

#[test]
fn all_blocks_but_the_first_are_predicted() {
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        version: astra_wire::VERSION,
        epoch: 5,
        rung: coded().rung(),
        causal: false,
        ranges: vec![range(0, 3), range(3, 4), range(7, 3)],
    };
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, vec![coded(); BLOCKS], true, thread);
    gather.begin(1).unwrap();
    for (block, flags, used) in [
        (0, Flags::NONE, true),
        (0, Flags::PREDICTED, false),
        (1, Flags::NONE, false),
        (1, Flags::PREDICTED, true),
    ] {
        let header = CodeHeader {
            flags,
            ..header(coded(), 1, block, 0)
        };
        let codes = codes(1, block, 0);
        for frame in frames(Framer::new(header, coded(), &codes, SideInfo::NONE).unwrap()) {
            gather.receive(&frame);
        }
        let received = gather.take_stats();
        let taken = (received.late, received.refused) == (0, 0);
        assert_eq!(taken, used, "block {block}, {flags:?}");
    }
}
