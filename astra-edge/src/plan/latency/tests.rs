use astra_bundle::{HeadRows, Shape};

use super::*;
use crate::plan::codes::{BlockCodes, RungCodes};
use crate::plan::profile::{Curve, RungProfile, Strip, Surface};

fn profile(causal: bool) -> Profile {
    let line = |token| Curve {
        token,
        ..Curve::default()
    };
    Profile {
        model: "a model".to_owned(),
        shape: Shape {
            hidden: 100,
            heads: 4,
            kv_heads: 4,
            head_dim: 25,
            blocks: 10,
            tokens: 1000,
            class_tokens: 0,
        },
        causal,
        whole: line(1.0),
        embed: line(0.0),
        local: line(0.02),
        mlp: line(0.03),
        head: 0.0,
        head_rows: None,
        strip: (!causal).then(|| Strip {
            encode: line(0.0),
            decode: line(0.0),
            bytes: 0.0,
        }),
        share: line(0.0),
        message: line(0.0),
        hop: 0.0,
        rungs: vec![RungProfile {
            bits: 160,
            rank: 50,
            codes: RungCodes {
                code_bits: 8,
                share: 0,
                refined_code_bits: 0,
                blocks: vec![
                    BlockCodes {
                        mean: 0,
                        codes: 20,
                        refined: 0
                    };
                    10
                ],
            },
            chunk_tokens: 58,
            encode: line(0.0),
            decode: line(0.0),
            expect: line(0.0),
            attend: Surface {
                row: 0.05,
                ..Surface::default()
            },
        }],
    }
}

fn case(devices: usize, mbps: f64) -> Case {
    Case {
        devices,
        tokens: 1000,
        rung: 160,
        network: Network {
            mbps,
            shared: false,
        },
        cores: 1.0,
        quota_period: 0.0,
    }
}

#[test]
fn without_a_network_in_the_way_work_is_divided() {
    for devices in [2, 4, 5] {
        let found = predict(&profile(false), &case(devices, 1e9)).unwrap();
        assert!(
            (found.latency_ms - 1000.0 / devices as f64).abs() < 0.1,
            "{found:?}"
        );
        assert_eq!(found.one_device_ms, 1000.0);
    }
    let half = Case {
        cores: 0.5,
        quota_period: 4.0,
        ..case(4, 1e9)
    };
    let found = predict(&profile(false), &half).unwrap();
    // Half a core, and in ten blocks a wait for the last of four, each of which is suspended for half of 4 ms.
    let expected = 500.0 + 10.0 * 0.5 * 4.0 * 0.3;
    assert!((found.latency_ms - expected).abs() < 0.1, "{found:?}");
    let slower = Case {
        quota_period: 0.0,
        ..half
    };
    let found = predict(&profile(false), &slower).unwrap();
    assert!((found.latency_ms - 500.0).abs() < 0.1, "{found:?}");
    assert_eq!(
        predict(&profile(false), &case(1, 1.0)).unwrap().latency_ms,
        1000.0
    );
}

#[test]
fn a_slow_link_is_what_takes_the_time() {
    let fast = predict(&profile(false), &case(4, 1.0)).unwrap();
    // Ten blocks of three copies of 250 tokens of 20 bytes, at a byte in 8 us.
    let bits = 10.0 * 3.0 * 250.0 * 20.0 * 8.0 / 1e3;
    assert!(
        fast.latency_ms > bits && fast.wait_ms > 0.8 * bits,
        "{fast:?}"
    );
    let shared = Case {
        network: Network {
            mbps: 1.0,
            shared: true,
        },
        ..case(4, 1.0)
    };
    let air = predict(&profile(false), &shared).unwrap();
    assert!(air.wait_ms > 3.0 * fast.wait_ms, "{air:?} beside {fast:?}");
    // Of a causal text half as many frames are sent.
    let text = predict(&profile(true), &shared).unwrap();
    assert!(text.wait_ms < 0.7 * air.wait_ms, "{text:?} beside {air:?}");
}

#[test]
fn each_block_sends_its_own_codes() {
    // A network that takes all the time.
    let wait = |codes: [u16; 10], share, refined| {
        let mut profile = profile(false);
        let blocks = codes.map(|codes| BlockCodes {
            codes,
            refined,
            mean: 0,
        });
        profile.rungs[0].codes.blocks = blocks.to_vec();
        profile.rungs[0].codes.share = share;
        profile.rungs[0].codes.refined_code_bits = 8;
        predict(&profile, &case(4, 0.1)).unwrap().wait_ms
    };
    let even = wait([20; 10], 0, 0);
    let ramp = wait([11, 13, 15, 17, 19, 21, 23, 25, 27, 29], 0, 0);
    assert!((ramp / even - 1.0).abs() < 0.01, "{ramp} beside {even}");
    // A twentieth of the tokens has three times the codes more.
    let refined = wait([20; 10], 13, 60);
    let more = 1.0 + 3.0 * 13.0 / 256.0;
    assert!(
        (refined / even - more).abs() < 0.02,
        "{refined} beside {even}"
    );
}

#[test]
fn what_was_not_measured_is_not_predicted() {
    let other = Case {
        rung: 320,
        ..case(4, 10.0)
    };
    let error = predict(&profile(false), &other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rung: found 320, expected one of those measured: 160"
    );
    assert!(predict(&profile(false), &case(1001, 10.0)).is_err());
    let mut other = profile(false);
    other.rungs[0].codes.blocks.pop();
    let error = predict(&other, &case(4, 10.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rung 160: found codes of 9 blocks, expected 10, as many as the model has"
    );
}

#[test]
fn a_head_that_members_share_takes_each_its_rows() {
    let mut whole = profile(false);
    whole.shape.tokens = 1024;
    whole.head = 160.0;
    let case = Case {
        tokens: 1024,
        ..case(4, 1e9)
    };
    let alone = predict(&whole, &case).unwrap();
    let shared = Profile {
        head_rows: Some(HeadRows { halo: 1, scale: 8 }),
        ..whole
    };
    let together = predict(&shared, &case).unwrap();
    // 32 rows, 8 a member, and one more on either side of the inner ones.
    let saved = alone.latency_ms - together.latency_ms;
    assert!((saved - 160.0 * (1.0 - 10.0 / 32.0)).abs() < 0.5, "{saved}");
}
