//! JPEG files that the decoder does not handle: truncated ones, and frames of webcams without Huffman tables.

use std::borrow::Cow;

/// Markers (ITU-T T.81, table B.1): the byte after 0xff.
const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
/// Baseline and extended sequential, whose scans can be coded with the tables of annex K.
const SEQUENTIAL: [u8; 2] = [0xc0, 0xc1];

/// An APP0 segment that marks a frame as Motion JPEG (OpenDML AVI file format extensions, "Motion JPEG DIBs"): the decoder then uses the
/// tables of ITU-T T.81, K.3 to K.6, if the file has none.
const MOTION_JPEG: [u8; 9] = [0xff, 0xe0, 0, 7, b'A', b'V', b'I', b'1', 0];

/// The segments before the data of the first scan.
struct Header<'a> {
    /// Their markers, the scan's last.
    markers: Vec<u8>,
    /// The data after them.
    rest: &'a [u8],
}

/// Whether a file has an end marker after the header of its first scan. Metadata, which may contain a thumbnail with its own end marker,
/// precede that.
pub(super) fn ends(bytes: &[u8]) -> bool {
    let rest = header(bytes).map_or(bytes, |header| header.rest);
    rest.windows(2).rev().any(|pair| pair == END_OF_IMAGE)
}

/// The file with the default Huffman tables if it has none.
///
/// Webcams omit them in every frame (USB Video Class, Motion-JPEG payload); libjpeg adds the same ones. A file with any tables is left
/// unchanged.
pub(super) fn with_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bare = header(bytes).is_some_and(|Header { markers, .. }| {
        let has = |wanted: &[u8]| markers.iter().any(|marker| wanted.contains(marker));
        has(&SEQUENTIAL) && !has(&[HUFFMAN_TABLES])
    });
    match bytes.strip_prefix(&START_OF_IMAGE) {
        Some(rest) if bare => Cow::Owned([&START_OF_IMAGE, &MOTION_JPEG[..], rest].concat()),
        _ => Cow::Borrowed(bytes),
    }
}

/// Parses the segments before the first scan (ITU-T T.81, B.1.1); `None` if they are not contiguous.
fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut rest = bytes.strip_prefix(&START_OF_IMAGE)?;
    let mut markers = Vec::new();
    loop {
        match rest {
            // Any number of 0xff may precede a marker.
            [0xff, 0xff, ..] => rest = rest.get(1..)?,
            [0xff, marker, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(2 + length..)?;
                markers.push(*marker);
                if *marker == START_OF_SCAN {
                    return Some(Header { markers, rest });
                }
            }
            _ => return None,
        }
    }
}
