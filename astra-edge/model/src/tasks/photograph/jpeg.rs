//! What the decoder of JPEG leaves to us: files without an end, and frames of webcams without Huffman tables.

use std::borrow::Cow;

/// Markers (ITU-T T.81, table B.1): the byte after 0xff.
const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: u8 = 0xda;
const HUFFMAN_TABLES: u8 = 0xc4;
/// Baseline, and extended sequential: the two whose scans may be coded with the tables of annex K.
const SEQUENTIAL: [u8; 2] = [0xc0, 0xc1];

/// A segment APP0 that says that a frame is one of Motion JPEG (OpenDML AVI file format extensions, "Motion JPEG DIBs"): the
/// decoder then uses the tables of ITU-T T.81, K.3 to K.6, where the file has none of its own.
const MOTION_JPEG: [u8; 9] = [0xff, 0xe0, 0, 7, b'A', b'V', b'I', b'1', 0];

/// The segments before the data of the first scan.
struct Header<'a> {
    /// Their markers, that of the scan last.
    markers: Vec<u8>,
    /// What follows.
    rest: &'a [u8],
}

/// Whether a file has an end marker after the header of its first scan. Metadata, which may hold a whole thumbnail with an end
/// marker of its own, come before that.
pub(super) fn ends(bytes: &[u8]) -> bool {
    let rest = header(bytes).map_or(bytes, |header| header.rest);
    rest.windows(2).rev().any(|pair| pair == END_OF_IMAGE)
}

/// The same file, with the tables that decoders are to know where it has none.
///
/// Webcams leave them out of every frame (USB Video Class, Motion-JPEG payload); libjpeg puts in the same ones. A file with
/// some tables of its own is left as it is.
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

/// Walks the segments before the first scan (ITU-T T.81, B.1.1); `None` where they do not follow one another.
fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut rest = bytes.strip_prefix(&START_OF_IMAGE)?;
    let mut markers = Vec::new();
    loop {
        match rest {
            // Any number of 0xff may stand before a marker.
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
