//! What contradicts itself is neither sent nor accepted, and devices find the version they share.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod common;

use astra_wire::*;
use common::{device, hello, offer, text};

/// Neither sent nor, in whatever way it came to be on the wire, accepted: both ends call the same check.
fn refused(message: &Control) -> ControlError {
    let error = message.check().unwrap_err();
    let mut buffer = [0; 2048];
    assert_eq!(message.emit(&mut buffer), Err(EmitError::Control(error)));
    error
}

fn refused_offer(change: impl FnOnce(&mut Offer)) -> ControlError {
    let mut offer = offer();
    change(&mut offer);
    refused(&Control::Offer(offer))
}

#[test]
fn offers_that_contradict_themselves() {
    assert_eq!(
        refused_offer(|o| o.members.clear()),
        ControlError::NoMembers
    );
    assert_eq!(
        refused_offer(|o| o.you = 2),
        ControlError::Member { found: 2, max: 2 }
    );
    assert_eq!(
        refused_offer(|o| o.members[1].tokens = 0),
        ControlError::Range {
            index: 1,
            source: HeaderError::NoTokens
        }
    );
    assert_eq!(
        refused_offer(|o| o.members[1].tokens = 65_437),
        ControlError::Range {
            index: 1,
            source: HeaderError::Range {
                first: 100,
                tokens: 65_437
            }
        }
    );
    for found in [99, 101, 0] {
        assert_eq!(
            refused_offer(|o| o.members[1].first_token = found),
            ControlError::NotContiguous {
                index: 1,
                found,
                expected: 100
            }
        );
    }
    assert_eq!(
        refused_offer(|o| o.members[1].device = o.members[0].device),
        ControlError::SameDevice { index: 1 }
    );
}

#[test]
fn offers_that_are_refused_on_arrival() {
    let mut buffer = [0; MAX_FRAME];
    let length = Control::Offer(offer()).emit(&mut buffer).unwrap();
    let bytes = &mut buffer[..length];
    // The second member's first token; its 156 tokens are behind, then `you` and the rung.
    let first_token = length - 6;
    assert_eq!(bytes[first_token], 100);
    bytes[first_token] = 99;
    let error = ControlError::NotContiguous {
        index: 1,
        found: 99,
        expected: 100,
    };
    assert_eq!(Control::parse(bytes), Err(FrameError::Control(error)));
}

#[test]
fn an_offer_of_every_token_to_every_member_is_accepted() {
    let mut offer = offer();
    offer.members.clear();
    for index in 0..16_u16 {
        let member = Member {
            device: device(index as u8 * 8),
            first_token: index * 4096,
            tokens: 4096,
        };
        offer.members.push(member).unwrap();
    }
    offer.you = 15;
    assert_eq!(offer.own().map(|member| member.first_token), Some(61_440));
    let message = Control::Offer(offer);
    let mut buffer = [0; MAX_BODY];
    let length = message.emit(&mut buffer).unwrap();
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
}

#[test]
fn a_seventeenth_member_is_refused() {
    let mut bytes = vec![1, 1, 0, 0];
    bytes.extend([0xbb; 32]);
    bytes.push(17);
    for index in 0..17_u8 {
        bytes.extend([index; 16]);
        bytes.extend([index, 1]);
    }
    bytes.extend([0, 0]);
    assert!(matches!(
        Control::parse(&bytes),
        Err(FrameError::Malformed(_))
    ));
}

