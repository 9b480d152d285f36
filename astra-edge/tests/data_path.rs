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
use astra_model::engine::{
    Codec, FullModel, Heartbeat, Input, Member, Modality, Model, OwnedInput,
};
use astra_model::mean::mean;
use astra_model::partition::{TokenRange, split};
use astra_model::simulate::Simulation;
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

/// Runs `requests` requests with a thread per member; every `lose`th frame of the last member is lost.
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
            let (bundle, runtime, pixels) =
                (Arc::clone(&bed.bundle), bed.runtime.clone(), bed.pixels());
            std::thread::spawn(move || {
                let shape = bundle.manifest().shape;
                let modality = Modality::of(bundle.manifest());
                let mut model = Model::open(&runtime, bundle.dir(), &shape, modality).unwrap();
                let codec = Arc::new(Codec::load(&bundle, rung).unwrap());
                let lose = if me + 1 == plan.ranges.len() { lose } else { 0 };
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
    let outcomes = run(&bed, 320, &sizes, 1, 0, LONG);
    let mut model = bed.model();
    let codec = Codec::load(&bed.bundle, 320).unwrap();
    let pixels = bed.pixels();
    let mut simulation = Simulation::new(&model, &codec, &ranges(&sizes)).unwrap();
    let input = Input::Pixels(&pixels);
    let features = simulation.run(&mut model, &codec, input).unwrap();
    let patches: Vec<f32> = outcomes
        .iter()
        .flat_map(|m| m[0].features.clone())
        .collect();
    assert_eq!(patches, features.patches);
    for (outcome, tokens) in outcomes.iter().zip(sizes) {
        let stats = &outcome[0].stats;
        let blocks = bed.bundle.manifest().shape.blocks as u64;
        assert_eq!(stats.code_bytes_sent, blocks * u64::from(tokens) * 40);
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
