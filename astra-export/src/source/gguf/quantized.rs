//! How tensors of a GGUF file are quantized, and float32 of them. The layouts are those of ggml: blocks of 32 or 256 values,
//! scales in half precision.

use crate::source::tensor::{Precision, half_to_single};

/// How the values of a tensor are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q8_0,
    Q4K,
    Q6K,
}

/// Kinds by their number in a file.
const KINDS: [(u32, Kind, &str); 8] = [
    (0, Kind::F32, "F32"),
    (1, Kind::F16, "F16"),
    (2, Kind::Q4_0, "Q4_0"),
    (3, Kind::Q4_1, "Q4_1"),
    (8, Kind::Q8_0, "Q8_0"),
    (12, Kind::Q4K, "Q4_K"),
    (14, Kind::Q6K, "Q6_K"),
    (30, Kind::Bf16, "BF16"),
];

impl Kind {
    pub(super) fn of(number: u32) -> Option<Self> {
        let known = KINDS.iter().find(|(known, ..)| *known == number);
        known.map(|(_, kind, _)| *kind)
    }

    pub(super) fn names() -> String {
        KINDS.map(|(_, _, name)| name).join(", ")
    }

    /// Values that are kept together.
    pub(super) fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q6K => 256,
        }
    }

    /// Bytes of so many values, if they are whole blocks.
    pub(super) fn byte_len(self, values: usize) -> Option<usize> {
        let each = match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 4 + 12 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        };
        let blocks = values / self.block();
        let whole = values.is_multiple_of(self.block());
        blocks.checked_mul(each).filter(|_| whole)
    }

    /// Float32 of whole blocks.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => Precision::F32.decode(bytes),
            Self::F16 => Precision::F16.decode(bytes),
            Self::Bf16 => Precision::Bf16.decode(bytes),
            Self::Q4_0 => blocks(bytes, q4_0),
            Self::Q4_1 => blocks(bytes, q4_1),
            Self::Q8_0 => blocks(bytes, q8_0),
            Self::Q4K => blocks(bytes, q4_k),
            Self::Q6K => blocks(bytes, q6_k),
        }
    }
}

fn blocks<const N: usize>(bytes: &[u8], decode: fn(&[u8; N], &mut Vec<f32>)) -> Vec<f32> {
    let (blocks, _) = bytes.as_chunks();
    let mut values = Vec::new();
    blocks.iter().for_each(|block| decode(block, &mut values));
    values
}

/// A half-precision number at the beginning.
fn half(bytes: &[u8]) -> f32 {
    match bytes {
        [low, high, ..] => half_to_single(u16::from_le_bytes([*low, *high])),
        _ => 0.0,
    }
}

/// The lower half of every byte, then the upper half of every byte.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let low = bytes.iter().map(|byte| byte & 15);
    let high = bytes.iter().map(|byte| byte >> 4);
    low.chain(high).map(f32::from)
}

/// Scale; 32 values of 4 bits about 8.
fn q4_0(block: &[u8; 18], values: &mut Vec<f32>) {
    let (scale, bits) = block.split_at(2);
    let scale = half(scale);
    values.extend(nibbles(bits).map(|bits| (bits - 8.0) * scale));
}

/// Scale and least; 32 values of 4 bits above it.
fn q4_1(block: &[u8; 20], values: &mut Vec<f32>) {
    let (head, bits) = block.split_at(4);
    let (scale, least) = head.split_at(2);
    let (scale, least) = (half(scale), half(least));
    values.extend(nibbles(bits).map(|bits| bits * scale + least));
}

/// Scale; 32 values of 8 bits with sign.
fn q8_0(block: &[u8; 34], values: &mut Vec<f32>) {
    let (scale, bytes) = block.split_at(2);
    let scale = half(scale);
    let signed = bytes.iter().map(|byte| f32::from(byte.cast_signed()));
    values.extend(signed.map(|value| value * scale));
}

/// Scale of scales and of leasts; 8 of each in 6 bits; 8 times 32 values of 4 bits.
fn q4_k(block: &[u8; 144], values: &mut Vec<f32>) {
    let (head, bits) = block.split_at(16);
    let (halves, packed) = head.split_at(4);
    let (scale, least) = halves.split_at(2);
    let (scale, least) = (half(scale), half(least));
    let (low, rest) = packed.split_at(4);
    let (middle, high) = rest.split_at(4);
    // The first four scales and leasts are the lower six bits of their bytes; of the others, the lower four bits stand in the
    // last four bytes, the upper two above those of the first.
    let first = low.iter().zip(middle).map(|(s, m)| (s & 63, m & 63));
    let second = high.iter().zip(low.iter().zip(middle));
    let second = second.map(|(h, (l, m))| (h & 15 | l >> 6 << 4, h >> 4 | m >> 6 << 4));
    let scales: Vec<(u8, u8)> = first.chain(second).collect();
    for (pair, bits) in scales.chunks(2).zip(bits.chunks(32)) {
        // The lower halves of 32 bytes are one run of values, the upper halves the next.
        let runs = pair
            .iter()
            .flat_map(|scales| std::iter::repeat_n(scales, 32));
        values.extend(
            nibbles(bits)
                .zip(runs)
                .map(|(bits, &(s, m))| scale * f32::from(s) * bits - least * f32::from(m)),
        );
    }
}

/// The lower 4 and the upper 2 bits of 256 values about 32; 16 scales of 8 bits; scale of scales.
fn q6_k(block: &[u8; 210], values: &mut Vec<f32>) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, scale) = rest.split_at(16);
    let scale = half(scale);
    let halves = low.chunks(64).zip(high.chunks(32)).zip(scales.chunks(8));
    for ((low, high), scales) in halves {
        // Quarter i of 128 values takes bits 2 i and 2 i + 1 of each of 32 bytes.
        let upper = [0, 2, 4, 6].into_iter();
        let upper = upper.flat_map(|shift| high.iter().map(move |byte| (byte >> shift & 3) << 4));
        let lower = low.iter().map(|byte| byte & 15);
        let lower = lower.chain(low.iter().map(|byte| byte >> 4));
        let scales = scales
            .iter()
            .flat_map(|scale| std::iter::repeat_n(scale, 16));
        let all = lower.zip(upper).zip(scales);
        values.extend(all.map(|((lower, upper), s)| {
            scale * f32::from(s.cast_signed()) * (f32::from(lower | upper) - 32.0)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_by_hand() {
        // 0x3800 is 0.5, 0x3c00 is 1, 0xc000 is -2.
        let mut q4_0 = vec![0x00, 0x38];
        q4_0.extend([0x1f; 16]);
        let found = Kind::Q4_0.decode(&q4_0);
        assert_eq!((found[0], found[31], found.len()), (3.5, -3.5, 32));

        let mut q4_1 = vec![0x00, 0x3c, 0x00, 0xc0];
        q4_1.extend([0x30; 16]);
        let found = Kind::Q4_1.decode(&q4_1);
        assert_eq!((found[0], found[31], found.len()), (-2.0, 1.0, 32));

        let mut q8_0 = vec![0x00, 0x38];
        q8_0.extend([0xfe; 32]);
        assert_eq!(Kind::Q8_0.decode(&q8_0), [-1.0; 32]);
    }

    #[test]
    fn only_whole_blocks_have_a_length() {
        assert_eq!(Kind::Q4K.byte_len(512), Some(288));
        assert_eq!(Kind::Q6K.byte_len(256), Some(210));
        assert_eq!(Kind::Q4K.byte_len(128), None);
        assert_eq!(Kind::F32.byte_len(usize::MAX), None);
    }
}
