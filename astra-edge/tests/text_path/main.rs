//! The data path for texts compared with one device: members are threads that exchange frames without a network.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

#[path = "../common/mod.rs"]
mod common;
mod members;

use std::time::Duration;

use astra_model::engine::{Codec, Decoder, Encoder, Heartbeat, Input, Member};
use astra_model::fixtures::RAGGED;
use astra_model::partition::{Costs, TokenRange, split};
use astra_model::simulate::Simulation;
use astra_model::tasks::text::tokenizer::Tokenizer;
use common::wire::ranges;
use common::{Bed, worst};
use members::run;

const LANGUAGE: &str = "smollm2-135m-instruct";
const SENTENCES: &str = "all-minilm-l6-v2";
const LONG: Duration = Duration::from_secs(300);
/// Tolerance of exact mode: float32 operations in another order.
const EXACT: f32 = 1e-3;

const PROMPTS: [&str; 3] = [
    "The lighthouse keeper had not spoken to anyone for eleven days when, on the twelfth, a boat came",
    "To make bread at home you need flour, water, salt and yeast. First,",
    "Question: Why is the sky blue in the day and red at sunset? Answer: Sunlight is made of all colours, and",
];

fn ids(bed: &Bed, text: &str) -> Vec<u32> {
    let input = bed.bundle.manifest().text.as_ref().unwrap();
    let tokenizer = Tokenizer::open(bed.bundle.dir(), input).unwrap();
    tokenizer.encode(text).unwrap()
}

fn best(scores: &[f32]) -> u32 {
    let best = (0..).zip(scores).max_by(|a, b| a.1.total_cmp(b.1));
    best.unwrap().0
}

/// Greedy continuation.
fn greedy(decoder: &mut Decoder, scores: &[f32], count: usize) -> Vec<u32> {
    let mut tokens = vec![best(scores)];
    while tokens.len() < count {
        let last = tokens[tokens.len() - 1];
        tokens.push(best(decoder.step(last).unwrap()));
    }
    tokens
}

/// Divides `tokens` tokens of a causal text among `members` members as the cluster does.
fn causal_sizes(bed: &Bed, tokens: usize, members: usize) -> Vec<u16> {
    let shape = &bed.bundle.manifest().shape;
    let costs = Costs::of(shape, shape.hidden, true);
    let ranges = costs.split(tokens as u16, &vec![1.0; members]).unwrap();
    ranges.iter().map(|range| range.tokens).collect()
}

#[test]
fn exact_mode_over_frames_generates_the_text_of_one_device() {
    let bed = Bed::of(LANGUAGE);
    let shape = bed.bundle.manifest().shape;
    let mut head = bed.language_head();
    let mut alone = bed.decoder();
    for (prompt, members) in PROMPTS.iter().zip([2, 3, 4]) {
        let ids = ids(&bed, prompt);
        let expected = alone.prefill(&ids, 0).unwrap().to_vec();
        let expected_tokens = greedy(&mut alone, &expected, 64);

        let sizes = causal_sizes(&bed, ids.len() - shape.class_tokens, members);
        let mut parts = run(&bed, 0, &sizes, &ids, None);
        let last = parts.last_mut().unwrap();
        let features = &last.outcome.features;
        let mut scores = head
            .run(&features[features.len() - shape.hidden..])
            .unwrap();
        let difference = worst(&scores, &expected);
        assert!(difference < EXACT, "{members} members: {difference}");
        let decoder = last.decoder.as_mut().unwrap();
        assert_eq!(decoder.tokens(), ids);
        let tokens = greedy(decoder, &scores, 64);
        assert_eq!(tokens, expected_tokens, "{members} members");
        scores.clear();

        // The first member waits for no other, and the last has no receivers.
        let first = &parts[0].outcome.stats;
        assert_eq!(first.received.frames, 0);
        assert_eq!(first.wait, Duration::ZERO);
        assert!(first.frames_sent > 0);
        let last = &parts[members - 1].outcome.stats;
        assert_eq!((last.frames_sent, last.masked_tokens), (0, 0));
    }
}

#[test]
fn exact_features_equal_those_of_the_simulation() {
    let bed = Bed::of(LANGUAGE);
    let ids = ids(&bed, PROMPTS[0]);
    let sinks = bed.bundle.manifest().shape.class_tokens;
    let sizes = causal_sizes(&bed, ids.len() - sinks, 3);
    let parts = run(&bed, 0, &sizes, &ids, None);
    let features: Vec<f32> = (parts.iter())
        .flat_map(|part| part.outcome.features.clone())
        .collect();
    let mut model = bed.model();
    let codec = Codec::load(&bed.bundle, 0).unwrap();
    let mut simulation = Simulation::new(&model, &codec, &ranges(&sizes)).unwrap();
    let simulated = simulation
        .run(&mut model, &codec, Input::Ids(&ids))
        .unwrap();
    assert_eq!(features, simulated.patches);
    // The first tokens are the same on all members, so their mean is each of them.
    for part in &parts {
        assert!(worst(&part.outcome.cls, &simulated.cls) < 1e-4);
    }
    // One member that owns all tokens computes the fused graph.
    let codec = Codec::single_device(model.shape()).unwrap();
    let all = ranges(&[(ids.len() - sinks) as u16]);
    let mut whole = Simulation::new(&model, &codec, &all).unwrap();
    let whole = whole.run(&mut model, &codec, Input::Ids(&ids)).unwrap();
    assert!(worst(&whole.patches, &simulated.patches) < EXACT);
    assert!(worst(&whole.cls, &simulated.cls) < EXACT);
}

