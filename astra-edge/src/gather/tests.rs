use std::time::{Duration, Instant};

use astra_codec::Codebook;

use super::*;
use astra_wire::{Flags, Framer, MAX_FRAME};

const BLOCKS: usize = 3;
const CODES: usize = 4;

/// Three members of 3, 4 and 3 tokens; this is the middle one.
fn gather(layout: Layout) -> Arc<Gather> {
    gather_of(layout, 1, false)
}

fn gather_of(layout: Layout, me: usize, causal: bool) -> Arc<Gather> {
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        epoch: 5,
        rung: layout.rung(),
        causal,
        ranges: vec![range(0, 3), range(3, 4), range(7, 3)],
    };
    let thread = std::thread::current();
    Arc::new(Gather::new(
        Arc::new(plan),
        me,
        BLOCKS,
        layout,
        false,
        thread,
    ))
}

fn coded() -> Layout {
    Layout::new(CODES as u16, 8).unwrap()
}

fn exact() -> Layout {
    // 600 channels: a token is cut into several parts.
    Layout::new(600, 32).unwrap()
}

fn header(layout: Layout, request: u32, block: u8, sender: u8) -> CodeHeader {
    let (first_token, tokens) = if sender == 0 { (0, 3) } else { (7, 3) };
    CodeHeader {
        request,
        epoch: 5,
        block,
        sender,
        first_token,
        tokens,
        part: 0,
        rung: layout.rung(),
        flags: Flags::NONE,
    }
}

/// A codebook of one axis a group in which word i is i.
struct Ramp {
    dims: Vec<u16>,
    words: Vec<f32>,
    norms: Vec<f32>,
}

impl Ramp {
    fn new() -> Self {
        let words: Vec<f32> = (0..CODES)
            .flat_map(|_| (0..256).map(|i| i as f32))
            .collect();
        Self {
            dims: vec![1; CODES],
            norms: words.iter().map(|w| 0.5 * w * w).collect(),
            words,
        }
    }

    fn book(&self) -> Codebook<'_> {
        Codebook::new(&self.dims, 256, &self.words, &self.words, &self.norms).unwrap()
    }
}

fn code(request: u32, block: u8, token: usize, group: usize) -> u16 {
    ((request as usize * 31 + usize::from(block) * 7 + token * 11 + group) % 256) as u16
}

fn codes(request: u32, block: u8, sender: u8) -> Vec<u16> {
    let first = if sender == 0 { 0 } else { 7 };
    (first..first + 3)
        .flat_map(|token| (0..CODES).map(move |group| code(request, block, token, group)))
        .collect()
}

fn send(gather: &Gather, request: u32, block: u8, sender: u8) {
    let layout = coded();
    let codes = codes(request, block, sender);
    let header = header(layout, request, block, sender);
    for frame in frames(Framer::new(header, layout, &codes).unwrap()) {
        gather.receive(&frame);
    }
}

fn frames<C: astra_wire::Code>(mut framer: Framer<'_, C>) -> Vec<Vec<u8>> {
    let mut buffer = [0xa5; MAX_FRAME];
    let mut frames = Vec::new();
    while let Some(length) = framer.next_frame(&mut buffer).unwrap() {
        frames.push(buffer[..length].to_vec());
    }
    frames
}

fn patience(wait: Duration) -> Patience {
    Patience {
        until: Instant::now() + wait,
        late: 0,
    }
}

const LONG: Duration = Duration::from_secs(60);

fn row(request: u32, block: u8, token: usize) -> Vec<f32> {
    (0..CODES)
        .map(|group| f32::from(code(request, block, token, group)))
        .collect()
}

fn rows(request: u32, block: u8, tokens: &[usize]) -> Vec<f32> {
    tokens
        .iter()
        .flat_map(|&token| row(request, block, token))
        .collect()
}

const OTHERS: [usize; 6] = [0, 1, 2, 7, 8, 9];

#[test]
fn a_full_set_of_frames_is_decoded_in_the_order_of_the_tokens() {
    let (gather, ramp) = (gather(coded()), Ramp::new());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0);
    for block in 0..BLOCKS as u8 {
        send(&gather, 0, block, 2);
        send(&gather, 0, block, 0);
        let outcome = gather
            .collect(
                0,
                usize::from(block),
                Some(&ramp.book()),
                &mut remote,
                &mut [0; 6],
                &mut patience(LONG),
            )
            .unwrap();
        assert_eq!((outcome.arrived, outcome.missing), (6, 0));
        assert_eq!(remote, rows(0, block, &OTHERS));
    }
    assert_eq!(gather.take_received().refused, 0);
}

