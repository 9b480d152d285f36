mod causal;
mod losses;
mod model;
mod refined;
mod sizes;
mod window;

use std::time::{Duration, Instant};

use astra_codec::Codebook;
use astra_model::engine::Stages;

use super::*;
use astra_wire::{Flags, Framer, MAX_FRAME, SideInfo};

const BLOCKS: usize = 3;
const CODES: usize = 4;

/// The gather of the middle one of three members of 3, 4 and 3 tokens.
fn gather(layout: Layout) -> Arc<Gather> {
    gather_of(layout, 1, false)
}

fn gather_of(layout: Layout, me: usize, causal: bool) -> Arc<Gather> {
    let range = |first, tokens| TokenRange { first, tokens };
    let plan = Plan {
        id: 7,
        version: astra_wire::VERSION,
        epoch: 5,
        rung: layout.rung(),
        causal,
        ranges: vec![range(0, 3), range(3, 4), range(7, 3)],
    };
    let thread = std::thread::current();
    Arc::new(Gather::new(
        Arc::new(plan),
        me,
        vec![layout; BLOCKS],
        false,
        thread,
    ))
}

fn coded() -> Layout {
    Layout::new(32, CODES as u16, 8, None).unwrap()
}

fn exact() -> Layout {
    // 600 channels: a token is cut into several parts.
    Layout::new(0, 600, 32, None).unwrap()
}

fn header(layout: Layout, request: u32, block: u8, sender: u8) -> CodeHeader {
    let (first_token, tokens) = if sender == 0 { (0, 3) } else { (7, 3) };
    CodeHeader {
        version: astra_wire::VERSION,
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

/// A codebook of one axis per group in which word i is i.
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

    fn stages(&self) -> Stages<'_> {
        let first = Codebook::new(&self.dims, 256, &self.words, &self.words, &self.norms);
        Stages {
            mean: None,
            first: first.unwrap(),
            second: None,
        }
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
    for frame in frames(Framer::new(header, layout, &codes, SideInfo::NONE).unwrap()) {
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

fn wait_state(wait: Duration) -> WaitState {
    WaitState {
        deadline: Instant::now() + wait,
        late: 0,
    }
}

/// Gathers a block into `remote`. Waiting must end by an event, not by the deadline.
fn collect(
    gather: &Gather,
    (request, block): (u32, usize),
    remote: &mut [f32],
    wait_state: &mut WaitState,
) -> GatheredBlock {
    let ramp = Ramp::new();
    let mut tokens = vec![0; remote.len() / CODES];
    let stages = Some(ramp.stages());
    let gathered = gather.collect(request, block, stages, remote, &mut tokens, wait_state);
    let gathered = gathered.unwrap();
    assert!(gathered.waited < LONG / 2, "nothing woke it");
    gathered
}

/// So long that a test reaches half of it only if a wake-up is lost.
const LONG: Duration = Duration::from_secs(120);

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
fn complete_codes_are_decoded_in_the_order_of_the_tokens() {
    let gather = gather(coded());
    let mut remote = vec![-1.0; 6 * CODES];
    gather.begin(0).unwrap();
    for block in 0..BLOCKS as u8 {
        send(&gather, 0, block, 2);
        send(&gather, 0, block, 0);
        let outcome = collect(
            &gather,
            (0, usize::from(block)),
            &mut remote,
            &mut wait_state(LONG),
        );
        assert_eq!((outcome.arrived, outcome.missing), (6, 0));
        assert_eq!(remote, rows(0, block, &OTHERS));
    }
    let received = gather.take_stats();
    assert_eq!((received.late, received.refused), (0, 0));
}

#[test]
fn frames_of_the_next_block_and_the_next_request_are_buffered() {
    let gather = gather(coded());
    let mut remote = vec![-1.0; 6 * CODES];
    for request in 0..4 {
        // Other members may send codes of the first block before the request begins here.
        send(&gather, request, 0, 0);
        gather.begin(request).unwrap();
        send(&gather, request, 1, 0);
        for block in 0..BLOCKS as u8 {
            if block > 1 {
                send(&gather, request, block, 0);
            }
            send(&gather, request, block, 2);
            let outcome = collect(
                &gather,
                (request, usize::from(block)),
                &mut remote,
                &mut wait_state(LONG),
            );
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
fn a_frame_that_arrives_twice_counts_once() {
    let gather = gather(coded());
    gather.begin(0).unwrap();
    send(&gather, 0, 0, 2);
    send(&gather, 0, 0, 2);
    let mut remote = vec![-1.0; 6 * CODES];
    let outcome = collect(
        &gather,
        (0, 0),
        &mut remote,
        &mut wait_state(Duration::ZERO),
    );
    assert_eq!((outcome.arrived, outcome.missing), (3, 3));
}

#[test]
fn foreign_frames_are_counted_and_dropped() {
    let gather = gather(coded());
    let layout = coded();
    gather.begin(1).unwrap();
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
        for frame in frames(Framer::new(header, layout, &codes, SideInfo::NONE).unwrap()) {
            gather.receive(&frame);
        }
    }
    gather.receive(b"");
    gather.receive(&[0xff; 2000]);
    let received = gather.take_stats();
    // The frame of the earlier request is late.
    assert_eq!(
        (received.frames, received.late, received.refused),
        (11, 1, 10)
    );
    let nothing = gather.collect(
        1,
        0,
        None,
        &mut [0.0; 24],
        &mut [0; 6],
        &mut wait_state(Duration::ZERO),
    );
    assert_eq!(nothing.unwrap().arrived, 0);
}