#[test]
fn decoded_features_equal_those_of_the_simulation() {
    let bed = Bed::of(LANGUAGE);
    let ids = ids(&bed, PROMPTS[1]);
    let shape = bed.bundle.manifest().shape;
    let sizes = causal_sizes(&bed, ids.len() - shape.class_tokens, 3);
    let mut model = bed.model();
    for rung in [320, RAGGED] {
        let parts = run(&bed, rung, &sizes, &ids, None);
        let features: Vec<f32> = (parts.iter())
            .flat_map(|part| part.outcome.features.clone())
            .collect();
        let codec = bed.codec(rung);
        let mut simulation = Simulation::new(&model, &codec, &ranges(&sizes)).unwrap();
        let simulated = simulation
            .run(&mut model, &codec, Input::Ids(&ids))
            .unwrap();
        assert_eq!(features, simulated.patches, "rung {rung}");
        for (part, &tokens) in parts.iter().zip(&sizes).take(2) {
            let bytes = codec.layouts().map(|layout| layout.packed_bytes(tokens));
            assert_eq!(part.outcome.stats.code_bytes_sent, bytes.sum::<u64>());
        }
        assert_eq!(parts[2].decoder.as_ref().unwrap().rung(), rung);
    }
}

#[test]
fn a_missing_member_is_left_out_and_no_cache_is_filled() {
    let bed = Bed::of(LANGUAGE);
    let ids = ids(&bed, PROMPTS[1]);
    let sizes = [4, 4, (ids.len() - 12) as u16];
    let parts = run(&bed, 0, &sizes, &ids, Some(0));
    let middle = &parts[1].outcome;
    assert_eq!(middle.stats.masked_tokens, 4 * 30);
    assert!(middle.features.iter().all(|value| value.is_finite()));
    let last = &parts[2];
    assert_eq!(last.outcome.stats.masked_tokens, 4);
    assert!(last.outcome.features.is_empty());
    assert!(last.decoder.as_ref().unwrap().tokens().is_empty());
}

#[test]
fn leaving_out_tokens_keeps_the_positions_of_the_others() {
    let bed = Bed::of(LANGUAGE);
    let mut model = bed.model();
    let codec = Codec::load(&bed.bundle, 0).unwrap();
    let ids = ids(&bed, PROMPTS[2]);
    let (sinks, hidden) = (model.shape().class_tokens, model.shape().hidden);
    let range = TokenRange {
        first: 6,
        tokens: 5,
    };
    let own = [&ids[..sinks], &ids[sinks + 6..sinks + 11]].concat();
    let rows: Vec<f32> = (0..6 * hidden)
        .map(|i| (i % 97) as f32 / 97.0 - 0.5)
        .collect();
    let mut run = |order: &[usize]| {
        let mut member = Member::new(&model, &codec, range, 6).unwrap();
        member.embed(&mut model, Input::Ids(&own)).unwrap();
        for block in 0..model.shape().blocks {
            member.local(&mut model, block).unwrap();
            let (remote, tokens) = member.remote_rows_mut(block).unwrap();
            for (row, &token) in order.iter().enumerate() {
                let from = token * hidden..(token + 1) * hidden;
                remote[row * hidden..(row + 1) * hidden].copy_from_slice(&rows[from]);
                tokens[row] = token;
            }
            let codec = &codec;
            member
                .finish_block(&mut model, codec, block, order.len())
                .unwrap();
        }
        member.n().to_vec()
    };
    let all = run(&[0, 1, 2, 3, 4, 5]);
    let some = run(&[0, 2, 3, 5]);
    assert!(
        worst(&all, &some) > 1e-2,
        "tokens left out change the output"
    );
    // Attention does not depend on the order of rows, only on their positions.
    let shuffled = run(&[5, 0, 3, 2]);
    assert!(worst(&some, &shuffled) < 1e-3);
    let none = run(&[]);
    assert!(none.iter().all(|value| value.is_finite()));
}

