//! The data path compared with the full model on one device: members are threads that exchange frames without a network.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use astra_edge::job::{DataPath, Job, JobOutput};
use astra_edge::plan::Plan;
use astra_model::engine::{Codec, FullModel, Heartbeat, Input, Member, OwnedInput};
use astra_model::fixtures::RAGGED;
use astra_model::mean::mean;
use astra_model::partition::{TokenRange, split};
use astra_model::simulate::{Features, Simulation};
use common::wire::{Wire, ranges};
use common::{Bed, worst};

fn plan(rung: u16, sizes: &[u16]) -> Plan {
    Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung,
        causal: false,
        ranges: ranges(sizes),
    }
}

/// Runs `requests` requests with a thread per member; every `lose`th frame of the last member is lost, or all frames of all members
/// where that is 1.
fn run(
    bed: &Bed,
    rung: u16,
    sizes: &[u16],
    requests: u32,
    lose: usize,
    deadline: Duration,
) -> Vec<Vec<JobOutput>> {
    let plan = Arc::new(plan(rung, sizes));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        sizes.iter().map(|_| std::sync::mpsc::channel()).unzip();
    let members: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(me, frames)| {
            let (plan, senders) = (Arc::clone(&plan), senders.clone());
            let (bed, pixels) = (bed.clone(), bed.pixels());
            std::thread::spawn(move || {
                let shape = bed.bundle.manifest().shape;
                let mut model = bed.model();
                let codec = Arc::new(bed.codec(rung));
                let last = me + 1 == plan.ranges.len();
                // Where all frames are lost, they are those of every member.
                let lose = if last || lose == 1 { lose } else { 0 };
                let layouts = codec.layouts().collect();
                let wire = Wire::new(frames, plan.receivers(me), lose, layouts);
                let width = pixels.len() / shape.tokens;
                let range = plan.ranges[me];
                let mut path = DataPath::new(&model, codec, plan, me, Box::new(wire)).unwrap();
                for (other, sender) in senders.iter().enumerate() {
                    if other != me {
                        sender.send(Arc::clone(path.gather())).unwrap();
                    }
                }
                let beats = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&beats);
                model.set_heartbeat(Heartbeat::new(move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                }));
                let own = pixels[range.indexes().start * width..range.end() * width].to_vec();
                let outcomes = (0..requests).map(|request| {
                    let order = Job {
                        request,
                        deadline,
                        input: OwnedInput::Pixels(own.clone()),
                    };
                    path.run(&mut model, &order).unwrap()
                });
                let outcomes = outcomes.collect::<Vec<_>>();
                // The heartbeat beats at every block.
                let blocks = shape.blocks * outcomes.len();
                assert_eq!(beats.load(Ordering::Relaxed), blocks);
                outcomes
            })
        })
        .collect();
    members.into_iter().map(|m| m.join().unwrap()).collect()
}

const LONG: Duration = Duration::from_secs(300);

#[test]
fn exact_mode_over_frames_gives_the_one_device_answer() {
    let bed = Bed::open();
    let whole = bed.whole();
    for sizes in [&[85, 86, 85][..], &[200, 55, 1], &[3, 253]] {
        let outcomes = run(&bed, 0, sizes, 2, 0, LONG);
        for request in 0..2 {
            let of_request: Vec<&JobOutput> = outcomes.iter().map(|m| &m[request]).collect();
            let copies: Vec<&[f32]> = of_request.iter().map(|o| o.cls.as_slice()).collect();
            let patches: Vec<f32> = of_request.iter().flat_map(|o| o.features.clone()).collect();
            assert!(
                worst(&mean(copies.iter().copied()).unwrap(), &whole.cls) < 1e-3,
                "{sizes:?}"
            );
            assert!(worst(&patches, &whole.patches) < 1e-3, "{sizes:?}");
            assert!(of_request.iter().all(|o| o.stats.masked_tokens == 0));
        }
    }
}

