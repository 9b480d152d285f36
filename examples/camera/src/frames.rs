//! JPEG frames one after the other, as `ffmpeg -f mjpeg` and `libcamera-vid --codec mjpeg` write them.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use tokio::sync::watch;

/// Largest frame, in bytes: a longer one is not JPEG.
const MAX_FRAME: usize = 32 << 20;

/// Markers of a JPEG (ITU-T T.81, table B.1): the byte after 0xff.
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;

type Frame = Option<io::Result<(u64, Arc<Vec<u8>>)>>;

/// The newest frame of a stream that a thread reads.
pub(crate) struct Newest {
    frames: tokio::sync::Mutex<watch::Receiver<Arc<Frame>>>,
}

impl Newest {
    /// Starts a thread that reads frames until the end of `input`.
    pub(crate) fn of(input: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(None));
        std::thread::spawn(move || {
            let mut input = BufReader::new(input);
            let mut number = 0;
            loop {
                number += 1;
                let frame = match read_frame(&mut input) {
                    Ok(None) => return,
                    Ok(Some(frame)) => Ok((number, Arc::new(frame))),
                    Err(error) => Err(error),
                };
                let last = frame.is_err();
                if sender.send(Arc::new(Some(frame))).is_err() || last {
                    return;
                }
            }
        });
        Self {
            frames: tokio::sync::Mutex::new(receiver),
        }
    }

    /// Waits for a frame that was not returned before, and returns the newest with its number; `None` after the last.
    pub(crate) async fn next(&self) -> io::Result<Option<(u64, Arc<Vec<u8>>)>> {
        let mut frames = self.frames.lock().await;
        if frames.changed().await.is_err() {
            return Ok(None);
        }
        let frame = Arc::clone(&frames.borrow_and_update());
        match frame.as_ref() {
            Some(Ok((number, frame))) => Ok(Some((*number, Arc::clone(frame)))),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Ok(None),
        }
    }
}

/// One frame from its first marker to its last; `None` at the end of the stream. A frame in which the next one begins was
/// truncated by the camera, and is skipped.
fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::new();
    // Bytes between two frames are skipped.
    let mut before = 0;
    loop {
        match byte(input)? {
            None => return Ok(None),
            Some(SOI) if before == 0xff => break,
            Some(other) => before = other,
        }
    }
    frame.extend([0xff, SOI]);
    loop {
        let mut marker = marker(input, &mut frame)?;
        match marker {
            // Markers without a segment after them.
            SOI | EOI | 0x01 | 0xd0..=0xd7 => {}
            _ => segment(input, &mut frame)?,
        }
        if marker == SOS {
            marker = scan(input, &mut frame)?;
        }
        match marker {
            EOI => return Ok(Some(frame)),
            SOI => {
                frame.clear();
                frame.extend([0xff, SOI]);
            }
            _ => {}
        }
    }
}

fn byte(input: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match input.read_exact(&mut byte) {
        Ok(()) => Ok(Some(byte[0])),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The next byte, added to the frame; the end of the stream is an error.
fn next_byte(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<u8> {
    let byte = byte(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if frame.len() >= MAX_FRAME {
        let text = format!("frame: found more than {MAX_FRAME} bytes, expected JPEG");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    frame.push(byte);
    Ok(byte)
}

fn marker(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<u8> {
    let first = next_byte(input, frame)?;
    if first != 0xff {
        let text = format!("frame: found byte {first:#04x}, expected a marker of JPEG");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    loop {
        // Any number of 0xff may precede a marker.
        match next_byte(input, frame)? {
            0xff => {}
            marker => return Ok(marker),
        }
    }
}

/// A segment: its length in two bytes, which count too, and the rest.
fn segment(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<()> {
    let length = u16::from_be_bytes([next_byte(input, frame)?, next_byte(input, frame)?]);
    for _ in 2..length {
        next_byte(input, frame)?;
    }
    Ok(())
}

/// Entropy-coded data up to the next marker, which is returned. In the data 0xff is followed by 0; restart markers are part of it.
fn scan(input: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<u8> {
    loop {
        if next_byte(input, frame)? != 0xff {
            continue;
        }
        let mut next = next_byte(input, frame)?;
        while next == 0xff {
            next = next_byte(input, frame)?;
        }
        match next {
            0 | 0xd0..=0xd7 => {}
            SOI | EOI => return Ok(next),
            // Another segment, as between the scans of a progressive file.
            marker => {
                segment(input, frame)?;
                if marker != SOS {
                    return Ok(marker);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a segment that contains the bytes of an end marker, stuffed bytes and a restart marker.
    fn frame(tag: u8) -> Vec<u8> {
        let mut frame = vec![0xff, SOI];
        frame.extend([0xff, 0xe1, 0, 6, 0xff, EOI, 0xff, SOI]);
        frame.extend([0xff, 0xff, 0xfe, 0, 3, tag]);
        frame.extend([0xff, SOS, 0, 3, 1]);
        frame.extend([5, 0xff, 0, 7, 0xff, 0xd0, 9]);
        // A second scan after a table, as progressive files have.
        frame.extend([0xff, 0xc4, 0, 3, 1, 0xff, SOS, 0, 2, 4, 0xff, EOI]);
        frame
    }

    #[test]
    fn a_stream_is_split_into_frames() {
        let mut stream = b"junk".to_vec();
        stream.extend(frame(1));
        stream.extend([0, 0xff]);
        stream.extend(frame(2));
        let mut input = stream.as_slice();
        assert_eq!(read_frame(&mut input).unwrap(), Some(frame(1)));
        assert_eq!(read_frame(&mut input).unwrap(), Some(frame(2)));
        assert_eq!(read_frame(&mut input).unwrap(), None);
    }

    /// Cameras drop the end of a frame when the bus is busy.
    #[test]
    fn a_frame_in_which_the_next_begins_is_skipped() {
        let whole = frame(2);
        // Without the end marker, without the last of the data, in the middle of the header, and after the first marker.
        let length = frame(1).len();
        for cut in [length - 2, length - 3, 2 + 8, 2] {
            let stream = [&frame(1)[..cut], &whole].concat();
            let mut input = stream.as_slice();
            assert_eq!(
                read_frame(&mut input).unwrap(),
                Some(whole.clone()),
                "{cut}"
            );
            assert_eq!(read_frame(&mut input).unwrap(), None);
        }
    }

    #[test]
    fn a_truncated_frame_and_other_data_are_errors() {
        let whole = frame(1);
        for length in 2..whole.len() {
            let error = read_frame(&mut &whole[..length]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        let error = read_frame(&mut [0xff, SOI, 7].as_slice()).unwrap_err();
        assert!(error.to_string().contains("0x07"), "{error}");
    }

    #[tokio::test]
    async fn the_newest_frame_is_returned_once() {
        let stream: Vec<u8> = [frame(1), frame(2), frame(3)].concat();
        let newest = Newest::of(io::Cursor::new(stream));
        let mut numbers = Vec::new();
        while let Some((number, found)) = newest.next().await.unwrap() {
            assert_eq!(*found, frame(number as u8));
            numbers.push(number);
        }
        // How many come depends on who is faster; the last one always does.
        assert_eq!(numbers.last(), Some(&3), "{numbers:?}");
        assert!(numbers.is_sorted());
    }
}