#[test]
fn results_that_contradict_themselves() {
    let good = MemberResult {
        plan: 1,
        request: 2,
        member: 3,
        stats: Stats::default(),
        encoding: Encoding::Scaled8,
        cls: &[],
        features: &[0; 6],
        scales: &[0; 16],
    };
    let four_bits = MemberResult {
        encoding: Encoding::Scaled4,
        ..good
    };
    assert_eq!(Control::Result(good).check(), Ok(()));
    assert_eq!(Control::Result(four_bits).check(), Ok(()));
    let refused = |result| refused(&Control::Result(result));
    let features = |features, scales| ControlError::Features { features, scales };
    let floats = |field, found| ControlError::Floats { field, found };

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
        Control::Answer(Answer {
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
        refused(&answer(2, 3, &[0; 23])),
        ControlError::Map {
            found: 23,
            expected: 24
        }
    );
    assert_eq!(
        refused(&answer(u16::MAX, u16::MAX, &[])),
        ControlError::Map {
            found: 0,
            expected: 17_179_344_900
        }
    );
}

#[test]
fn bulk_data_of_any_size_travels() {
    let image: Vec<u8> = (0..200_000_u32).map(|i| (i % 253) as u8).collect();
    let message = Control::Ask(Ask {
        options: AskOptions::default(),
        image: &image,
    });
    let mut buffer = vec![0xa5; message.encoded_len() + 1];
    let length = message.emit(&mut buffer).unwrap();
    assert_eq!(length, message.encoded_len());
    assert_eq!(buffer[length], 0xa5);
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
}

#[test]
fn every_buffer_too_short_is_named() {
    for (name, message) in common::controls() {
        let needed = message.encoded_len();
        let mut buffer = [0; MAX_FRAME];
        for found in 0..needed {
            assert_eq!(
                message.emit(&mut buffer[..found]),
                Err(EmitError::Room { found, needed }),
                "{name}"
            );
        }
    }
}

#[test]
fn the_longest_hello_and_offer_fit_a_frame() {
    let address = text(&"a".repeat(64));
    let hello = Hello {
        name: text(&"n".repeat(64)),
        software: text(&"s".repeat(32)),
        runtime: text(&"r".repeat(48)),
        model: text(&"m".repeat(64)),
        speed: u32::MAX,
        addresses: core::iter::repeat_n(address, 8).collect(),
        ..hello()
    };
    let members = (0..16).map(|index| Member {
        device: device(index),
        first_token: 65_520 + u16::from(index),
        tokens: 1,
    });
    let offer = Offer {
        plan: u64::MAX,
        epoch: u16::MAX,
        members: members.collect(),
        rung: u16::MAX,
        ..offer()
    };
    for message in [Control::Hello(hello), Control::Offer(offer)] {
        let mut buffer = [0; MAX_BODY];
        let length = message.emit(&mut buffer).unwrap();
        assert_eq!(Control::parse(&buffer[..length]), Ok(message));
    }
}

#[test]
fn a_hello_of_another_version_still_greets() {
    let mut hello = hello();
    hello.version = 9;
    hello.min_version = 7;
    let mut buffer = [0; MAX_FRAME];
    let length = Control::Hello(hello).emit(&mut buffer).unwrap();
    buffer[0] = 9;
    assert_eq!(
        Control::parse(&buffer[..length]),
        Err(FrameError::Version {
            found: 9,
            min: MIN_VERSION,
            max: VERSION
        })
    );
    // Whatever version 9 has behind the part that never changes.
    let greeting = greeting(&buffer[..20]).unwrap();
    assert_eq!(greeting.device, device(0x10));
    assert_eq!(
        negotiate(Versions::OURS, greeting.versions),
        Err(VersionError::PeerTooNew {
            oldest: 7,
            ours: VERSION
        })
    );
}

#[test]
fn a_hello_without_versions_is_refused() {
    for (min, max) in [(0, 1), (2, 1)] {
        let hello = Hello {
            min_version: min,
            version: max,
            ..hello()
        };
        assert_eq!(
            refused(&Control::Hello(hello)),
            ControlError::Versions { min, max }
        );
    }
}

#[test]
fn devices_agree_on_the_newest_version_both_speak() {
    let range = |min, max| Versions { min, max };
    for mine in 1..6_u8 {
        for (my_min, min, max) in
            (1..=mine).flat_map(|a| (1..6).flat_map(move |b| (b..6).map(move |c| (a, b, c))))
        {
            let (ours, theirs) = (range(my_min, mine), range(min, max));
            let common = (1..6)
                .rev()
                .find(|&v| ours.contains(v) && theirs.contains(v));
            assert_eq!(negotiate(ours, theirs).ok(), common);
            assert_eq!(negotiate(theirs, ours).ok(), common);
        }
    }
    assert_eq!(
        negotiate(range(3, 5), range(1, 2)),
        Err(VersionError::PeerTooOld {
            newest: 2,
            needed: 3
        })
    );
    assert_eq!(
        negotiate(range(1, 2), range(3, 5)),
        Err(VersionError::PeerTooNew { oldest: 3, ours: 2 })
    );
    for (min, max) in [(0, 3), (4, 3)] {
        let none = Err(VersionError::NoRange { min, max });
        assert_eq!(negotiate(range(1, 5), range(min, max)), none);
        assert_eq!(negotiate(range(min, max), range(1, 5)), none);
    }
}

#[test]
fn a_device_is_shown_as_hexadecimal_digits() {
    assert_eq!(device(0x08).to_string(), "08090a0b0c0d0e0f1011121314151617");
}

#[test]
fn ids_come_back_as_they_went() {
    let ids = [0, 1, 127, 128, 300, 49_151, 16_383, 16_384, u32::MAX];
    let mut buffer = [0xa5; 64];
    let length = pack_ids(&ids, &mut buffer).unwrap();
    assert_eq!(length, 1 + 1 + 1 + 2 + 2 + 3 + 2 + 3 + 5);
    assert!(unpack_ids(&buffer[..length]).eq(ids));
    assert!(buffer[length..].iter().all(|&byte| byte == 0xa5));
    for short in 0..length {
        assert_eq!(pack_ids(&ids, &mut buffer[..short]), None);
    }
    assert_eq!(pack_ids(&[], &mut []), Some(0));
    assert_eq!(unpack_ids(&[]).next(), None);
}

#[test]
fn ids_have_one_encoding() {
    let start = |ids| {
        Control::StartText(StartText {
            plan: 1,
            epoch: 2,
            request: 3,
            deadline_ms: 4,
            generate: None,
            ids,
        })
    };
    assert_eq!(start(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).check(), Ok(()));
    assert_eq!(refused(&start(&[])), ControlError::NoInput);
    for (ids, at) in [
        (&[0x80_u8][..], 0),
        (&[5, 0x80, 0x00], 1),
        (&[5, 6, 0xff, 0xff, 0xff, 0xff, 0x10], 2),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 0),
    ] {
        assert_eq!(refused(&start(ids)), ControlError::Id { at }, "{ids:?}");
        // What is left of them is read and no more.
        assert_eq!(unpack_ids(ids).count(), at);
    }
}