#[test]
fn frames_of_the_next_block_and_the_next_request_wait_their_turn() {
    let (gather, ramp) = (gather(coded()), Ramp::new());
    let mut remote = vec![-1.0; 6 * CODES];
    for request in 0..4 {
        // Before the request begins here, the others may be at its first block already.
        send(&gather, request, 0, 0);
        gather.begin(request);
        send(&gather, request, 1, 0);
        for block in 0..BLOCKS as u8 {
            if block > 1 {
                send(&gather, request, block, 0);
            }
            send(&gather, request, block, 2);
            let book = ramp.book();
            let outcome = gather
                .collect(
                    request,
                    usize::from(block),
                    Some(&book),
                    &mut remote,
                    &mut [0; 6],
                    &mut patience(LONG),
                )
                .unwrap();
            assert_eq!(outcome.arrived, 6);
            assert_eq!(
                remote,
                rows(request, block, &OTHERS),
                "request {request} block {block}"
            );
        }
        gather.end(request);
    }
}

#[test]
fn what_did_not_come_is_left_out_and_its_member_not_waited_for_again() {
    let (gather, ramp) = (gather(coded()), Ramp::new());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0);
    send(&gather, 0, 0, 2);
    let mut patience = patience(Duration::ZERO);
    let outcome = gather
        .collect(
            0,
            0,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience,
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));
    assert_eq!(&remote[..3 * CODES], rows(0, 0, &[7, 8, 9]));
    assert_eq!(patience.late, 0b001);

    // With all the time in the world, the late member is not waited for: this returns.
    patience.until = Instant::now() + LONG;
    send(&gather, 0, 1, 2);
    let outcome = gather
        .collect(
            0,
            1,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience,
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));

    // Caught up, it counts again.
    send(&gather, 0, 2, 2);
    send(&gather, 0, 2, 0);
    let outcome = gather
        .collect(
            0,
            2,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience,
        )
        .unwrap();
    assert_eq!((outcome.arrived, patience.late), (6, 0));
}

#[test]
fn a_lost_frame_loses_its_own_tokens_and_nothing_else() {
    let layout = exact();
    let gather = gather(layout);
    let values: Vec<f32> = (0..3 * 600).map(|i| i as f32).collect();
    let mut remote = vec![-1.0; 6 * 600];
    gather.begin(0);
    for sender in [0, 2] {
        let all = frames(Framer::new(header(layout, 0, 0, sender), layout, &values).unwrap());
        let parts = usize::from(layout.parts());
        assert!(parts > 1 && all.len() == 3 * parts);
        for (index, frame) in all.iter().enumerate() {
            // Of the first member's second token one part is lost.
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
            &mut patience(Duration::ZERO),
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (5, 1));
    assert_eq!(tokens[..5], [0, 2, 7, 8, 9]);
    assert_eq!(remote[..600], values[..600]);
    assert_eq!(remote[600..1200], values[1200..1800]);
    assert_eq!(remote[1200..3000], values[..]);
}

#[test]
fn a_frame_that_comes_twice_counts_once() {
    let (gather, ramp) = (gather(coded()), Ramp::new());
    gather.begin(0);
    send(&gather, 0, 0, 2);
    send(&gather, 0, 0, 2);
    let mut remote = vec![-1.0; 6 * CODES];
    let outcome = gather
        .collect(
            0,
            0,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience(Duration::ZERO),
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));
}

#[test]
fn frames_that_belong_elsewhere_are_counted_and_dropped() {
    let gather = gather(coded());
    let layout = coded();
    gather.begin(1);
    let good = header(layout, 1, 0, 2);
    let bad = [
        CodeHeader { epoch: 4, ..good },
        CodeHeader { sender: 1, ..good },
        CodeHeader { sender: 3, ..good },
        CodeHeader { block: 3, ..good },
        CodeHeader {
            first_token: 6,
            ..good
        },
        CodeHeader {
            first_token: 8,
            ..good
        },
        CodeHeader { request: 0, ..good },
        CodeHeader {
            request: 99,
            ..good
        },
        CodeHeader {
            flags: Flags::PREDICTED,
            ..good
        },
    ];
    for header in bad {
        let codes = [0_u16; 3 * CODES];
        for frame in frames(Framer::new(header, layout, &codes).unwrap()) {
            gather.receive(&frame);
        }
    }
    gather.receive(b"");
    gather.receive(&[0xff; 2000]);
    let received = gather.take_received();
    assert_eq!((received.frames, received.refused), (11, 11));
    let nothing = gather.collect(
        1,
        0,
        None,
        &mut [0.0; 24],
        &mut [0; 6],
        &mut patience(Duration::ZERO),
    );
    assert_eq!(nothing.unwrap().arrived, 0);
}

