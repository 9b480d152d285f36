//! What people send instead of a photograph.

use super::super::*;

fn message(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

/// A file of the ISO base media format with these brands, the first of which is the major one.
fn brands(brands: &[&[u8; 4]]) -> Vec<u8> {
    let size = u32::try_from(16 + 4 * (brands.len() - 1)).unwrap();
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend(b"ftyp");
    bytes.extend(brands[0]);
    bytes.extend([0; 4]);
    bytes.extend(brands[1..].iter().copied().flatten());
    // Boxes that follow have names of their own.
    bytes.extend(b"\0\0\0\x08avif");
    bytes
}

#[test]
fn files_of_phones_are_named_with_a_way_to_convert_them() {
    for major in [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
    ] {
        let message = message(&brands(&[major, b"mif1"]));
        assert!(
            message.starts_with("image: found HEIC, expected a JPEG, PNG or WebP file; convert it"),
            "{message}"
        );
        assert!(message.contains("heif-convert"), "{message}");
    }
    let generic = message(&brands(&[b"mif1", b"miaf", b"heic"]));
    assert!(generic.contains("found HEIC"), "{generic}");
    for major in [b"mif1", b"msf1"] {
        let message = message(&brands(&[major, b"miaf"]));
        assert!(message.contains("found HEIF"), "{message}");
    }
    for file in [
        brands(&[b"avif", b"mif1"]),
        brands(&[b"avis"]),
        brands(&[b"mif1", b"avif"]),
    ] {
        let message = message(&file);
        assert!(message.contains("found AVIF"), "{message}");
        assert!(message.contains("avifdec"), "{message}");
    }
    assert!(message(&brands(&[b"crx "])).contains("raw photograph (CR3)"));
    assert!(message(&brands(&[b"isom", b"mp42"])).contains("an MP4 or QuickTime video"));
    // A length of 0 means "to the end of the file".
    let mut endless = brands(&[b"heic"]);
    endless[..4].fill(0);
    assert!(message(&endless).contains("found HEIC"));
}

#[test]
fn other_kinds_are_named() {
    let dicom = [[0; 128].as_slice(), b"DICM"].concat();
    let cases: [(&[u8], &str); 29] = [
        (b"GIF89a\x01\0\x01\0", "GIF"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a raw photograph (CR2)"),
        (
            b"II*\0\x08\0\0\0\0\0\0\0",
            "TIFF, or a raw photograph (DNG, NEF, ARW)",
        ),
        (
            b"MM\0*\0\0\0\x08",
            "TIFF, or a raw photograph (DNG, NEF, ARW)",
        ),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", "BMP"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\x01", "PSD"),
        (b"P6\n4 4\n255\n", "PNM"),
        (b"qoif\0\0", "QOI"),
        (&dicom, "DICOM"),
        (b"%PDF-1.7\n", "PDF"),
        (b"RIFF\x10\0\0\0AVI LIST", "an AVI video"),
        (b"\x1aE\xdf\xa3\x01", "a Matroska or WebM video"),
        (b"\0\0\0\x01\x67\x64", "an H.264 stream"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"<svg xmlns=''/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg/>", "SVG"),
        (
            b"\xef\xbb\xbf\n<!DOCTYPE html><p>404",
            "an HTML page, possibly of a failed download",
        ),
        (
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>",
            "an XML document",
        ),
        (b"{\"detail\": \"not found\"}", "JSON text"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "a Git LFS pointer, not the file itself",
        ),
        (b"/9j/4AAQSkZJRgABAQ", "a picture as base64 text"),
        (b"iVBORw0KGgoAAAANS", "a picture as base64 text"),
        (b"data:image/png;base64,iVBO", "a picture as base64 text"),
        (&[0; 4096], "only zero bytes"),
    ];
    for (bytes, name) in cases {
        let message = message(bytes);
        let start = format!("image: found {name}, expected a JPEG, PNG or WebP file");
        assert!(message.starts_with(&start), "{message}, not {start}");
    }
}

#[test]
fn what_is_unknown_is_shown() {
    assert!(matches!(decode(b""), Err(ImageError::Empty)));
    for (bytes, start) in [
        (
            b"no picture".as_slice(),
            "6e 6f 20 70 69 63 74 75 (\"no pictu\")",
        ),
        (b"[package]\nname", "5b 70 61 63 6b 61 67 65 (\"[package\")"),
        (b"BM, the maker", "42 4d 2c 20 74 68 65 20 (\"BM, the \")"),
        (b"\xff\xd8", "ff d8 (\"\\xff\\xd8\")"),
    ] {
        let count = bytes.len();
        let expected = format!(
            "not an image: found {count} bytes that start with {start}, expected a JPEG, PNG or WebP file"
        );
        assert_eq!(message(bytes), expected);
    }
}
