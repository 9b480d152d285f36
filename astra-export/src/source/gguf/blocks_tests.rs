use super::*;
use crate::source::gguf::quantized::ValueType;

/// Types that blocks hold: number, bytes and values of a block, where its scales in half precision lie.
const TYPES: [(u32, usize, usize, &[usize]); 8] = [
    (2, 18, 32, &[0]),
    (3, 20, 32, &[0, 2]),
    (6, 22, 32, &[0]),
    (7, 24, 32, &[0, 2]),
    (8, 34, 32, &[0]),
    (12, 144, 256, &[0, 2]),
    (13, 176, 256, &[0, 2]),
    (14, 210, 256, &[208]),
];

/// The bytes of 1024 values: any, but with scales of 0.03 to 0.12 in half precision.
fn bytes(block: usize, values: usize, scales: &[usize]) -> Vec<u8> {
    let byte = |place: usize| (place * 151 + 13 + place / 11 * 57) as u8;
    let mut bytes: Vec<u8> = (0..1024 / values * block).map(byte).collect();
    for block in bytes.chunks_mut(block) {
        for &scale in scales {
            block[scale + 1] = 0x28 + (block[scale + 1] & 3);
        }
    }
    bytes
}

#[test]
fn values_are_those_that_candle_decodes() {
    for (number, block, values, scales) in TYPES {
        let kind = ValueType::of(number, "t").unwrap();
        let bytes = bytes(block, values, scales);
        let expected = kind.decode(&bytes).unwrap();
        let found = blocks(kind, &bytes, [2, 512]).unwrap().values();
        assert_eq!(found.len(), expected.len(), "{number}");
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let off = (found - expected).abs();
            let most = 2e-7 * expected.abs().max(1.0);
            assert!(off <= most, "{number}: {found} and {expected} at {place}");
        }
    }
}

#[test]
fn types_of_one_scale_keep_every_bit() {
    for number in [2, 3, 6, 8, 14] {
        let case = TYPES.iter().find(|(known, ..)| *known == number);
        let (_, block, values, scales) = case.unwrap();
        let kind = ValueType::of(number, "t").unwrap();
        let bytes = bytes(*block, *values, scales);
        let found = blocks(kind, &bytes, [4, 256]).unwrap().values();
        assert_eq!(found, kind.decode(&bytes).unwrap(), "{number}");
    }
}

#[test]
fn other_types_have_no_blocks() {
    for number in [0, 1, 10, 11, 20, 30] {
        let kind = ValueType::of(number, "t").unwrap();
        let bytes = vec![0; kind.byte_len(256).unwrap()];
        assert_eq!(blocks(kind, &bytes, [1, 256]), None, "{number}");
    }
}

#[test]
fn half_a_block_is_refused() {
    let kind = ValueType::of(2, "t").unwrap();
    assert_eq!(blocks(kind, &[0; 17], [1, 32]), None);
}