#[test]
fn ways_to_choose_tokens_that_are_none() {
    let ask = |choice| {
        Control::AskText(AskText {
            options: AskOptions::default(),
            prompt: Words::Text("a"),
            choice,
            max_tokens: None,
            stops: heapless::Vec::new(),
        })
    };
    let good = common::choice();
    assert_eq!(ask(good).check(), Ok(()));
    let greedy = Choice {
        temperature: 0.0,
        ..good
    };
    assert_eq!(ask(greedy).check(), Ok(()));
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let field = |choice, field| {
            assert_eq!(refused(&ask(choice)), ControlError::Choice { field });
            let generate = Some(Generate {
                max_tokens: 1,
                choice,
            });
            let start = Control::StartText(StartText {
                plan: 1,
                epoch: 2,
                request: 3,
                deadline_ms: 4,
                generate,
                ids: &[1],
            });
            assert_eq!(refused(&start), ControlError::Choice { field });
        };
        let (temperature, top_p, repetition_penalty) = (bad, bad, bad);
        field(
            Choice {
                temperature,
                ..good
            },
            "temperature",
        );
        field(Choice { top_p, ..good }, "top_p");
        let choice = Choice {
            repetition_penalty,
            ..good
        };
        field(choice, "repetition_penalty");
    }
    let mut empty = ask(good);
    if let Control::AskText(ask) = &mut empty {
        ask.prompt = Words::Chat("");
    }
    assert_eq!(refused(&empty), ControlError::NoInput);
}

#[test]
fn as_many_stops_as_there_may_be_and_no_more() {
    let stops = ["x"; MAX_STOPS];
    let ask = AskText {
        options: AskOptions::default(),
        prompt: Words::Text("a"),
        choice: common::choice(),
        max_tokens: None,
        stops: heapless::Vec::from_slice(&stops).unwrap(),
    };
    let message = Control::AskText(ask);
    let mut buffer = [0; 256];
    let length = message.emit(&mut buffer).unwrap();
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
    // One more: the count is in front of the strings, two bytes each.
    let count = length - 2 * MAX_STOPS - 1;
    assert_eq!(buffer[count], MAX_STOPS as u8);
    buffer[count] += 1;
    buffer[length..length + 2].copy_from_slice(&[1, b'x']);
    assert!(matches!(
        Control::parse(&buffer[..length + 2]),
        Err(FrameError::Malformed(_))
    ));
}
