//! Memory of slots, and where entries of refined tokens lie.

use astra_wire::Refinement;

use super::super::sizes::first_entry;
use super::*;

fn refinement(share: u8, codes: u16) -> Refinement {
    Refinement {
        share,
        codes,
        bits: 8,
    }
}

fn layout(codes: u16, refinement: Option<Refinement>) -> Layout {
    Layout::new(160, codes, 8, refinement).unwrap()
}

fn plan(causal: bool) -> Plan {
    let range = |first, tokens| TokenRange { first, tokens };
    Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung: 160,
        causal,
        ranges: vec![range(0, 1000), range(1000, 1048)],
    }
}

/// Bytes of a slot for each token but the words of progress, of 1,000 tokens of 30 blocks.
fn bytes_per_token(layouts: &[Layout]) -> f64 {
    let progress = 30 * 2 * 8;
    let bytes = received_bytes(&plan(true), 1, layouts);
    (bytes - progress) as f64 / 30_000.0
}

#[test]
fn memory_is_what_the_module_says() {
    assert_eq!(bytes_per_token(&[layout(20, None); 30]), 44.0);
    let mut ramp: Vec<Layout> = (1..30)
        .map(|codes| layout(codes, Some(refinement(13, 3 * codes))))
        .collect();
    ramp.push(layout(30, Some(refinement(13, 90))));
    let entries = (26.0_f64 * 1000.0 / 256.0).ceil() * 180.0 / 1000.0;
    assert_eq!(bytes_per_token(&ramp), 66.0 + entries);
    assert_eq!((66.0 + entries).round(), 84.0);
    let exact = Layout::new(0, 384, 32, None).unwrap();
    assert_eq!(bytes_per_token(&[exact; 30]), 384.0 * 4.0 + 2.0 * 4.0);
}

#[test]
fn a_causal_member_buffers_only_earlier_tokens() {
    let layouts = [layout(20, None); 30];
    // Only the counts of its members.
    assert_eq!(received_bytes(&plan(true), 0, &layouts), 30 * 2 * 8);
    assert_eq!(
        received_bytes(&plan(false), 0, &layouts),
        8 * (2048 * 44 + 2 * 8)
    );
}

#[test]
fn entries_of_frames_never_overlap() {
    for share in 1..=astra_wire::MAX_SHARE {
        let second = refinement(share, 1);
        for first in 0..520 {
            for tokens in 1..260 {
                let end = first_entry(&second, first) + usize::from(second.tokens(tokens));
                let next = first_entry(&second, first + usize::from(tokens));
                assert!(end <= next, "{share}: {tokens} tokens from {first} on");
            }
        }
    }
    // Their numbers, from 1 on, fit 16 bits.
    assert_eq!(first_entry(&refinement(64, 1), 1 << 16), 1 << 15);
}
