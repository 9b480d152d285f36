//! Refined tokens: frames of which some are lost, repeated or divided in another way.

use super::model::{Block, Random};
use super::*;

const RANK: usize = 6;

/// The middle one of three members of 40 tokens, and the only block's tables: a quarter of the tokens is refined.
fn setting(causal: bool) -> (Gather, Block) {
    let range = |first| TokenRange { first, tokens: 40 };
    let plan = Plan {
        id: 7,
        version: astra_wire::VERSION,
        epoch: 5,
        rung: 40,
        causal,
        ranges: vec![range(0), range(40), range(80)],
    };
    let block = Block::new(4, 64, 3);
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, vec![block.layout], false, thread);
    gather.begin(0).unwrap();
    (gather, block)
}

fn of(sender: u8) -> CodeHeader {
    CodeHeader {
        sender,
        ..header(coded(), 0, 0, 0)
    }
}

/// Gathers the block: its rows and, where some are missing, their tokens.
fn gathered(gather: &Gather, block: &Block) -> (Vec<f32>, Vec<usize>) {
    let (mut remote, mut tokens) = (vec![-1.0; 80 * RANK], vec![0; 80]);
    let mut wait = wait_state(Duration::ZERO);
    let found = gather.collect(0, 0, block.stages(), &mut remote, &mut tokens, &mut wait);
    let arrived = found.unwrap().arrived;
    remote.truncate(arrived * RANK);
    tokens.truncate(arrived);
    (remote, tokens)
}

#[test]
fn a_lost_refined_frame_loses_only_its_own_tokens() {
    let (gather, block) = setting(false);
    let mut random = Random(1);
    let mut expected = Vec::new();
    // Two chunks of the first member's tokens, of which one frame is lost, and one of the last.
    for (sender, tokens, is_lost) in [
        (0, 0..7, false),
        (0, 7..20, true),
        (0, 20..21, false),
        (0, 21..40, false),
        (2, 80..120, false),
    ] {
        let (frame, rows) = block.frame(of(sender), tokens, &mut random);
        if !is_lost {
            gather.receive(&frame);
            expected.extend(rows);
        }
    }
    let (rows, tokens) = gathered(&gather, &block);
    assert!(tokens.iter().eq(expected.iter().map(|(token, _)| token)));
    assert!(
        rows.chunks(RANK)
            .eq(expected.iter().map(|(_, row)| &row[..]))
    );
}

#[test]
fn frames_of_another_division_spoil_only_their_senders_tokens() {
    let (gather, block) = setting(false);
    let mut random = Random(2);
    let (good, rows) = block.frame(of(2), 80..120, &mut random);
    gather.receive(&good);
    // Every frame of the first member there can be.
    for first in 0..40 {
        for end in first + 1..=40 {
            let (frame, _) = block.frame(of(0), first..end, &mut random);
            gather.receive(&frame);
        }
    }
    let stats = gather.take_stats();
    assert_eq!((stats.late, stats.refused), (0, 0));
    let (found, _) = gathered(&gather, &block);
    assert_eq!(found.len(), 80 * RANK);
    let (of_first, of_last) = found.split_at(40 * RANK);
    assert!(of_last.chunks(RANK).eq(rows.values().map(|row| &row[..])));
    // Sums of two words, whichever.
    assert!(
        of_first
            .iter()
            .all(|value| (0.0..=256.0 * 6.25).contains(value))
    );
}

#[test]
fn a_frame_without_a_mean_takes_that_of_no_other() {
    let (_, block) = setting(false);
    let block = block.with_mean(4);
    let range = |first| TokenRange { first, tokens: 40 };
    let plan = Plan {
        id: 7,
        version: astra_wire::VERSION,
        epoch: 5,
        rung: 40,
        causal: false,
        ranges: vec![range(0), range(40), range(80)],
    };
    let thread = std::thread::current();
    let gather = Gather::new(Arc::new(plan), 1, vec![block.layout], false, thread);
    for request in 0..2 {
        gather.begin(request).unwrap();
        let mut random = Random(8);
        let mut expected = Vec::new();
        // Long frames and short ones, which have none, of the same tokens in turns.
        let sizes = if request == 0 {
            [8, 16, 7, 9]
        } else {
            [7, 9, 8, 16]
        };
        for (sender, start) in [(0, 0), (2, 80)] {
            let header = CodeHeader {
                request,
                ..of(sender)
            };
            let mut next = start;
            for size in sizes {
                let (frame, rows) = block.frame(header, next..next + size, &mut random);
                gather.receive(&frame);
                expected.extend(rows.into_values());
                next += size;
            }
        }
        let (mut remote, mut tokens) = (vec![-1.0; 80 * RANK], vec![0; 80]);
        let mut wait = wait_state(Duration::ZERO);
        let stages = block.stages();
        let found = gather.collect(request, 0, stages, &mut remote, &mut tokens, &mut wait);
        assert_eq!(found.unwrap().arrived, 80);
        assert!(remote.chunks(RANK).eq(expected.iter().map(|row| &row[..])));
        gather.end(request);
    }
}

#[test]
fn a_refined_frame_that_arrives_late_is_counted_and_changes_nothing() {
    let (gather, block) = setting(false);
    let mut random = Random(3);
    let (frame, _) = block.frame(of(0), 0..40, &mut random);
    let (rows, tokens) = gathered(&gather, &block);
    assert!(rows.is_empty() && tokens.is_empty());
    gather.receive(&frame);
    let stats = gather.take_stats();
    assert_eq!((stats.frames, stats.late, stats.refused), (1, 1, 0));
}

#[test]
fn refined_tokens_of_a_causal_plan_are_those_before() {
    let (gather, block) = setting(true);
    let (frame, rows) = block.frame(of(0), 0..40, &mut Random(4));
    let (later, _) = block.frame(of(2), 80..120, &mut Random(5));
    gather.receive(&later);
    gather.receive(&frame);
    assert_eq!(gather.take_stats().refused, 1);
    let (found, _) = gathered(&gather, &block);
    assert!(found.chunks(RANK).eq(rows.values().map(|row| &row[..])));
}

#[test]
fn damaged_refined_parts_are_refused() {
    let (gather, block) = setting(false);
    let (good, _) = block.frame(of(0), 0..40, &mut Random(6));
    let first_position = good.len() - 10 * 3 - 60_usize.div_ceil(8);
    for at in [first_position, first_position + 7] {
        let mut frame = good.clone();
        // Positions that do not ascend, and padding.
        frame[at] ^= 0xff;
        gather.receive(&frame);
        assert_eq!(gather.take_stats().refused, 1, "byte {at}");
    }
    gather.receive(&good[..good.len() - 1]);
    assert_eq!(gather.take_stats().refused, 1);
    assert!(gathered(&gather, &block).1.is_empty());
}

#[test]
fn refined_tokens_without_a_second_codebook_are_an_error() {
    let (gather, block) = setting(true);
    let (frame, _) = block.frame(of(0), 0..40, &mut Random(7));
    gather.receive(&frame);
    let stages = block.stages().map(|stages| Stages {
        second: None,
        ..stages
    });
    let (mut remote, mut tokens) = (vec![0.0; 40 * RANK], vec![0; 40]);
    let mut wait = wait_state(Duration::ZERO);
    let end = gather.collect(0, 0, stages, &mut remote, &mut tokens, &mut wait);
    assert!(matches!(end, Err(GatherError::SecondStage)));
}
