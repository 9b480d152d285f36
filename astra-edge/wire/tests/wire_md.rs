//! WIRE.md is the golden file: its examples are encoded and decoded field by field, and what it says is
//! rejected is rejected for the reason given.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod common;

use std::collections::BTreeMap;

use astra_wire::*;

const WIRE_MD: &str = include_str!("../WIRE.md");

/// An example: labelled bytes, a line each.
type Example = Vec<(Vec<u8>, &'static str)>;

fn hex(text: &str) -> Vec<u8> {
    text.split(' ')
        .map(|byte| {
            assert_eq!(byte.len(), 2, "{text:?}");
            u8::from_str_radix(byte, 16).unwrap()
        })
        .collect()
}

/// The fenced blocks whose first line is "# NAME".
fn examples() -> BTreeMap<&'static str, Example> {
    let mut examples = BTreeMap::new();
    for block in WIRE_MD.split("```text\n# ").skip(1) {
        let block = block.split("```").next().unwrap();
        let (name, lines) = block.split_once('\n').unwrap();
        let labelled = lines.lines().map(|line| {
            let (bytes, label) = line.split_once("  ").unwrap_or((line, ""));
            (hex(bytes), label.trim())
        });
        let earlier = examples.insert(name, labelled.collect());
        assert_eq!(earlier, None, "two examples {name:?}");
    }
    examples
}

fn joined(example: &Example) -> Vec<u8> {
    example
        .iter()
        .flat_map(|(bytes, _)| bytes.clone())
        .collect()
}

/// Compares the front of `buffer` with the example, line by line, and the rest with what was there before.
fn assert_bytes(name: &str, example: &Example, buffer: &[u8], length: usize) {
    let mut at = 0;
    for (expected, label) in example {
        let found = &buffer[at..at + expected.len()];
        assert_eq!(found, expected, "{name}: {label:?} at byte {at}");
        at += expected.len();
    }
    assert_eq!(length, at, "{name}: length");
    assert!(
        buffer[at..].iter().all(|&byte| byte == 0xa5),
        "{name}: written past the end"
    );
}

#[test]
fn code_frames_are_as_written() {
    let examples = examples();
    for sample in common::frames() {
        let example = &examples[sample.name];
        let mut buffer = [0xa5; MAX_FRAME];
        let length = sample.emit(&mut buffer);
        assert_bytes(sample.name, example, &buffer, length);

        let bytes = joined(example);
        let frame = parse(&bytes).unwrap();
        assert_eq!(frame.header, sample.header, "{}", sample.name);
        let found = frame.codes(&sample.layout).unwrap();
        let words = |codes: Unpack<'_>| codes.map(|code| code as u16).collect::<Vec<_>>();
        assert_eq!(
            found.first.collect::<Vec<_>>(),
            sample.codes,
            "{}",
            sample.name
        );
        assert_eq!(words(found.positions), sample.positions, "{}", sample.name);
        assert_eq!(words(found.second), sample.second, "{}", sample.name);
        assert_eq!(Traffic::parse(&bytes), Ok(Traffic::Codes(&bytes)));
    }
}

#[test]
fn control_messages_are_as_written() {
    let examples = examples();
    for (name, message) in common::controls() {
        let example = &examples[name];
        let mut buffer = [0xa5; MAX_FRAME];
        let length = message.emit(VERSION, &mut buffer).unwrap();
        assert_bytes(name, example, &buffer, length);
        assert_eq!(message.encoded_len(), length);

        let bytes = joined(example);
        assert_eq!(Control::parse(&bytes).as_ref(), Ok(&message), "{name}");
        match message {
            Control::ProbeFrame(probe) => {
                assert_eq!(Traffic::parse(&bytes), Ok(Traffic::Probe(probe)))
            }
            _ => assert_eq!(
                Traffic::parse(&bytes),
                Err(FrameError::Kind { found: bytes[1] }),
                "{name}"
            ),
        }
    }
}

#[test]
fn every_example_is_tested() {
    let samples = common::all_bytes();
    let names: Vec<&str> = samples.iter().map(|(name, _)| *name).collect();
    for name in examples().keys() {
        assert!(names.contains(name), "no sample for the example {name:?}");
    }
}

#[test]
fn every_kind_has_an_example_and_keeps_its_number() {
    let mut kinds: Vec<u8> = common::controls()
        .iter()
        .map(|(_, message)| {
            let mut buffer = [0; MAX_FRAME];
            message.emit(VERSION, &mut buffer).unwrap();
            assert_eq!(buffer[1], pinned_kind(message));
            buffer[1]
        })
        .collect();
    kinds.dedup();
    let all: Vec<u8> = (0..Control::KINDS).collect();
    assert_eq!(kinds, all);
}

