//! Sessions share one arena, and return its memory to the system.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod common;

use astra_model::engine::{Codec, FullModel, Input, Member};
use astra_model::partition::TokenRange;
use common::Bed;

/// Private memory of this process in MB.
fn private_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.expect("Linux says so").trim().trim_end_matches(" kB");
    kilobytes.parse::<f64>().unwrap() / 1e3
}

#[test]
fn sessions_share_an_arena_and_release_it() {
    let bed = Bed::open();
    let pixels = bed.pixels();
    let mut model = bed.model();
    let codec = Codec::load(&bed.bundle, 320).unwrap();
    let shape = *model.shape();
    let range = TokenRange {
        first: 0,
        tokens: u16::try_from(shape.tokens).unwrap(),
    };
    let mut member = Member::new(&model, &codec, range, 0).unwrap();
    member.embed(&mut model, Input::Pixels(&pixels)).unwrap();
    let mut run = |blocks: std::ops::Range<usize>| {
        // The first run of a graph measures the memory it needs, the second allocates it at once.
        for block in blocks.clone().chain(blocks) {
            member.local(&mut model, block).unwrap();
            member.finish_block(&mut model, &codec, block, 0).unwrap();
        }
        private_memory()
    };
    let of_one = run(0..1);
    let of_all = run(0..shape.blocks);
    assert!(
        of_all - of_one < 8.0,
        "one block computes in {of_one:.1} MB, all in {of_all:.1} MB"
    );

    let mut whole = FullModel::open(&bed.runtime, bed.bundle.dir(), bed.bundle.manifest()).unwrap();
    bed.runtime.release_memory();
    let before = private_memory();
    whole.run(&pixels).unwrap();
    whole.run(&pixels).unwrap();
    let computed = private_memory();
    bed.runtime.release_memory();
    let after = private_memory();
    assert!(
        computed - before > 4.0 && after - before < (computed - before) / 4.0,
        "before {before:.1} MB, computed in {computed:.1} MB, after its release {after:.1} MB"
    );
    // Released memory can be allocated again.
    whole.run(&pixels).unwrap();
}
