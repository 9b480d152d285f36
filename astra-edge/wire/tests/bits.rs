//! The bit packer against a model that is slow and obviously correct.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

use astra_wire::{Code, PackError, UnpackError, pack, packed_len, unpack, unpack_into};
use proptest::prelude::*;

/// Every bit of every code in order, then eight to a byte.
fn model(codes: &[u32], bits: u8) -> Vec<u8> {
    let mut stream = Vec::new();
    for code in codes {
        for i in 0..bits {
            stream.push(code >> i & 1 == 1);
        }
    }
    let mut bytes = Vec::new();
    for eight in stream.chunks(8) {
        let mut byte = 0;
        for (i, &bit) in eight.iter().enumerate() {
            if bit {
                byte |= 1 << i;
            }
        }
        bytes.push(byte);
    }
    bytes
}

fn mask(bits: u8) -> u32 {
    u32::MAX >> (32 - bits)
}

fn widths() -> impl Iterator<Item = u8> {
    (1..=16).chain([32])
}

fn width() -> impl Strategy<Value = u8> {
    prop_oneof![1..=16_u8, Just(8), Just(16), Just(32)]
}

fn codes() -> impl Strategy<Value = (u8, Vec<u32>)> {
    width().prop_flat_map(|bits| {
        let codes =
            prop::collection::vec(any::<u32>().prop_map(move |code| code & mask(bits)), 0..200);
        (Just(bits), codes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packs_as_the_model((bits, codes) in codes()) {
        let expected = model(&codes, bits);
        prop_assert_eq!(packed_len(codes.len(), bits), expected.len());
        let mut out = vec![0xa5; expected.len() + 9];
        prop_assert_eq!(pack(&codes, bits, &mut out), Ok(expected.len()));
        prop_assert_eq!(&out[..expected.len()], &expected[..]);
        prop_assert!(out[expected.len()..].iter().all(|&byte| byte == 0xa5));
    }

    #[test]
    fn unpacks_what_the_model_packed((bits, codes) in codes(), taken in 0..40_usize) {
        let bytes = model(&codes, bits);
        let mut iterator = unpack(&bytes, bits, codes.len()).unwrap();
        prop_assert_eq!(iterator.len(), codes.len());

        let mut found: Vec<u32> = iterator.by_ref().take(taken).collect();
        prop_assert_eq!(iterator.len(), codes.len().saturating_sub(taken));
        found.extend(&mut iterator);
        prop_assert_eq!(iterator.next(), None);
        prop_assert_eq!(&found, &codes);

        let mut slots = vec![u32::MAX; codes.len()];
        prop_assert_eq!(unpack_into(&bytes, bits, &mut slots), Ok(()));
        prop_assert_eq!(&slots, &codes);
    }

    #[test]
    fn narrow_types_carry_what_fits(codes in prop::collection::vec(any::<u8>(), 0..100)) {
        let wide: Vec<u32> = codes.iter().map(|&code| u32::from(code)).collect();
        for bits in 8..=16 {
            let mut out = [0xa5; 200];
            let length = pack(&codes, bits, &mut out).unwrap();
            prop_assert_eq!(&out[..length], &model(&wide, bits)[..]);
            let mut slots = vec![0_u16; codes.len()];
            prop_assert_eq!(unpack_into(&out[..length], bits, &mut slots), Ok(()));
            prop_assert!(slots.iter().zip(&codes).all(|(&slot, &code)| slot == u16::from(code)));
        }
    }

    #[test]
    fn exact_values_keep_every_bit(patterns in prop::collection::vec(any::<u32>(), 0..100)) {
        let values: Vec<f32> = patterns.iter().map(|&bits| f32::from_bits(bits)).collect();
        let mut out = [0; 400];
        let length = pack(&values, 32, &mut out).unwrap();
        let expected: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        prop_assert_eq!(&out[..length], &expected[..]);
        let mut slots = vec![0.0_f32; values.len()];
        prop_assert_eq!(unpack_into(&out[..length], 32, &mut slots), Ok(()));
        let found: Vec<u32> = slots.iter().map(|value| value.to_bits()).collect();
        prop_assert_eq!(found, patterns);
    }
}

#[test]
fn the_bit_order_is_the_documented_one() {
    let mut out = [0xa5; 3];
    assert_eq!(pack(&[0b10001_u8, 0b01010, 0b11100], 5, &mut out), Ok(2));
    assert_eq!(out, [0b0101_0001, 0b0111_0001, 0xa5]);
}

#[test]
fn lengths_are_exact() {
    for bits in widths() {
        for count in 0..100 {
            let zeros = vec![0; count];
            let expected = model(&zeros, bits).len();
            assert_eq!(packed_len(count, bits), expected);
            let mut short = vec![0; expected.saturating_sub(1)];
            if expected > 0 {
                let room = PackError::Room {
                    found: expected - 1,
                    needed: expected,
                };
                assert_eq!(pack(&zeros, bits, &mut short), Err(room));
            }
            for found in (0..expected + 3).filter(|&found| found != expected) {
                assert_eq!(
                    unpack(&vec![0; found], bits, count).map(drop),
                    Err(UnpackError::Length { found, expected })
                );
            }
        }
    }
    assert_eq!(packed_len(usize::MAX, 16), usize::MAX);
}

#[test]
fn the_first_code_too_large_is_named() {
    for bits in widths().filter(|&bits| bits < 32) {
        let mut codes = [mask(bits); 20];
        codes[17] += 1;
        codes[19] += 1;
        assert_eq!(
            pack(&codes, bits, &mut [0; 80]),
            Err(PackError::CodeTooLarge {
                index: 17,
                found: mask(bits) + 1,
                bits
            })
        );
    }
}

#[test]
fn every_padding_bit_must_be_zero() {
    for bits in widths() {
        for count in 1..=8 {
            let used = count * usize::from(bits);
            let length = packed_len(count, bits);
            for bit in used..length * 8 {
                let mut bytes = vec![0; length];
                bytes[bit / 8] = 1 << (bit % 8);
                let found = 1 << (bit - used);
                assert_eq!(
                    unpack(&bytes, bits, count).map(drop),
                    Err(UnpackError::Padding { found })
                );
            }
        }
    }
}

#[test]
fn widths_and_types_that_do_not_go_together_are_refused() {
    for found in (0..=u8::MAX).filter(|&bits| !widths().any(|width| width == bits)) {
        assert_eq!(
            pack(&[0_u8], found, &mut [0; 64]),
            Err(PackError::Width { found })
        );
        assert_eq!(
            unpack(&[0; 64], found, 1).map(drop),
            Err(UnpackError::Width { found })
        );
    }
    assert_eq!(
        pack(&[0.0_f32], 16, &mut [0; 4]),
        Err(PackError::Width { found: 16 })
    );
    assert_eq!(
        refused::<f32>(16),
        UnpackError::Type {
            found: 16,
            holds: 32
        }
    );
    assert_eq!(refused::<u8>(9), UnpackError::Type { found: 9, holds: 8 });
    assert_eq!(
        refused::<u16>(32),
        UnpackError::Type {
            found: 32,
            holds: 16
        }
    );
}

/// What unpacking one code of `bits` bits into a `C` answers.
fn refused<C: Code>(bits: u8) -> UnpackError {
    let bytes = [0; 4];
    unpack_into(&bytes[..packed_len(1, bits)], bits, &mut [C::from_code(0)]).unwrap_err()
}
