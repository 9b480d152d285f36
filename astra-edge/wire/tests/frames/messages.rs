//! Received messages of several frames.

use astra_wire::*;

use super::{frames, header, plain};

#[test]
fn frames_of_one_message_are_read_up_to_the_first_unreadable_one() {
    for (codes, bits, tokens) in [(20, 8, 342), (40, 8, 65), (3, 10, 900), (384, 32, 3)] {
        let layout = plain(codes, bits);
        let all: Vec<u32> = (0..u32::from(codes) * u32::from(tokens))
            .map(|code| code % 200)
            .collect();
        let (mut message, mut ends) = (Vec::new(), Vec::new());
        for frame in frames(header(&layout, 5, tokens), layout, &all, SideInfo::NONE) {
            message.extend(frame);
            ends.push(message.len());
        }
        assert!(ends.len() > 1, "{ends:?}");
        for cut in 0..=message.len() {
            let read: Vec<_> = Frames::new(&message[..cut], &[layout; 10]).collect();
            let whole = ends.iter().take_while(|end| **end <= cut).count();
            let mut start = 0;
            for (read, &end) in read.iter().zip(&ends[..whole]) {
                assert_eq!(read.as_ref(), Ok(&parse(&message[start..end]).unwrap()));
                start = end;
            }
            match read.get(whole) {
                None => assert_eq!(cut, start),
                Some(rest) => assert_eq!(rest, &Err(FrameError::Truncated)),
            }
            assert!(read.len() <= whole + 1);
        }
        // Of another version, in the second frame: what comes after it cannot be found.
        message[ends[0]] = 0;
        let read: Vec<_> = Frames::new(&message, &[layout; 10]).collect();
        assert_eq!(read.len(), 2);
        assert!(matches!(read[1], Err(FrameError::Version { .. })));
    }
    let layout = plain(20, 8);
    let none: Vec<_> = Frames::new(&[], &[layout]).collect();
    assert_eq!(none, [Err(FrameError::Truncated)]);
}

#[test]
fn a_frame_longer_than_a_datagram_is_refused() {
    let mut bytes = vec![0; MAX_BODY + 1];
    bytes[..11].copy_from_slice(&[VERSION, 0x80, 0, 0, 0, 0, 0, 1, 0, 8, 1]);
    assert_eq!(
        parse(&bytes),
        Err(FrameError::TooLong {
            found: MAX_BODY + 1
        })
    );
    assert!(parse(&bytes[..MAX_BODY]).is_ok());
}
