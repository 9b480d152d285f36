//! Once its plan stands, the data path allocates nothing in the blocks of a request: its only allocations are the two vectors of the
//! answer. Counted is every call of the allocator on the thread that computes, but for those of `ort` where it runs a session: it
//! makes a value of each output. ONNX Runtime itself, which is no Rust, has an allocator of its own.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use astra_edge::job::{DataPath, Job};
use astra_edge::plan::Plan;
use astra_model::engine::OwnedInput;
use astra_model::fixtures::RAGGED;
use common::Bed;
use common::wire::{Wire, ranges};

struct Counting;

thread_local! {
    /// Set while calls are recorded.
    static RECORDS: Cell<bool> = const { Cell::new(false) };
    static CALLS: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

/// What keeps the record allocates too, and is not recorded.
fn record() {
    // A thread that is being taken down has none.
    if RECORDS.try_with(|records| records.replace(false)) == Ok(true) {
        let call = Backtrace::force_capture();
        CALLS.with_borrow_mut(|calls| calls.push(call));
        RECORDS.set(true);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record();
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

/// Where this thread called the allocator in `of`.
fn calls(of: impl FnOnce()) -> Vec<String> {
    RECORDS.set(true);
    of();
    RECORDS.set(false);
    let calls = CALLS.take();
    calls.iter().map(ToString::to_string).collect()
}

/// Whether `ort` called the allocator as it ran a session. Without names of functions, no call counts as one of its own.
fn is_of_ort(call: &str) -> bool {
    let mut names = call.lines().filter_map(|line| line.split_once(": "));
    names.any(|(_, name)| name.starts_with("ort::session::") && name.contains("run_binding"))
}

#[test]
fn blocks_allocate_nothing_of_ours() {
    for rung in [320, RAGGED] {
        allocate_nothing(rung);
    }
}

fn allocate_nothing(rung: u16) {
    let calls_of_one = calls(|| drop(std::hint::black_box(vec![0_u8; 64])));
    assert_eq!(calls_of_one.len(), 1);
    assert!(!is_of_ort(&calls_of_one[0]));
    let bed = Bed::open();
    let plan = Arc::new(Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung,
        causal: false,
        ranges: ranges(&[128, 128]),
    });
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| std::sync::mpsc::channel()).unzip();
    let members: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(me, frames)| {
            let (plan, senders) = (Arc::clone(&plan), senders.clone());
            let (bed, pixels) = (bed.clone(), bed.pixels());
            std::thread::spawn(move || {
                let shape = bed.bundle.manifest().shape;
                let mut model = bed.model();
                let codec = Arc::new(bed.codec(plan.rung));
                let width = pixels.len() / shape.tokens;
                let own = plan.ranges[me].indexes();
                let own = pixels[own.start * width..own.end * width].to_vec();
                let wire = Wire::new(frames, plan.receivers(me), 0, Vec::new());
                let mut path = DataPath::new(&model, codec, plan, me, Box::new(wire)).unwrap();
                senders[1 - me].send(Arc::clone(path.gather())).unwrap();
                let mut found = Vec::new();
                for request in 0..2 {
                    let order = Job {
                        request,
                        deadline: Duration::from_secs(300),
                        input: OwnedInput::Pixels(own.clone()),
                    };
                    found = calls(|| drop(path.run(&mut model, &order).unwrap()));
                }
                (found, shape.blocks)
            })
        })
        .collect();
    for member in members {
        // The second request is the first that finds everything in its place.
        let (calls, blocks) = member.join().unwrap();
        let (of_ort, ours): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| is_of_ort(call));
        let of_answer = |call: &&String| call.contains("DataPath::output");
        let answer = ours.iter().filter(of_answer).count();
        assert_eq!((ours.len(), answer), (2, 2), "{}", ours.join("\n\n"));
        // Both kinds occur: each block runs sessions.
        assert!(
            of_ort.len() >= blocks,
            "{} in {blocks} blocks",
            of_ort.len()
        );
    }
}
