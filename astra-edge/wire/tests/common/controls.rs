//! One control message of each kind, in the order of their numbers, and more of some.

use astra_wire::*;
use heapless::Vec;

use super::{SECRET_BYTES, device, hello, offer, sampling, stats};

type Samples = std::vec::Vec<(&'static str, Control<'static>)>;

pub(crate) fn controls() -> Samples {
    [
        plan_messages(),
        request_messages(),
        client_messages(),
        generation_messages(),
        text_request_messages(),
        other_messages(),
    ]
    .concat()
}

fn plan_messages() -> Samples {
    vec![
        ("hello", Control::Hello(hello())),
        ("offer", Control::Offer(offer())),
        (
            "accept",
            Control::Accept {
                plan: 300,
                member: 1,
            },
        ),
        (
            "refuse",
            Control::Refuse {
                plan: 300,
                reason: Reason::UnknownRung,
            },
        ),
        (
            "probe",
            Control::Probe {
                plan: 300,
                epoch: 5,
            },
        ),
        (
            "probe reply",
            Control::ProbeReply {
                plan: 300,
                received: 0b1000_0001,
            },
        ),
        (
            "probe frame",
            Control::ProbeFrame(ProbeFrame {
                plan: 300,
                sender: 1,
            }),
        ),
    ]
}

fn request_messages() -> Samples {
    let result = MemberResult {
        plan: 300,
        request: 1000,
        member: 1,
        stats: stats(),
        encoding: Encoding::Scaled8,
        cls: &[0, 0, 0x80, 0x3f],
        features: &[1, 2, 3, 0xff, 0xfe, 0xfd],
        scales: &[
            0, 0, 0x80, 0xbf, 0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3e,
        ],
    };
    vec![
        (
            "start",
            Control::Start(Start {
                plan: 300,
                epoch: 5,
                request: 1000,
                deadline_ms: 2000,
                input: &[0xd0, 0xd1, 0xd2],
            }),
        ),
        (
            "cancel",
            Control::Cancel {
                plan: 300,
                request: 1000,
                secret: SECRET_BYTES,
            },
        ),
        ("result", Control::Result(result)),
        (
            "result, exact",
            Control::Result(MemberResult {
                encoding: Encoding::Float32,
                cls: &[],
                features: &[0, 0, 0x80, 0x3f],
                scales: &[],
                stats: MemberStats::default(),
                ..result
            }),
        ),
        (
            "result, compressed scores",
            Control::Result(MemberResult {
                encoding: Encoding::Sigmoid8Deflated,
                cls: &[],
                features: &[1, 4, 0, 0xfb, 0xff, 2, 0, 1, 0xfb],
                scales: &[],
                stats: MemberStats::default(),
                ..result
            }),
        ),
    ]
}

fn client_messages() -> Samples {
    vec![
        (
            "image request",
            Control::ImageRequest(ImageRequest {
                options: RequestOptions {
                    rung: Some(320),
                    local: false,
                    compare: true,
                    deadline_ms: 2000,
                    max_members: 4,
                },
                image: &[0xff, 0xd8, 0xff],
            }),
        ),
        (
            "image request, defaults",
            Control::ImageRequest(ImageRequest {
                options: RequestOptions::default(),
                image: &[0xff],
            }),
        ),
        (
            "inference response",
            Control::InferenceResponse(InferenceResponse {
                report: "{}",
                width: 2,
                height: 1,
                map: &[0, 0, 0, 0x3f, 0, 0, 0x80, 0x3e],
                cls: &[0, 0, 0x80, 0x3f],
            }),
        ),
        ("failed", Control::Failed { text: "no ear" }),
        (
            "leave",
            Control::Leave {
                device: device(0x10),
            },
        ),
    ]
}

fn generation_messages() -> Samples {
    let start = StartText {
        plan: 300,
        epoch: 5,
        request: 1000,
        deadline_ms: 2000,
        generate: None,
        ids: &[1, 2, 3, 4, 0xac, 2],
    };
    let generate = GenerationParams {
        max_tokens: 128,
        sampling: sampling(),
    };
    vec![
        ("start text", Control::StartText(start)),
        (
            "start text, generate",
            Control::StartText(StartText {
                generate: Some(generate),
                ..start
            }),
        ),
        (
            "resume",
            Control::Resume(Resume {
                plan: 300,
                request: 0,
                rung: 320,
                generate,
                ids: &[1, 0xff, 0xff, 0xff, 0xff, 0x0f],
                secret: SECRET_BYTES,
            }),
        ),
        (
            "token",
            Control::Token {
                index: 7,
                id: 49_151,
            },
        ),
        (
            "finished",
            Control::Finished(Finished {
                plan: 300,
                request: 1000,
                member: 2,
                stats: MemberStats::default(),
                finish_reason: FinishReason::Length,
                generation: GenerationStats {
                    tokens: 128,
                    reused_tokens: 0,
                    recomputed: false,
                    prefill_us: 20_000,
                    decode_us: 40_000,
                },
            }),
        ),
    ]
}

fn text_request_messages() -> Samples {
    vec![
        (
            "generation request",
            Control::GenerationRequest(GenerationRequest {
                options: RequestOptions::default(),
                prompt: Prompt::Chat("[]"),
                sampling: sampling(),
                max_tokens: Some(128),
                stop: Vec::from_slice(&["#", "no"]).unwrap(),
            }),
        ),
        (
            "embedding request",
            Control::EmbeddingRequest(EmbeddingRequest {
                options: RequestOptions::default(),
                input: Prompt::Text("no ear"),
            }),
        ),
        ("text delta", Control::TextDelta { text: "no ear" }),
        (
            "generation response",
            Control::GenerationResponse(GenerationResponse {
                report: "{}",
                prompt_tokens: 300,
                tokens: 2,
                finish_reason: FinishReason::Stop,
            }),
        ),
    ]
}

fn other_messages() -> Samples {
    vec![
        (
            "halo",
            Control::Halo(Halo {
                plan: 300,
                request: 1000,
                member: 1,
                first_token: 300,
                encoding: Encoding::Scaled4,
                features: &[0x10, 0x32, 0x54],
                scales: &[0, 0, 0x80, 0xbf, 0, 0, 0, 0x3f],
            }),
        ),
        (
            "ack",
            Control::Ack {
                plan: 300,
                request: 1000,
            },
        ),
    ]
}