#[test]
fn features_equal_those_of_the_simulation() {
    let bed = Bed::open();
    let sizes = [100, 80, 76];
    for rung in [320, RAGGED] {
        let outcomes = run(&bed, rung, &sizes, 1, 0, LONG);
        let (features, masked) = simulated(&bed, rung, &sizes, 0.0);
        assert_eq!((patches(&outcomes), masked), (features.patches, 0));
        let codec = bed.codec(rung);
        let bytes = |tokens| {
            codec
                .layouts()
                .map(move |layout| layout.packed_bytes(tokens))
        };
        assert_sent(&outcomes, &sizes.map(|tokens| bytes(tokens).sum()));
    }
}

/// A receiver that gets nothing predicts, where the rung does, and else attends to its own tokens.
#[test]
fn losing_all_frames_equals_the_simulation() {
    let bed = Bed::open();
    let sizes = [128, 128];
    for rung in [640, RAGGED] {
        let outcomes = run(&bed, rung, &sizes, 1, 1, Duration::from_secs(3));
        let (features, masked) = simulated(&bed, rung, &sizes, 1.0);
        assert_eq!(patches(&outcomes), features.patches, "rung {rung}");
        let counted = outcomes.iter().map(|m| m[0].stats.masked_tokens);
        assert_eq!(counted.sum::<u64>(), masked);
    }
}

#[test]
fn simulated_losses_follow_from_their_seed_and_cost_more_the_more_is_lost() {
    let bed = Bed::open();
    let (mut model, pixels) = (bed.model(), bed.pixels());
    let whole = bed.whole();
    let sizes = [64; 4];
    let sent = 3 * 256 * bed.bundle.manifest().shape.blocks as u64;
    for rung in [0, 640, RAGGED] {
        let codec = bed.codec(rung);
        let mut run = |share: f64, seed: u64| {
            let simulation = Simulation::new(&model, &codec, &ranges(&sizes)).unwrap();
            let mut simulation = simulation.with_losses(share, seed);
            let input = Input::Pixels(&pixels);
            let features = simulation.run(&mut model, &codec, input).unwrap();
            (features.patches, simulation.masked_tokens())
        };
        let [all, few, again, other, most] = [(0.0, 1), (0.1, 1), (0.1, 1), (0.1, 2), (0.8, 1)]
            .map(|(share, seed)| run(share, seed));
        assert_eq!(few, again);
        assert_ne!(few.0, other.0);
        assert_eq!(all.1, 0);
        assert!(few.1 > 0 && few.1 < most.1 && most.1 < sent);
        // A random second stage makes no better answers of more tokens.
        if rung != RAGGED {
            let near = |patches: &[f32]| common::cosine(patches, &whole.patches);
            assert!(near(&most.0) < near(&few.0), "rung {rung}");
            assert!(near(&few.0) < near(&all.0), "rung {rung}");
        }
    }
}

/// Features and masked tokens of the simulation, in which each frame is lost with probability `share`.
fn simulated(bed: &Bed, rung: u16, sizes: &[u16], share: f64) -> (Features, u64) {
    let (mut model, codec, pixels) = (bed.model(), bed.codec(rung), bed.pixels());
    let simulation = Simulation::new(&model, &codec, &ranges(sizes)).unwrap();
    let mut simulation = simulation.with_losses(share, 1);
    let input = Input::Pixels(&pixels);
    let features = simulation.run(&mut model, &codec, input).unwrap();
    (features, simulation.masked_tokens())
}

fn patches(outcomes: &[Vec<JobOutput>]) -> Vec<f32> {
    let features = outcomes.iter().map(|m| m[0].features.clone());
    features.collect::<Vec<_>>().concat()
}

/// Every member sent `bytes` of codes, and headers besides.
fn assert_sent(outcomes: &[Vec<JobOutput>], bytes: &[u64]) {
    for (outcome, &bytes) in outcomes.iter().zip(bytes) {
        let stats = &outcome[0].stats;
        assert_eq!(stats.code_bytes_sent, bytes);
        let headers = stats.bytes_sent - stats.code_bytes_sent;
        assert!(headers <= 24 * stats.frames_sent, "{stats:?}");
        assert_eq!(stats.frames_lost, 0);
    }
}