fn pinned_kind(message: &Control) -> u8 {
    match message {
        Control::Hello(_) => 0,
        Control::Offer(_) => 1,
        Control::Accept { .. } => 2,
        Control::Refuse { .. } => 3,
        Control::Probe { .. } => 4,
        Control::ProbeReply { .. } => 5,
        Control::ProbeFrame(_) => 6,
        Control::Start(_) => 7,
        Control::Cancel { .. } => 8,
        Control::Result(_) => 9,
        Control::ImageRequest(_) => 10,
        Control::InferenceResponse(_) => 11,
        Control::Failed { .. } => 12,
        Control::Leave { .. } => 13,
        Control::StartText(_) => 14,
        Control::Resume(_) => 15,
        Control::Token { .. } => 16,
        Control::Finished(_) => 17,
        Control::GenerationRequest(_) => 18,
        Control::EmbeddingRequest(_) => 19,
        Control::TextDelta { .. } => 20,
        Control::GenerationResponse(_) => 21,
        Control::Halo(_) => 22,
        Control::Ack { .. } => 23,
        other => panic!("a kind without a number: {other:?}"),
    }
}

#[test]
fn reasons_keep_their_numbers() {
    let reasons = [
        Reason::Busy,
        Reason::OtherBundle,
        Reason::OtherVersion,
        Reason::OtherKey,
        Reason::UnknownRung,
        Reason::BadRange,
        Reason::UnknownPlan,
        Reason::Internal,
        Reason::UnknownMember,
    ];
    assert_eq!(reasons.len(), Reason::COUNT);
    for (number, reason) in (0_u8..).zip(reasons) {
        let bytes = [VERSION, 3, 0, number];
        assert_eq!(
            Control::parse(&bytes),
            Ok(Control::Refuse { plan: 0, reason })
        );
    }
    let next = [VERSION, 3, 0, Reason::COUNT as u8];
    assert!(Control::parse(&next).is_err());
}

#[test]
fn encodings_keep_their_numbers() {
    let encodings = [
        Encoding::Float32,
        Encoding::Scaled8,
        Encoding::Sigmoid8,
        Encoding::Scaled4,
        Encoding::Sigmoid8Deflated,
    ];
    assert_eq!(encodings.len(), Encoding::COUNT);
    let mut bytes = vec![VERSION, 9, 0, 0, 0];
    bytes.extend([0; 13]); // stats
    bytes.extend([0; 4]); // encoding, cls, features, scales
    for (number, encoding) in (0_u8..).zip(encodings) {
        bytes[18] = number;
        if encoding == Encoding::Sigmoid8Deflated {
            bytes.splice(20..21, [1, 0]); // never empty
        }
        match Control::parse(&bytes) {
            Ok(Control::Result(result)) => assert_eq!(result.encoding, encoding),
            other => panic!("{other:?}"),
        }
    }
    bytes[18] = Encoding::COUNT as u8;
    assert!(Control::parse(&bytes).is_err());
}

#[test]
fn finish_reasons_keep_their_numbers() {
    let reasons = [
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::Cancelled,
    ];
    assert_eq!(reasons.len(), FinishReason::COUNT);
    // A generation response ends in its finish reason.
    let mut bytes = [VERSION, 21, 0, 0, 0, 0];
    for (number, finish_reason) in (0_u8..).zip(reasons) {
        bytes[5] = number;
        match Control::parse(&bytes) {
            Ok(Control::GenerationResponse(answer)) => {
                assert_eq!(answer.finish_reason, finish_reason)
            }
            other => panic!("{other:?}"),
        }
    }
    bytes[5] = FinishReason::COUNT as u8;
    assert!(Control::parse(&bytes).is_err());
}

#[test]
fn rejected_encodings_are_rejected_for_the_reason_given() {
    let layout = Layout::new(10, 1, 10, None).unwrap();
    let refined = common::refined_layout(10, (1, 10), (64, 1, 8));
    let read = |bytes: &[u8], layout| {
        let frame = parse(bytes)?;
        frame.codes(layout).map(drop)
    };
    let table = WIRE_MD.split("## Rejected encodings").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let bytes = hex(cells[1].trim_matches('`'));
        let error = match cells[2] {
            "code frame" => read(&bytes, &layout).unwrap_err(),
            "refined code frame" => read(&bytes, &refined).unwrap_err(),
            "control message" => Control::parse(&bytes).map(drop).unwrap_err(),
            "hello of any version" => HelloPrefix::parse(&bytes).map(drop).unwrap_err(),
            other => panic!("read as {other:?}?"),
        };
        assert_eq!(error.to_string(), cells[3], "{row}");
        count += 1;
    }
    assert!(count > 40, "{count} rows found");
}

#[test]
fn varints_are_as_written() {
    // The table of values, by way of a message with one u64 field and one byte.
    for (value, bytes) in [
        (0_u64, "00"),
        (127, "7f"),
        (128, "80 01"),
        (300, "ac 02"),
        (65_535, "ff ff 03"),
    ] {
        assert!(WIRE_MD.contains(&format!("{value} is `{bytes}`")));
        let mut expected = vec![VERSION, 2];
        expected.extend(hex(bytes));
        expected.push(0);
        let mut buffer = [0xa5; 16];
        let message = Control::Accept {
            plan: value,
            member: 0,
        };
        let length = message.emit(VERSION, &mut buffer).unwrap();
        assert_eq!(buffer[..length], expected);
    }
}
