use super::*;

const D: usize = 2;
/// Three tokens.
const FEATURES: [f32; 6] = [1.0, 0.0, 3.0, -4.0, 5.0, 5.0];

fn range(first: u16, tokens: u16) -> TokenRange {
    TokenRange { first, tokens }
}

fn of(pooling: TextPooling, skip: usize) -> Embedding {
    Embedding {
        skip,
        ..Embedding::plain(pooling, false)
    }
}

fn share(embedding: &Embedding, range: TokenRange) -> (TokenRange, Vec<f32>) {
    let own = &FEATURES[usize::from(range.first) * D..range.end() * D];
    (range, pool_part(embedding, range, 3, own, D))
}

/// What `Pooling` of sentence-transformers is defined as, by hand.
#[test]
fn tokens_are_pooled_whoever_owns_them() {
    let root = 3.0_f64.sqrt();
    for (pooling, all, but_the_first) in [
        (TextPooling::Mean, [3.0, 1.0 / 3.0], [4.0, 0.5]),
        (TextPooling::Cls, [1.0, 0.0], [3.0, -4.0]),
        (TextPooling::Max, [5.0, 5.0], [5.0, 5.0]),
        (
            TextPooling::MeanSqrtLenTokens,
            [9.0 / root, 1.0 / root],
            [8.0 / 2.0_f64.sqrt(), 1.0 / 2.0_f64.sqrt()],
        ),
        (
            TextPooling::Weightedmean,
            [(1.0 + 6.0 + 15.0) / 6.0, (-8.0 + 15.0) / 6.0],
            [21.0 / 5.0, 7.0 / 5.0],
        ),
        (TextPooling::Lasttoken, [5.0, 5.0], [5.0, 5.0]),
    ] {
        for (skip, expected) in [(0, all), (1, but_the_first)] {
            let embedding = of(pooling, skip);
            for split in [
                &[range(0, 3)][..],
                &[range(0, 1), range(1, 2)],
                &[range(0, 2), range(2, 1)],
                &[range(0, 1), range(1, 1), range(2, 1)],
            ] {
                let shares: Vec<_> = split.iter().map(|part| share(&embedding, *part)).collect();
                let found = combine_parts(&embedding, &shares, D).unwrap();
                for (found, expected) in found.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{pooling:?} without {skip}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_did_not_come_makes_no_vector() {
    // Without the owner of the first or the last token there is none.
    for (pooling, others) in [
        (TextPooling::Cls, range(1, 2)),
        (TextPooling::Lasttoken, range(0, 2)),
    ] {
        let embedding = of(pooling, 0);
        assert_eq!(
            combine_parts(&embedding, &[share(&embedding, others)], D),
            None
        );
    }
    // Nor where all tokens are skipped.
    for pooling in [
        TextPooling::Mean,
        TextPooling::Max,
        TextPooling::Weightedmean,
    ] {
        let embedding = of(pooling, 3);
        assert_eq!(
            combine_parts(&embedding, &[share(&embedding, range(0, 3))], D),
            None
        );
        assert_eq!(combine_parts(&embedding, &[], D), None);
    }
    // The mean of those that came.
    let embedding = of(TextPooling::Mean, 0);
    let two = [share(&embedding, range(1, 2))];
    assert_eq!(combine_parts(&embedding, &two, D), Some(vec![4.0, 0.5]));
}

#[test]
fn activations_by_hand() {
    for (activation, at_minus_one, at_half) in [
        (Activation::Identity, -1.0, 0.5),
        (
            Activation::Tanh,
            -0.761_594_155_955_764_9,
            0.462_117_157_260_009_8,
        ),
        (Activation::Relu, 0.0, 0.5),
        (
            Activation::Sigmoid,
            0.268_941_421_369_995_1,
            0.622_459_331_201_854_6,
        ),
    ] {
        assert!((activate(activation, -1.0) - at_minus_one).abs() < 1e-12);
        assert!((activate(activation, 0.5) - at_half).abs() < 1e-12);
    }
}