#[test]
fn follow_ups_reuse_cached_tokens() {
    let bed = Bed::of(LANGUAGE);
    let text = ids(&bed, PROMPTS[0]);
    let mut decoder = bed.decoder();
    let fresh = decoder.prefill(&text, 0).unwrap().to_vec();
    // All tokens but the last are cached.
    assert_eq!(decoder.reusable_tokens(&text, 0), text.len() - 1);
    let again = decoder.prefill(&text, text.len() - 1).unwrap().to_vec();
    assert!(worst(&fresh, &again) < EXACT);
    // After generated tokens, and after a part of the cached tokens.
    let tokens = greedy(&mut decoder, &fresh, 200);
    let longer = [text.as_slice(), &tokens, &text].concat();
    let there = decoder.reusable_tokens(&longer, 0);
    assert_eq!(there, text.len() + 199, "the last token was not fed");
    let continued = decoder.prefill(&longer, there).unwrap().to_vec();
    let mut other = bed.decoder();
    let anew = other.prefill(&longer, 0).unwrap().to_vec();
    assert!(
        worst(&continued, &anew) < EXACT,
        "{}",
        worst(&continued, &anew)
    );
    let another = [&text[..5], &[0, 1, 2]].concat();
    assert_eq!(decoder.reusable_tokens(&another, 0), 5);
    decoder.prefill(&another, 5).unwrap();
    assert_eq!(decoder.tokens(), another);
    // Keys and values from codes are reused only at their own rung.
    decoder.set_tokens(&another, 320);
    assert_eq!(decoder.reusable_tokens(&another, 0), 0);
    assert_eq!(decoder.reusable_tokens(&another, 320), another.len() - 1);
}

#[test]
fn the_output_for_a_long_prompt_does_not_depend_on_its_chunks() {
    let bed = Bed::of(LANGUAGE);
    let text: Vec<u32> = (0..700).map(|i| 1000 + (i * 7919) % 40_000).collect();
    let mut decoder = bed.decoder();
    let (sender, beats) = std::sync::mpsc::channel();
    decoder.set_heartbeat(Heartbeat::new(move || {
        let _ = sender.send(());
    }));
    // 512 and 188 tokens; then 100, 512 and 88.
    let whole = decoder.prefill(&text, 0).unwrap().to_vec();
    assert_eq!(beats.try_iter().count(), 2);
    decoder.clear(1).unwrap();
    decoder.prefill(&text[..100], 0).unwrap();
    let continued = decoder.prefill(&text, 100).unwrap().to_vec();
    assert!(
        worst(&whole, &continued) < EXACT,
        "{}",
        worst(&whole, &continued)
    );
    // The graphs of single blocks, all tokens at once.
    let mut model = bed.model();
    let codec = Codec::single_device(model.shape()).unwrap();
    let sinks = model.shape().class_tokens;
    let all = ranges(&[(text.len() - sinks) as u16]);
    let mut simulation = Simulation::new(&model, &codec, &all).unwrap();
    let features = simulation
        .run(&mut model, &codec, Input::Ids(&text))
        .unwrap();
    let last = features.patches.len() - model.shape().hidden;
    let scores = bed.language_head().run(&features.patches[last..]).unwrap();
    assert!(worst(&whole, &scores) < EXACT, "{}", worst(&whole, &scores));
}

#[test]
fn the_decoder_refuses_invalid_input() {
    let bed = Bed::of(LANGUAGE);
    let longest = bed.bundle.manifest().text.as_ref().unwrap().max_tokens;
    let mut decoder = bed.decoder();
    let error = decoder.prefill(&vec![1; longest + 1], 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "tokens of the text: found {} values, expected {longest}",
            longest + 1
        )
    );
    assert!(decoder.prefill(&[], 0).is_err());
    assert!(decoder.prefill(&[1, 2], 2).is_err());
    assert!(decoder.fill(0, &[0.0; 192], &[0.0; 192]).is_err());
    decoder.clear(1).unwrap();
    assert!(decoder.fill(30, &[0.0; 192], &[0.0; 192]).is_err());
    assert!(decoder.fill(0, &[0.0; 192], &[0.0; 191]).is_err());
    decoder.fill(0, &[0.0; 192], &[0.0; 192]).unwrap();
    // ONNX Runtime refuses an id beyond the vocabulary; the decoder can still be used.
    assert!(decoder.prefill(&[u32::MAX], 0).is_err());
    decoder.prefill(&[1], 0).unwrap();
}

#[test]
fn embeddings_over_frames_equal_those_of_one_device() {
    let bed = Bed::of(SENTENCES);
    let ids = ids(&bed, PROMPTS[2]);
    let mut whole = Encoder::open(&bed.runtime, bed.bundle.dir()).unwrap();
    let expected = whole.run(&ids).unwrap();
    for members in [2, 3, 4] {
        let ranges = split(ids.len() as u16, &vec![1.0; members]).unwrap();
        let sizes: Vec<u16> = ranges.iter().map(|range| range.tokens).collect();
        let parts = run(&bed, 0, &sizes, &ids, None);
        let features: Vec<f32> = (parts.iter())
            .flat_map(|part| part.outcome.features.clone())
            .collect();
        let difference = worst(&features, &expected);
        assert!(difference < EXACT, "{members} members: {difference}");
    }
}
