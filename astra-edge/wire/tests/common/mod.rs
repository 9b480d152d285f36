//! The messages whose bytes WIRE.md shows, as values.
#![allow(dead_code, reason = "each test file uses a part of this module")]

use astra_wire::*;
use heapless::{String, Vec};

/// A code frame of WIRE.md.
pub(crate) struct FrameSample {
    pub(crate) name: &'static str,
    pub(crate) header: CodeHeader,
    pub(crate) layout: Layout,
    pub(crate) codes: std::vec::Vec<u32>,
}

impl FrameSample {
    pub(crate) fn emit(&self, out: &mut [u8]) -> usize {
        emit(&self.header, &self.layout, &self.codes, out).unwrap()
    }
}

pub(crate) fn frames() -> std::vec::Vec<FrameSample> {
    let header = CodeHeader {
        version: VERSION,
        request: 1000,
        epoch: 5,
        block: 11,
        sender: 2,
        first_token: 200,
        tokens: 2,
        part: 0,
        rung: 32,
        flags: Flags::NONE,
    };
    vec![
        FrameSample {
            name: "codes of 8 bits",
            header,
            layout: Layout::new(4, 8).unwrap(),
            codes: vec![0, 1, 127, 255, 16, 32, 64, 128],
        },
        FrameSample {
            name: "codes of 10 bits, predicted",
            header: CodeHeader {
                request: u32::MAX,
                epoch: u16::MAX,
                block: 255,
                sender: 15,
                first_token: 65_533,
                tokens: 3,
                rung: 10,
                flags: Flags::PREDICTED,
                ..header
            },
            layout: Layout::new(1, 10).unwrap(),
            codes: vec![1, 1023, 512],
        },
        FrameSample {
            name: "exact",
            header: CodeHeader {
                tokens: 1,
                rung: 0,
                ..header
            },
            layout: Layout::new(2, 32).unwrap(),
            codes: vec![1.0_f32.to_bits(), (-0.5_f32).to_bits()],
        },
    ]
}

pub(crate) fn device(seed: u8) -> DeviceId {
    DeviceId(core::array::from_fn(|i| seed + i as u8))
}

pub(crate) fn text<const N: usize>(text: &str) -> String<N> {
    String::try_from(text).unwrap()
}

pub(crate) fn hello() -> Hello {
    Hello {
        min_version: 2,
        max_version: 2,
        device: device(0x10),
        name: text("kitchen"),
        software: text("astra-edge 0.1.0"),
        runtime: text("onnxruntime 1.32 cpu"),
        key: [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
        bundle: [0xbb; 32],
        model: text("vit-s"),
        speed: 45_000,
        addresses: Vec::from_slice(&[text("tcp/10.0.0.7:7447")]).unwrap(),
    }
}

pub(crate) fn offer() -> Offer {
    let member = |seed, first_token, tokens| Member {
        device: device(seed),
        first_token,
        tokens,
    };
    Offer {
        plan: 300,
        epoch: 5,
        bundle: [0xbb; 32],
        members: Vec::from_slice(&[member(0x10, 0, 100), member(0x40, 100, 156)]).unwrap(),
        recipient: 1,
        rung: 320,
    }
}

pub(crate) fn stats() -> MemberStats {
    MemberStats {
        overhead_us: 100,
        compute_us: 20_000,
        encode_us: 900,
        wait_us: 3,
        bytes_sent: 40_000,
        bytes_received: 80_000,
        frames_sent: 36,
        frames_received: 70,
        masked_tokens: 2,
        late_frames: 1,
        refused_frames: 0,
        halo_bytes: 300,
    }
}

pub(crate) fn sampling() -> SamplingParams {
    SamplingParams {
        temperature: 0.5,
        top_p: 1.0,
        top_k: 40,
        repetition_penalty: 1.0,
        seed: 300,
    }
}

/// One of each kind, in the order of their numbers, and more of some.
pub(crate) fn controls() -> std::vec::Vec<(&'static str, Control<'static>)> {
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
    .into_iter()
    .chain(text_controls())
    .collect()
}

fn text_controls() -> std::vec::Vec<(&'static str, Control<'static>)> {
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

/// The bytes of every sample.
pub(crate) fn all_bytes() -> std::vec::Vec<(&'static str, std::vec::Vec<u8>)> {
    let mut all = std::vec::Vec::new();
    let mut buffer = [0; MAX_FRAME];
    for sample in frames() {
        let length = sample.emit(&mut buffer);
        all.push((sample.name, buffer[..length].to_vec()));
    }
    for (name, control) in controls() {
        let length = control.emit(VERSION, &mut buffer).unwrap();
        all.push((name, buffer[..length].to_vec()));
    }
    all
}
