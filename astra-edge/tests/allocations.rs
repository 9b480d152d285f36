//! The data path asks the allocator for nothing between the first block of a request and its last, once the plan stands.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use astra_edge::job::{DataPath, Job};
use astra_edge::plan::Plan;
use astra_model::engine::{Codec, Input, Member, Modality, Model, OwnedInput};
use common::Bed;
use common::wire::{Wire, ranges};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being taken down has none.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls on this thread.
fn calls(of: impl FnOnce()) -> usize {
    let before = CALLS.get();
    of();
    CALLS.get() - before
}

/// What ONNX Runtime's binding for Rust asks for itself in the steps of a request.
fn calls_of_steps(model: &mut Model, codec: &Codec, plan: &Plan, pixels: &[u8]) -> usize {
    let remote = plan.remote_tokens(0);
    let mut member = Member::new(model, codec, plan.ranges[0], remote).unwrap();
    let mut steps = || {
        member.embed(model, Input::Pixels(pixels)).unwrap();
        for block in 0..model.shape().blocks {
            member.local(model, block).unwrap();
            member.predict_own(model, block).unwrap();
            member.predict_remote(model, block).unwrap();
            member.finish_block(model, codec, block, remote).unwrap();
        }
    };
    steps();
    calls(steps)
}

#[test]
fn blocks_allocate_nothing_of_ours() {
    assert!(
        calls(|| drop(std::hint::black_box(vec![0_u8; 64]))) > 0,
        "the counter counts"
    );
    let bed = Bed::open();
    let plan = Arc::new(Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung: 320,
        causal: false,
        ranges: ranges(&[128, 128]),
    });
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| std::sync::mpsc::channel()).unzip();
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
                let codec = Arc::new(Codec::load(&bundle, plan.rung).unwrap());
                let width = pixels.len() / shape.tokens;
                let own = plan.ranges[me].indexes();
                let own = pixels[own.start * width..own.end * width].to_vec();
                let steps = calls_of_steps(&mut model, &codec, &plan, &own);
                let wire = Wire::new(frames, plan.receivers(me), 0, codec.layout().unwrap());
                let mut path = DataPath::new(&model, codec, plan, me, Box::new(wire)).unwrap();
                senders[1 - me].send(Arc::clone(path.gather())).unwrap();
                let mut counts = Vec::new();
                for request in 0..2 {
                    let order = Job {
                        request,
                        deadline: Duration::from_secs(300),
                        input: OwnedInput::Pixels(own.clone()),
                    };
                    counts.push(calls(|| drop(path.run(&mut model, &order).unwrap())));
                }
                (steps, counts, shape.blocks)
            })
        })
        .collect();
    for member in members {
        let (steps, counts, blocks) = member.join().unwrap();
        // The answer of a request is a few vectors; one allocation a block would be more. The second request is the first that
        // finds everything there, and the last that goes in one piece, as the steps did, however slow the machine is.
        let ours = counts[1].saturating_sub(steps);
        assert!(
            ours < blocks,
            "{ours} of ours in {blocks} blocks: {counts:?}, {steps} of the steps alone"
        );
        eprintln!("{ours} allocations of ours in a request of {blocks} blocks");
    }
}
