//! Requests far from the next one.

use super::*;

/// Sends one frame of the first block.
fn send_first(gather: &Gather, request: u32) {
    send(gather, request, 0, 2);
}

#[test]
fn a_frame_of_a_request_far_ahead_hides_nothing() {
    let gather = gather(coded());
    for request in [64, 65, u32::MAX] {
        send_first(&gather, request);
    }
    assert_eq!(gather.take_stats().refused, 3);
    send_first(&gather, 0);
    send(&gather, 0, 0, 0);
    gather.begin(0).unwrap();
    let mut remote = vec![-1.0; 6 * CODES];
    let outcome = collect(
        &gather,
        (0, 0),
        &mut remote,
        &mut wait_state(Duration::ZERO),
    );
    assert_eq!((outcome.arrived, outcome.missing), (6, 0));
    assert_eq!(remote, rows(0, 0, &OTHERS));
}

#[test]
fn frames_of_the_next_64_requests_are_taken() {
    let gather = gather(coded());
    gather.begin(10).unwrap();
    gather.end(10);
    for (request, refused) in [(11, 0), (74, 0), (75, 1)] {
        send_first(&gather, request);
        assert_eq!(gather.take_stats().refused, refused, "{request}");
    }
}

#[test]
fn a_request_far_ahead_does_not_begin() {
    let gather = gather(coded());
    gather.begin(1).unwrap();
    gather.end(1);
    for found in [0, 1, 66, u32::MAX] {
        let refused = gather.begin(found);
        assert!(
            matches!(refused, Err(GatherError::Request { next: 2, .. })),
            "{found}: {refused:?}"
        );
    }
    // Nothing of the next one is late.
    send_first(&gather, 2);
    gather.begin(2).unwrap();
    let stats = gather.take_stats();
    assert_eq!((stats.late, stats.refused), (0, 0));
}
