//! Lost codes, and the end of waiting for them.

use super::*;

#[test]
fn missing_tokens_are_left_out_and_their_member_is_not_waited_for_again() {
    let gather = gather(coded());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0).unwrap();
    send(&gather, 0, 0, 2);
    let mut wait_state = wait_state(Duration::ZERO);
    let outcome = collect(&gather, (0, 0), &mut remote, &mut wait_state);
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));
    assert_eq!(&remote[..3 * CODES], rows(0, 0, &[7, 8, 9]));
    assert_eq!(wait_state.late, 0b001);

    // The late member is not waited for: this returns although the deadline is far away.
    wait_state.deadline = Instant::now() + LONG;
    send(&gather, 0, 1, 2);
    let outcome = collect(&gather, (0, 1), &mut remote, &mut wait_state);
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));

    // After its codes arrived in time, it is waited for again.
    send(&gather, 0, 2, 2);
    send(&gather, 0, 2, 0);
    let outcome = collect(&gather, (0, 2), &mut remote, &mut wait_state);
    assert_eq!((outcome.arrived, wait_state.late), (6, 0));
}

#[test]
fn a_lost_frame_loses_only_its_own_tokens() {
    let layout = exact();
    let gather = gather(layout);
    let values: Vec<f32> = (0..3 * 600).map(|i| i as f32).collect();
    let mut remote = vec![-1.0; 6 * 600];
    gather.begin(0).unwrap();
    for sender in [0, 2] {
        let all = frames(
            Framer::new(
                header(layout, 0, 0, sender),
                layout,
                &values,
                SideInfo::NONE,
            )
            .unwrap(),
        );
        let parts = usize::from(layout.parts());
        assert!(parts > 1 && all.len() == 3 * parts);
        for (index, frame) in all.iter().enumerate() {
            // One part of the first member's second token is lost.
            if sender == 2 || index != parts {
                gather.receive(frame);
            }
        }
    }
    let mut tokens = [0; 6];
    let outcome = gather
        .collect(
            0,
            0,
            None,
            &mut remote,
            &mut tokens,
            &mut wait_state(Duration::ZERO),
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (5, 1));
    assert_eq!(tokens[..5], [0, 2, 7, 8, 9]);
    assert_eq!(remote[..600], values[..600]);
    assert_eq!(remote[600..1200], values[1200..1800]);
    assert_eq!(remote[1200..3000], values[..]);
}

#[test]
fn waiting_ends_when_codes_complete_a_member_leaves_or_the_request_is_cancelled() {
    let (gather, ramp) = (gather(coded()), Ramp::new());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0).unwrap();

    send(&gather, 0, 0, 0);
    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || send(&sender, 0, 0, 2));
    let outcome = collect(&gather, (0, 0), &mut remote, &mut wait_state(LONG));
    other.join().unwrap();
    assert_eq!(outcome.arrived, 6);

    send(&gather, 0, 1, 0);
    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || sender.member_left(2));
    let outcome = collect(&gather, (0, 1), &mut remote, &mut wait_state(LONG));
    other.join().unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));

    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || sender.cancel(0));
    let begun = Instant::now();
    let end = gather.collect(
        0,
        2,
        Some(ramp.stages()),
        &mut remote,
        &mut [0; 6],
        &mut wait_state(LONG),
    );
    other.join().unwrap();
    assert!(matches!(end, Err(GatherError::Cancelled { request: 0 })));
    assert!(begun.elapsed() < LONG / 2, "nothing woke it");
}