#[test]
fn waiting_ends_when_codes_complete_a_member_leaves_or_the_request_is_cancelled() {
    // Each would wait a minute if nothing woke it; the harness's patience is shorter than three.
    let (gather, ramp) = (gather(coded()), Ramp::new());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0);

    send(&gather, 0, 0, 0);
    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || send(&sender, 0, 0, 2));
    let outcome = gather
        .collect(
            0,
            0,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience(LONG),
        )
        .unwrap();
    other.join().unwrap();
    assert_eq!(outcome.arrived, 6);

    send(&gather, 0, 1, 0);
    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || sender.member_left(2));
    let outcome = gather
        .collect(
            0,
            1,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 6],
            &mut patience(LONG),
        )
        .unwrap();
    other.join().unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));

    let sender = Arc::clone(&gather);
    let other = std::thread::spawn(move || sender.cancel(0));
    let end = gather.collect(
        0,
        2,
        Some(&ramp.book()),
        &mut remote,
        &mut [0; 6],
        &mut patience(LONG),
    );
    other.join().unwrap();
    assert!(matches!(end, Err(GatherError::Cancelled { request: 0 })));
}

#[test]
fn causal_members_wait_for_those_left_of_them_only() {
    let ramp = Ramp::new();
    let first = gather_of(coded(), 0, true);
    first.begin(0);
    send(&first, 0, 0, 2);
    // Nobody to wait for: this returns, with all the time in the world.
    let outcome = first
        .collect(
            0,
            0,
            Some(&ramp.book()),
            &mut [],
            &mut [],
            &mut patience(LONG),
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (0, 0));
    assert_eq!(
        first.take_received().refused,
        1,
        "no use for what comes from the right"
    );

    let middle = gather_of(coded(), 1, true);
    middle.begin(0);
    send(&middle, 0, 0, 0);
    let mut remote = vec![-1.0; 3 * CODES];
    let outcome = middle
        .collect(
            0,
            0,
            Some(&ramp.book()),
            &mut remote,
            &mut [0; 3],
            &mut patience(LONG),
        )
        .unwrap();
    assert_eq!((outcome.arrived, outcome.missing), (3, 0));
    assert_eq!(remote, rows(0, 0, &[0, 1, 2]));
}

#[test]
fn a_causal_member_that_is_behind_finds_every_block_of_the_request() {
    let ramp = Ramp::new();
    let blocks = 40;
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        epoch: 5,
        rung: coded().rung(),
        causal: true,
        ranges: vec![range(0, 3), range(3, 4)],
    };
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, blocks, coded(), false, thread);
    for request in 0..2 {
        // The first member is done before this one begins.
        (0..blocks as u8).for_each(|block| send(&gather, request, block, 0));
        gather.begin(request);
        for block in 0..blocks {
            let mut remote = vec![-1.0; 3 * CODES];
            let outcome = gather
                .collect(
                    request,
                    block,
                    Some(&ramp.book()),
                    &mut remote,
                    &mut [0; 3],
                    &mut patience(LONG),
                )
                .unwrap();
            assert_eq!(outcome.arrived, 3);
            assert_eq!(remote, rows(request, block as u8, &[0, 1, 2]));
        }
        gather.end(request);
    }
    assert_eq!(gather.take_received().refused, 0);
}

#[test]
fn only_blocks_behind_the_first_are_predicted() {
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        epoch: 5,
        rung: coded().rung(),
        causal: false,
        ranges: vec![range(0, 3), range(3, 4), range(7, 3)],
    };
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, BLOCKS, coded(), true, thread);
    gather.begin(1);
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
        for frame in frames(Framer::new(header, coded(), &codes).unwrap()) {
            gather.receive(&frame);
        }
        let refused = gather.take_received().refused;
        assert_eq!(refused == 0, used, "block {block}, {flags:?}");
    }
}
