//! The longest messages, and buffers too short for them.

use astra_wire::*;

use super::common::{controls, device, hello, offer, text};

#[test]
fn bulk_data_of_any_size_travels() {
    let image: Vec<u8> = (0..200_000_u32).map(|i| (i % 253) as u8).collect();
    let message = Control::ImageRequest(ImageRequest {
        options: RequestOptions::default(),
        image: &image,
    });
    let mut buffer = vec![0xa5; message.encoded_len() + 1];
    let length = message.emit(VERSION, &mut buffer).unwrap();
    assert_eq!(length, message.encoded_len());
    assert_eq!(buffer[length], 0xa5);
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
}

#[test]
fn every_buffer_too_short_is_named() {
    for (name, message) in controls() {
        let needed = message.encoded_len();
        let mut buffer = [0; MAX_FRAME];
        for found in 0..needed {
            assert_eq!(
                message.emit(VERSION, &mut buffer[..found]),
                Err(EmitError::Room { found, needed }),
                "{name}"
            );
        }
    }
}

#[test]
fn the_longest_hello_and_offer_fit_a_frame() {
    let address = text(&"a".repeat(64));
    let hello = Hello {
        name: text(&"n".repeat(64)),
        software: text(&"s".repeat(32)),
        runtime: text(&"r".repeat(48)),
        model: text(&"m".repeat(64)),
        speed: u32::MAX,
        addresses: core::iter::repeat_n(address, 8).collect(),
        ..hello()
    };
    let members = (0..16).map(|index| Member {
        device: device(index),
        first_token: 65_520 + u16::from(index),
        tokens: 1,
    });
    let offer = Offer {
        plan: u64::MAX,
        epoch: u16::MAX,
        members: members.collect(),
        rung: u16::MAX,
        ..offer()
    };
    for message in [Control::Hello(hello), Control::Offer(offer)] {
        let mut buffer = [0; MAX_BODY];
        let length = message.emit(VERSION, &mut buffer).unwrap();
        assert_eq!(Control::parse(&buffer[..length]), Ok(message));
    }
}
