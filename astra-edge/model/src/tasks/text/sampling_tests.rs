use super::*;
use proptest::prelude::*;

/// Probabilities by the definitions, one step after the other over all tokens.
fn slow(logits: &[f32], history: &[u32], sampling: &SamplingParams) -> Vec<f64> {
    let mut logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let penalty = f64::from(sampling.repetition_penalty);
    for (token, logit) in logits.iter_mut().enumerate() {
        if history.contains(&(token as u32)) {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
        *logit /= f64::from(sampling.temperature);
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    let softmax = |order: &[usize]| {
        let mut probabilities = vec![0.0; logits.len()];
        let sum: f64 = order.iter().map(|token| logits[*token].exp()).sum();
        for token in order {
            probabilities[*token] = logits[*token].exp() / sum;
        }
        probabilities
    };
    let probabilities = softmax(&order);
    let mut kept = Vec::new();
    let mut mass = 0.0;
    for token in order {
        if mass >= f64::from(sampling.top_p) {
            break;
        }
        mass += probabilities[token];
        kept.push(token);
    }
    softmax(&kept)
}

fn frequencies(
    logits: &[f32],
    history: &[u32],
    sampling: SamplingParams,
    draws: usize,
) -> Vec<f64> {
    let mut sampler = Sampler::new(sampling);
    let mut counts = vec![0.0; logits.len()];
    for _ in 0..draws {
        let token = sampler.pick(&mut logits.to_vec(), history);
        counts[token as usize] += 1.0 / draws as f64;
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tokens_come_as_often_as_the_slow_model_says(
        logits in prop::collection::vec(-4.0_f32..4.0, 1..12),
        history in prop::collection::vec(0_u32..20, 0..6),
        temperature in 0.2_f32..2.0,
        // Beyond 1 so that every step is also tried by itself.
        top_p in 0.05_f32..1.5,
        top_k in 0_u32..14,
        repetition_penalty in prop::sample::select(vec![1.0_f32, 1.3, 0.8]),
        seed: u64,
    ) {
        let top_p = top_p.min(1.0);
        let sampling = SamplingParams { temperature, top_p, top_k, repetition_penalty, seed };
        check(&sampling).unwrap();
        let expected = slow(&logits, &history, &sampling);
        const DRAWS: usize = 2000;
        let found = frequencies(&logits, &history, sampling, DRAWS);
        for (token, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Six standard deviations, and six draws where the expectation is that small.
            let slack = 6.0 * (expected * (1.0 - expected) / DRAWS as f64).sqrt();
            let few = if *expected > 0.0 { 6.0 / DRAWS as f64 } else { 0.0 };
            prop_assert!((found - expected).abs() <= slack + few + 1e-9,
                "token {token}: {found}, expected {expected}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest(
        mut logits in prop::collection::vec(prop::sample::select(vec![-1.0_f32, 0.0, 2.0]), 1..20),
        seed: u64,
    ) {
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let first = logits.iter().position(|logit| *logit == largest).unwrap();
        let mut sampler = Sampler::new(SamplingParams { seed, ..GREEDY });
        prop_assert_eq!(sampler.pick(&mut logits, &[]) as usize, first);
    }

    #[test]
    fn any_logits_give_one_of_their_tokens(
        bits in prop::collection::vec(any::<u32>(), 1..30),
        history in prop::collection::vec(any::<u32>(), 0..4),
        temperature in prop::sample::select(vec![0.0_f32, 1e-30, 1.0, 1e30]),
        top_p in 1e-9_f32..1.0,
        top_k: u32,
        repetition_penalty in prop::sample::select(vec![1e-30_f32, 1.0, 1e30]),
    ) {
        let mut logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        let sampling = SamplingParams { temperature, top_p, top_k, repetition_penalty, seed: 1 };
        let token = Sampler::new(sampling).pick(&mut logits, &history);
        prop_assert!((token as usize) < logits.len());
    }
}

#[test]
fn a_seed_repeats_its_tokens_and_another_has_others() {
    let generate = |seed| {
        let mut sampler = Sampler::new(SamplingParams {
            temperature: 1.0,
            seed,
            ..GREEDY
        });
        let logits = vec![0.0; 1000];
        let pick = |_| sampler.pick(&mut logits.clone(), &[]);
        (0..16).map(pick).collect::<Vec<_>>()
    };
    assert_eq!(generate(7), generate(7));
    assert_ne!(generate(7), generate(8));
    // The generator is ChaCha8: the same seed gives the same text on another machine, and in the next version.
    assert_eq!(generate(7)[..4], [157, 167, 704, 726]);
}

#[test]
fn what_is_no_number_is_never_chosen() {
    let broken = [f32::NAN, -3.0, f32::NEG_INFINITY, f32::NAN];
    for temperature in [0.0, 1.0, 100.0] {
        let mut sampler = Sampler::new(SamplingParams {
            temperature,
            ..GREEDY
        });
        for _ in 0..50 {
            assert_eq!(sampler.pick(&mut broken.clone(), &[1]), 1);
        }
    }
    let mut sampler = Sampler::new(GREEDY);
    assert_eq!(sampler.pick(&mut [], &[]), 0);
    assert_eq!(sampler.pick(&mut [f32::NAN; 3], &[]), 0);
    assert_eq!(sampler.pick(&mut [0.0, f32::INFINITY], &[]), 1);
}

#[test]
fn impossible_values_are_named() {
    let refused = |sampling: SamplingParams| check(&sampling).unwrap_err().to_string();
    let base = GREEDY;
    assert_eq!(check(&base), Ok(()));
    for (sampling, text) in [
        (
            SamplingParams {
                temperature: -0.5,
                ..base
            },
            "temperature: found -0.5, expected 0 or more",
        ),
        (
            SamplingParams {
                temperature: f32::NAN,
                ..base
            },
            "temperature: found NaN, expected 0 or more",
        ),
        (
            SamplingParams { top_p: 0.0, ..base },
            "top_p: found 0, expected more than 0 and at most 1 (0 for the most likely token alone)",
        ),
        (
            SamplingParams { top_p: 1.5, ..base },
            "top_p: found 1.5, expected more than 0 and at most 1 (0 for the most likely token alone)",
        ),
        (
            SamplingParams {
                repetition_penalty: 0.0,
                ..base
            },
            "repetition_penalty: found 0, expected more than 0",
        ),
    ] {
        assert_eq!(refused(sampling), text);
    }
}

/// transformers, llama.cpp and OpenAI's API keep the most likely token whatever `top_p` is.
#[test]
fn a_top_p_of_zero_is_greedy() {
    let sampling = SamplingParams {
        temperature: 1.3,
        top_p: 0.0,
        seed: 9,
        ..GREEDY
    };
    let greedy = normalized(sampling);
    assert_eq!(check(&greedy), Ok(()));
    let mut sampler = Sampler::new(greedy);
    for _ in 0..50 {
        assert_eq!(sampler.pick(&mut [0.1, 0.3, 0.2, 0.29], &[]), 1);
    }
    let other = SamplingParams {
        top_p: 0.5,
        ..sampling
    };
    assert_eq!(normalized(other), other);
}
