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
    pub(crate) positions: std::vec::Vec<u16>,
    pub(crate) second: std::vec::Vec<u16>,
    pub(crate) mean: std::vec::Vec<u8>,
}

impl FrameSample {
    pub(crate) fn emit(&self, out: &mut [u8]) -> usize {
        emit(
            &self.header,
            &self.layout,
            &self.codes,
            self.side_info(),
            out,
        )
        .unwrap()
    }

    fn side_info(&self) -> SideInfo<'_> {
        SideInfo {
            means: &self.mean,
            positions: &self.positions,
            codes: &self.second,
        }
    }
}

pub(crate) fn frames() -> std::vec::Vec<FrameSample> {
    plain_frames().into_iter().chain(refined_frames()).collect()
}

/// Of two tokens of block 11 of request 1000.
fn header(rung: u16) -> CodeHeader {
    CodeHeader {
        version: VERSION,
        request: 1000,
        epoch: 5,
        block: 11,
        sender: 2,
        first_token: 200,
        tokens: 2,
        part: 0,
        rung,
        flags: Flags::NONE,
    }
}

fn plain_frames() -> [FrameSample; 3] {
    let sample = |name, header: CodeHeader, (codes_per_token, bits), codes| FrameSample {
        name,
        header,
        layout: Layout::new(header.rung, codes_per_token, bits, None).unwrap(),
        codes,
        positions: vec![],
        second: vec![],
        mean: vec![],
    };
    let predicted = CodeHeader {
        request: u32::MAX,
        epoch: u16::MAX,
        block: 255,
        sender: 15,
        first_token: 65_533,
        tokens: 3,
        flags: Flags::PREDICTED,
        ..header(10)
    };
    let exact = CodeHeader {
        tokens: 1,
        ..header(0)
    };
    let values = vec![1.0_f32.to_bits(), (-0.5_f32).to_bits()];
    let bytes = vec![0, 1, 127, 255, 16, 32, 64, 128];
    [
        sample("codes of 8 bits", header(32), (4, 8), bytes),
        sample(
            "codes of 10 bits, predicted",
            predicted,
            (1, 10),
            vec![1, 1023, 512],
        ),
        sample("exact", exact, (2, 32), values),
    ]
}

fn refined_frames() -> [FrameSample; 3] {
    let codes = [0, 1, 127, 255, 16, 32, 64, 128];
    let codes = codes.into_iter().chain([0; 4]).chain(1..=12);
    [
        FrameSample {
            name: "codes of 8 bits, refined",
            header: CodeHeader {
                tokens: 6,
                ..header(40)
            },
            layout: refined_layout(40, (4, 8), (64, 3, 8)),
            codes: codes.collect(),
            positions: vec![1, 4],
            second: vec![0xa0, 0xa1, 0xa2, 255, 0, 128],
            mean: vec![],
        },
        FrameSample {
            name: "codes of 10 bits, predicted and refined",
            header: CodeHeader {
                tokens: 3,
                flags: Flags::PREDICTED,
                ..header(20)
            },
            layout: refined_layout(20, (1, 10), (43, 2, 9)),
            codes: vec![1, 1023, 512],
            positions: vec![2],
            second: vec![511, 1],
            mean: vec![],
        },
        FrameSample {
            name: "codes of 8 bits, refined, with a mean",
            header: CodeHeader {
                tokens: 8,
                flags: Flags::PREDICTED,
                ..header(21)
            },
            layout: refined_layout(21, (1, 8), (16, 1, 8)).with_mean(3).unwrap(),
            codes: (1..=8).collect(),
            positions: vec![6],
            second: vec![0xa0],
            mean: vec![0x82, 0x8e, 0x31],
        },
    ]
}

/// Of first-stage codes of some bits, and of a share of the tokens second-stage codes of some bits.
pub(crate) fn refined_layout(rung: u16, first: (u16, u8), second: (u8, u16, u8)) -> Layout {
    let (share, codes, bits) = second;
    let refinement = Refinement { share, codes, bits };
    Layout::new(rung, first.0, first.1, Some(refinement)).unwrap()
}

pub(crate) fn device(seed: u8) -> DeviceId {
    DeviceId(core::array::from_fn(|i| seed + i as u8))
}

pub(crate) fn text<const N: usize>(text: &str) -> String<N> {
    String::try_from(text).unwrap()
}

pub(crate) fn hello() -> Hello {
    Hello {
        min_version: 3,
        max_version: 3,
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

pub(crate) const SECRET_BYTES: [u8; astra_wire::SECRET] = [
    0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
];

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
        coordinator: 0,
        secret: SECRET_BYTES,
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
        code_bytes: 39_464,
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
