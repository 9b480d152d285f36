//! Token ids, and sampling parameters.

use astra_wire::*;

use super::{common, refused};

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

fn generation_request(sampling: SamplingParams) -> Control<'static> {
    Control::GenerationRequest(GenerationRequest {
        options: RequestOptions::default(),
        prompt: Prompt::Text("a"),
        sampling,
        max_tokens: None,
        stop: heapless::Vec::new(),
    })
}

/// Refused from a client, and between devices.
fn assert_refused(sampling: SamplingParams, field: &'static str, expected: &'static str) {
    let error = ControlError::Sampling { field, expected };
    assert_eq!(refused(&generation_request(sampling)), error);
    let generate = Some(GenerationParams {
        max_tokens: 1,
        sampling,
    });
    let start = Control::StartText(StartText {
        plan: 1,
        epoch: 2,
        request: 3,
        deadline_ms: 4,
        generate,
        ids: &[1],
    });
    assert_eq!(refused(&start), error);
}

#[test]
fn sampling_parameters_out_of_range_are_refused() {
    let good = common::sampling();
    assert_eq!(generation_request(good).check(), Ok(()));
    let greedy = SamplingParams {
        temperature: 0.0,
        ..good
    };
    assert_eq!(generation_request(greedy).check(), Ok(()));
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let temperature = SamplingParams {
            temperature: bad,
            ..good
        };
        assert_refused(temperature, "temperature", "a finite number of at least 0");
        let top_p = SamplingParams { top_p: bad, ..good };
        assert_refused(top_p, "top_p", "a number above 0 and at most 1");
        let penalty = SamplingParams {
            repetition_penalty: bad,
            ..good
        };
        assert_refused(penalty, "repetition_penalty", "a finite number above 0");
    }
}

#[test]
fn an_empty_prompt_is_refused() {
    let mut empty = generation_request(common::sampling());
    if let Control::GenerationRequest(request) = &mut empty {
        request.prompt = Prompt::Chat("");
    }
    assert_eq!(refused(&empty), ControlError::NoInput);
}

#[test]
fn as_many_stops_as_there_may_be_and_no_more() {
    let stops = ["x"; MAX_STOP_STRINGS];
    let request = GenerationRequest {
        options: RequestOptions::default(),
        prompt: Prompt::Text("a"),
        sampling: common::sampling(),
        max_tokens: None,
        stop: heapless::Vec::from_slice(&stops).unwrap(),
    };
    let message = Control::GenerationRequest(request);
    let mut buffer = [0; 256];
    let length = message.emit(VERSION, &mut buffer).unwrap();
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
    // One more: the count is in front of the strings, two bytes each.
    let count = length - 2 * MAX_STOP_STRINGS - 1;
    assert_eq!(buffer[count], MAX_STOP_STRINGS as u8);
    buffer[count] += 1;
    buffer[length..length + 2].copy_from_slice(&[1, b'x']);
    assert!(matches!(
        Control::parse(&buffer[..length + 2]),
        Err(FrameError::Malformed(_))
    ));
}
