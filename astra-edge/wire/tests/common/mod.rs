//! The messages whose bytes WIRE.md shows, as values.
#![allow(dead_code, reason = "each test file uses a part of this module")]

mod controls;

use astra_wire::*;
use heapless::{String, Vec};

pub(crate) use controls::controls;

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
