//! Offers of a plan.

use astra_wire::*;

use super::common::{device, offer};
use super::refused;

fn refused_offer(change: impl FnOnce(&mut Offer)) -> ControlError {
    let mut offer = offer();
    change(&mut offer);
    refused(&Control::Offer(offer))
}

#[test]
fn offers_that_contradict_themselves() {
    assert_eq!(
        refused_offer(|o| o.members.clear()),
        ControlError::NoMembers
    );
    assert_eq!(
        refused_offer(|o| o.recipient = 2),
        ControlError::Member { found: 2, max: 2 }
    );
    assert_eq!(
        refused_offer(|o| o.coordinator = 2),
        ControlError::Member { found: 2, max: 2 }
    );
    assert_eq!(
        refused_offer(|o| o.members[1].tokens = 0),
        ControlError::Range {
            index: 1,
            source: RangeError::Empty
        }
    );
    assert_eq!(
        refused_offer(|o| o.members[1].tokens = 65_437),
        ControlError::Range {
            index: 1,
            source: RangeError::End {
                first: 100,
                tokens: 65_437
            }
        }
    );
    for found in [99, 101, 0] {
        assert_eq!(
            refused_offer(|o| o.members[1].first_token = found),
            ControlError::NotContiguous {
                index: 1,
                found,
                expected: 100
            }
        );
    }
    assert_eq!(
        refused_offer(|o| o.members[1].device = o.members[0].device),
        ControlError::SameDevice { index: 1 }
    );
}

#[test]
fn offers_that_are_refused_on_arrival() {
    let mut buffer = [0; MAX_FRAME];
    let length = Control::Offer(offer()).emit(VERSION, &mut buffer).unwrap();
    let bytes = &mut buffer[..length];
    // The second member's first token; its 156 tokens come after it, then the recipient, the rung, the coordinator and the secret.
    let first_token = length - 6 - 1 - SECRET;
    assert_eq!(bytes[first_token], 100);
    bytes[first_token] = 99;
    let error = ControlError::NotContiguous {
        index: 1,
        found: 99,
        expected: 100,
    };
    assert_eq!(Control::parse(bytes), Err(FrameError::Control(error)));
}

#[test]
fn an_offer_of_every_token_to_every_member_is_accepted() {
    let mut offer = offer();
    offer.members.clear();
    for index in 0..16_u16 {
        let member = Member {
            device: device(index as u8 * 8),
            first_token: index * 4096,
            tokens: 4096,
        };
        offer.members.push(member).unwrap();
    }
    offer.recipient = 15;
    assert_eq!(offer.own().map(|member| member.first_token), Some(61_440));
    let message = Control::Offer(offer);
    let mut buffer = [0; MAX_BODY];
    let length = message.emit(VERSION, &mut buffer).unwrap();
    assert_eq!(Control::parse(&buffer[..length]), Ok(message));
}

#[test]
fn a_seventeenth_member_is_refused() {
    let mut bytes = vec![VERSION, 1, 0, 0];
    bytes.extend([0xbb; 32]);
    bytes.push(17);
    for index in 0..17_u8 {
        bytes.extend([index; 16]);
        bytes.extend([index, 1]);
    }
    bytes.extend([0; 3 + SECRET]);
    assert!(matches!(
        Control::parse(&bytes),
        Err(FrameError::Malformed(_))
    ));
}
