use super::*;

/// 512 values of a type: its number, bytes and values of a block, where the scales of a block lie, the values at 0, 37, 300 and
/// 511, and the sum of all, each times its place counted from 1.
type Case = (u32, usize, usize, &'static [usize], [f32; 4], f64);

/// Computed with `gguf.quants.dequantize` of llama.cpp's gguf-py (release 11434), in numpy.
const CASES: [Case; 12] = [
    (
        2,
        18,
        32,
        &[0],
        [0.14437866, -0.35653687, 0.37316895, 0.10089111],
        -2341.279296875,
    ),
    (
        3,
        20,
        32,
        &[0, 2],
        [0.66259766, 0.14025879, 0.561615, 0.18392944],
        53785.96286010742,
    ),
    (
        6,
        22,
        32,
        &[0],
        [0.7218933, -0.6072998, -0.33700562, -0.11853027],
        -2317.923553466797,
    ),
    (
        7,
        24,
        32,
        &[0, 2],
        [1.4807434, 0.35406494, 0.7857666, 1.0610962],
        108518.09469604492,
    ),
    (
        8,
        34,
        32,
        &[0],
        [-3.3207092, 4.4376526, -7.175171, -3.1872864],
        3074.13427734375,
    ),
    (
        10,
        84,
        256,
        &[80, 82],
        [0.979126, 0.6760864, 0.9506836, -0.83221436],
        6101.02783203125,
    ),
    (
        11,
        110,
        256,
        &[108],
        [0.79541016, 0.044189453, -4.407715, 0.73461914],
        5774.277099609375,
    ),
    (
        12,
        144,
        256,
        &[0, 2],
        [1.3595276, 6.561432, 3.268219, 20.827484],
        1253855.2954406738,
    ),
    (
        13,
        176,
        256,
        &[0, 2],
        [13.872345, 0.20877075, 27.517029, 23.17566],
        2372445.702606201,
    ),
    (
        14,
        210,
        256,
        &[208],
        [-12.121582, -164.48987, 53.122925, -93.54254],
        -619188.3610839844,
    ),
    (
        20,
        18,
        32,
        &[0],
        [1.8287964, -5.297119, 5.5353394, 1.2611389],
        -23629.936065673828,
    ),
    (
        23,
        136,
        256,
        &[0],
        [124.213776, -15.977905, 13.729248, 28.731934],
        -110485.931640625,
    ),
];

/// The bytes of 512 values: any, but with scales of 0.03 to 0.12 in half precision.
fn bytes(block: usize, values: usize, scales: &[usize]) -> Vec<u8> {
    let byte = |place: usize| (place * 73 + 41 + place / 7 * 29) as u8;
    let mut bytes: Vec<u8> = (0..512 / values * block).map(byte).collect();
    for block in bytes.chunks_mut(block) {
        for &scale in scales {
            block[scale + 1] = 0x28 + (block[scale + 1] & 3);
        }
    }
    bytes
}

#[test]
fn values_are_those_of_gguf_py() {
    for (number, block, values, scales, at, sum) in CASES {
        let value_type = ValueType::of(number, "t").unwrap();
        let bytes = bytes(block, values, scales);
        assert_eq!(value_type.byte_len(512), Some(bytes.len()), "{number}");
        let found = value_type.decode(&bytes).unwrap();
        assert_eq!(found.len(), 512, "{number}");
        let off = |found: f64, expected: f64| (found - expected).abs() > 1e-6 * expected.abs();
        for (place, expected) in [0, 37, 300, 511].into_iter().zip(at) {
            let found = found[place];
            assert!(
                !off(found.into(), expected.into()),
                "{number}: {found} at {place}"
            );
        }
        let weighted = found
            .iter()
            .zip(1..)
            .map(|(value, place)| f64::from(*value) * f64::from(place));
        let found: f64 = weighted.sum();
        assert!(!off(found, sum), "{number}: {found}, expected {sum}");
    }
}

#[test]
fn an_odd_address_changes_nothing() {
    let bytes = bytes(144, 256, &[0, 2]);
    let moved = [&[0], bytes.as_slice()].concat();
    let value_type = ValueType::of(12, "t").unwrap();
    let found = value_type.decode(&moved[1..]).unwrap();
    assert_eq!(found, value_type.decode(&bytes).unwrap());
}

#[test]
fn only_whole_blocks_have_a_length() {
    let byte_len = |number, values| ValueType::of(number, "t").unwrap().byte_len(values);
    assert_eq!(byte_len(12, 512), Some(288));
    assert_eq!(byte_len(14, 256), Some(210));
    assert_eq!(byte_len(12, 128), None);
    assert_eq!(byte_len(0, usize::MAX), None);
}

#[test]
fn other_types_are_refused_by_name() {
    for (number, name) in [
        (16, "type IQ2_XXS"),
        (39, "type MXFP4"),
        (99, "type number 99"),
    ] {
        let refusal = ValueType::of(number, "blk.0.attn_q.weight")
            .unwrap_err()
            .to_string();
        assert!(
            refusal.starts_with("blk.0.attn_q.weight: found values of "),
            "{refusal}"
        );
        assert!(
            refusal.contains(name) && refusal.contains("Q5_K"),
            "{refusal}"
        );
    }
}