#[test]
fn lost_frames_are_masked_and_counted_and_the_request_ends() {
    let bed = Bed::open();
    let whole = bed.whole();
    // Every third frame of the last member is lost, so the other member waits for the block's deadline once.
    let outcomes = run(&bed, 640, &[128, 128], 1, 3, Duration::from_secs(3));
    let stats = &outcomes[0][0].stats;
    assert!(stats.masked_tokens > 0, "{stats:?}");
    let received = outcomes[1][0].stats.received;
    assert_eq!((received.late, received.refused), (0, 0));
    let copies: Vec<&[f32]> = outcomes.iter().map(|m| m[0].cls.as_slice()).collect();
    let cosine = common::cosine(&mean(copies.iter().copied()).unwrap(), &whole.cls);
    assert!(
        cosine > 0.8,
        "cosine {cosine} with a third of one member's frames lost"
    );
}

#[test]
fn leaving_out_tokens_equals_a_member_without_them() {
    let bed = Bed::open();
    let mut model = bed.model();
    let codec = Codec::load(&bed.bundle, 0).unwrap();
    let pixels = bed.pixels();
    let width = pixels.len() / bed.bundle.manifest().shape.tokens;
    let range = TokenRange {
        first: 0,
        tokens: 64,
    };
    let hidden = bed.bundle.manifest().shape.hidden;
    let rows: Vec<f32> = (0..10 * hidden)
        .map(|i| (i % 97) as f32 / 97.0 - 0.5)
        .collect();
    let mut features = Vec::new();
    for remote in [10, 192] {
        let mut member = Member::new(&model, &codec, range, remote).unwrap();
        let own = Input::Pixels(&pixels[..64 * width]);
        member.embed(&mut model, own).unwrap();
        for block in 0..model.shape().blocks {
            member.local(&mut model, block).unwrap();
            member.remote_mut(block).unwrap()[..rows.len()].copy_from_slice(&rows);
            member.finish_block(&mut model, &codec, block, 10).unwrap();
        }
        features.push(member.n().to_vec());
    }
    assert!(worst(&features[0], &features[1]) < 1e-5);
}

#[test]
fn one_member_computes_the_full_model() {
    let bed = Bed::open();
    let whole = bed.whole();
    let mut model = bed.model();
    let shape = bed.bundle.manifest().shape;
    let codec = Codec::single_device(&shape).unwrap();
    let pixels = bed.pixels();
    let all = split(shape.tokens as u16, &[1.0]).unwrap();
    let mut simulation = Simulation::new(&model, &codec, &all).unwrap();
    let input = Input::Pixels(&pixels);
    let features = simulation.run(&mut model, &codec, input).unwrap();
    assert!(worst(&features.cls, &whole.cls) < 1e-3);
    assert!(worst(&features.patches, &whole.patches) < 1e-3);
}

#[test]
fn wrong_lengths_and_blocks_are_refused() {
    let bed = Bed::open();
    let mut model = bed.model();
    let shape = bed.bundle.manifest().shape;
    let codec = Codec::load(&bed.bundle, 0).unwrap();
    let range = TokenRange {
        first: 0,
        tokens: 4,
    };
    let mut member = Member::new(&model, &codec, range, 2).unwrap();
    let short = member.embed(&mut model, Input::Pixels(&[0; 100]));
    let short = short.unwrap_err();
    assert_eq!(short.to_string(), "pixels: found 100 values, expected 2352");
    let ids = member.embed(&mut model, Input::Ids(&[0; 5])).unwrap_err();
    assert_eq!(ids.to_string(), "input: found token ids, expected pixels");
    assert!(member.local(&mut model, shape.blocks).is_err());
    assert!(member.attend(&mut model, &codec, 0, 3).is_err());
    let mut whole = FullModel::open(&bed.runtime, bed.bundle.dir(), bed.bundle.manifest()).unwrap();
    assert!(whole.run(&[0; 7]).is_err());
    assert!(Codec::load(&bed.bundle, 7).is_err());
}
