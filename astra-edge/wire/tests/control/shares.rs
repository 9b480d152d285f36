//! Members' shares and the answers made of them.

use astra_wire::*;

use super::refused as refused_message;

/// Two tokens of three features, one byte each.
fn scaled() -> MemberResult<'static> {
    MemberResult {
        plan: 1,
        request: 2,
        member: 3,
        stats: MemberStats::default(),
        encoding: Encoding::Scaled8,
        cls: &[],
        features: &[0; 6],
        scales: &[0; 16],
    }
}

fn refused(result: MemberResult<'_>) -> ControlError {
    refused_message(&Control::Result(result))
}

fn features(features: usize, scales: usize) -> ControlError {
    ControlError::Features { features, scales }
}

fn floats(field: &'static str, found: usize) -> ControlError {
    ControlError::Floats { field, found }
}

#[test]
fn results_that_contradict_themselves() {
    let good = scaled();
    assert_eq!(
        refused(MemberResult { member: 16, ..good }),
        ControlError::Member { found: 16, max: 16 }
    );
    assert_eq!(
        refused(MemberResult {
            cls: &[0; 5],
            ..good
        }),
        floats("cls", 5)
    );
    assert_eq!(
        refused(MemberResult {
            scales: &[0; 7],
            ..good
        }),
        floats("scales", 7)
    );
}

#[test]
fn scaled_features_have_two_scales_a_token() {
    let good = scaled();
    let four_bits = MemberResult {
        encoding: Encoding::Scaled4,
        ..good
    };
    assert_eq!(Control::Result(good).check(), Ok(()));
    assert_eq!(Control::Result(four_bits).check(), Ok(()));
    for good in [good, four_bits] {
        assert_eq!(
            refused(MemberResult {
                features: &[0; 5],
                ..good
            }),
            features(5, 4)
        );
        assert_eq!(
            refused(MemberResult {
                features: &[],
                ..good
            }),
            features(0, 4)
        );
        assert_eq!(
            refused(MemberResult {
                scales: &[],
                ..good
            }),
            features(6, 0)
        );
        // A smallest value without a step.
        assert_eq!(
            refused(MemberResult {
                scales: &[0; 12],
                ..good
            }),
            features(6, 3)
        );
    }
}

#[test]
fn exact_features_have_no_scales() {
    let good = scaled();
    let exact = MemberResult {
        encoding: Encoding::Float32,
        features: &[0; 8],
        scales: &[],
        ..good
    };
    assert_eq!(Control::Result(exact).check(), Ok(()));
    assert_eq!(
        refused(MemberResult {
            features: &[0; 6],
            ..exact
        }),
        floats("features", 6)
    );
    assert_eq!(
        refused(MemberResult {
            scales: &[0; 8],
            ..exact
        }),
        features(8, 2)
    );
}

#[test]
fn scores_have_no_scales() {
    let good = scaled();
    for encoding in [Encoding::Sigmoid8, Encoding::Sigmoid8Deflated] {
        let scores = MemberResult {
            encoding,
            scales: &[],
            ..good
        };
        assert_eq!(Control::Result(scores).check(), Ok(()));
        let scaled = MemberResult { encoding, ..good };
        assert_eq!(refused(scaled), features(6, 4));
    }
    let compressed = MemberResult {
        encoding: Encoding::Sigmoid8Deflated,
        features: &[],
        scales: &[],
        ..good
    };
    assert_eq!(refused(compressed), features(0, 0));
    for encoding in [
        Encoding::Float32,
        Encoding::Scaled8,
        Encoding::Sigmoid8,
        Encoding::Scaled4,
    ] {
        let none = MemberResult {
            encoding,
            features: &[],
            scales: &[],
            ..good
        };
        assert_eq!(Control::Result(none).check(), Ok(()));
    }
}

#[test]
fn answers_are_as_large_as_their_sides_say() {
    let answer = |width, height, map| {
        Control::InferenceResponse(InferenceResponse {
            report: "",
            width,
            height,
            map,
            cls: &[],
        })
    };
    assert_eq!(answer(0, 7, &[]).check(), Ok(()));
    assert_eq!(answer(2, 3, &[0; 24]).check(), Ok(()));
    assert_eq!(
        refused_message(&answer(2, 3, &[0; 23])),
        ControlError::Map {
            found: 23,
            expected: 24
        }
    );
    assert_eq!(
        refused_message(&answer(u16::MAX, u16::MAX, &[])),
        ControlError::Map {
            found: 0,
            expected: 17_179_344_900
        }
    );
}
