//! Detection of unsupported file formats by their first bytes, for errors that say how to convert them.

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its name, with an article if it needs one.
    pub(super) name: &'static str,
    /// How to convert it, after a semicolon; may be empty.
    pub(super) advice: &'static str,
}

const CONVERT: &str = "; convert it to one of these";
const HEIF: &str = "; convert it (heif-convert IN.heic OUT.jpg) or have the camera save JPEG (iPhone: Camera, Formats, Most Compatible)";
const AVIF: &str = "; convert it (avifdec IN.avif OUT.png)";
const RAW: &str = "; export it as JPEG, or use the JPEG that the camera saves with it";
const FRAME: &str = "; save one frame of it as JPEG (ffmpeg -i IN -frames:v 1 OUT.jpg)";
const RENDER: &str = "; render it as PNG";

/// Bytes of a text that are searched.
const TEXT: usize = 1024;

/// Offset, signature and format; the first match counts.
const SIGNATURES: &[(usize, &[u8], Kind)] = &[
    (0, b"GIF8", kind("GIF", CONVERT)),
    (8, b"CR\x02\0", kind("a raw photograph (CR2)", RAW)),
    (
        0,
        b"II*\0",
        kind("TIFF, or a raw photograph (DNG, NEF, ARW)", CONVERT),
    ),
    (
        0,
        b"MM\0*",
        kind("TIFF, or a raw photograph (DNG, NEF, ARW)", CONVERT),
    ),
    (0, b"II+\0", kind("BigTIFF", CONVERT)),
    (0, b"MM\0+", kind("BigTIFF", CONVERT)),
    (0, b"IIU\0", kind("a raw photograph (RW2)", RAW)),
    (0, b"IIRO", kind("a raw photograph (ORF)", RAW)),
    (0, b"IIRS", kind("a raw photograph (ORF)", RAW)),
    (0, b"FUJIFILMCCD-RAW", kind("a raw photograph (RAF)", RAW)),
    (0, b"\0\0\x01\0", kind("ICO", CONVERT)),
    (0, b"\xff\x0a", kind("JPEG XL", CONVERT)),
    (4, b"JXL \r\n\x87\n", kind("JPEG XL", CONVERT)),
    (4, b"jP  \r\n\x87\n", kind("JPEG 2000", CONVERT)),
    (0, b"\xff\x4f\xff\x51", kind("JPEG 2000", CONVERT)),
    (0, b"8BPS", kind("PSD", CONVERT)),
    (0, b"DDS ", kind("DDS", CONVERT)),
    (0, b"qoif", kind("QOI", CONVERT)),
    (0, b"farbfeld", kind("farbfeld", CONVERT)),
    (0, b"v/1\x01", kind("OpenEXR", CONVERT)),
    (0, b"#?RADIANCE", kind("Radiance HDR", CONVERT)),
    (128, b"DICM", kind("DICOM", CONVERT)),
    (0, b"%PDF", kind("PDF", RENDER)),
    (0, b"%!PS", kind("PostScript", RENDER)),
    (8, b"AVI LIST", kind("an AVI video", FRAME)),
    (0, b"\x1aE\xdf\xa3", kind("a Matroska or WebM video", FRAME)),
    (0, b"YUV4MPEG2", kind("a raw video (Y4M)", FRAME)),
    (0, b"\0\0\0\x01\x67", kind("an H.264 stream", FRAME)),
    (0, b"\0\0\0\x01\x40", kind("an H.265 stream", FRAME)),
    (0, b"PK\x03\x04", kind("a ZIP archive", "")),
    (0, b"\x1f\x8b", kind("a gzip file", "")),
    (0, b"\x93NUMPY", kind("a NumPy array", CONVERT)),
];

/// Prefixes of texts in lower case, and their formats.
const TEXTS: &[(&str, Kind)] = &[
    ("<!doctype html", HTML),
    ("<html", HTML),
    ("<head", HTML),
    ("<svg", SVG),
    (
        "version https://git-lfs",
        kind(
            "a Git LFS pointer, not the file itself",
            "; fetch the file (git lfs pull)",
        ),
    ),
    ("data:image/", BASE64),
    // The first bytes of JPEG, PNG and WebP in base64.
    ("/9j/", BASE64),
    ("ivborw0kggo", BASE64),
    ("uklgr", BASE64),
];

const HTML: Kind = kind("an HTML page, possibly of a failed download", "");
const SVG: Kind = kind("SVG", RENDER);
const BASE64: Kind = kind("a picture as base64 text", "; decode it first");

const fn kind(name: &'static str, advice: &'static str) -> Kind {
    Kind { name, advice }
}

/// The format of a file, if it is known.
pub(super) fn of(bytes: &[u8]) -> Option<Kind> {
    let signature = SIGNATURES.iter().find(|(offset, signature, _)| {
        let rest = bytes.get(*offset..).unwrap_or_default();
        rest.starts_with(signature)
    });
    signature
        .map(|(_, _, kind)| *kind)
        .or_else(|| iso_media(bytes))
        .or_else(|| bitmap(bytes))
        .or_else(|| text(bytes))
        .or_else(|| zeros(bytes))
}

/// Files of the ISO base media format (ISO/IEC 14496-12): their first box, `ftyp`, lists brands, the first of which may be as general as
/// `mif1`, some image.
fn iso_media(bytes: &[u8]) -> Option<Kind> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let brands = rest.strip_prefix(b"ftyp")?;
    let length = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    // At least one brand and the minor version: the lengths 0 and 1 have special meanings.
    let length = length.saturating_sub(8).max(8);
    let brands = brands.get(..length).unwrap_or(brands);
    let (brands, _) = brands.as_chunks::<4>();
    let has = |known: &[&[u8; 4]]| brands.iter().any(|brand| known.contains(&brand));
    Some(if has(&[b"avif", b"avis"]) {
        kind("AVIF", AVIF)
    } else if has(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
    ]) {
        kind("HEIC", HEIF)
    } else if has(&[b"mif1", b"mif2", b"msf1", b"miaf"]) {
        kind("HEIF", HEIF)
    } else if has(&[b"crx "]) {
        kind("a raw photograph (CR3)", RAW)
    } else {
        kind("an MP4 or QuickTime video", FRAME)
    })
}

/// BMP has four zero bytes after its length; its two letters alone could begin a text.
fn bitmap(bytes: &[u8]) -> Option<Kind> {
    let reserved = bytes.strip_prefix(b"BM")?.get(4..8)?;
    (reserved == [0; 4]).then_some(kind("BMP", CONVERT))
}

fn text(bytes: &[u8]) -> Option<Kind> {
    let start = bytes.get(..TEXT).unwrap_or(bytes);
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let start = String::from_utf8_lossy(start.trim_ascii_start()).to_ascii_lowercase();
    let known = TEXTS.iter().find(|(known, _)| start.starts_with(known));
    if let Some((_, kind)) = known {
        return Some(*kind);
    }
    if ["<?xml", "<!--", "<!doctype"]
        .iter()
        .any(|xml| start.starts_with(xml))
    {
        return Some(match (start.contains("<svg"), start.contains("<html")) {
            (true, _) => SVG,
            (_, true) => HTML,
            _ => kind("an XML document", ""),
        });
    }
    // Not any bracket: INI and TOML files begin with one too.
    let json = ["{\"", "{ \"", "{\n", "[{"]
        .iter()
        .any(|json| start.starts_with(json));
    let pnm = start.starts_with('p')
        && start
            .as_bytes()
            .get(1)
            .is_some_and(|digit| (b'1'..=b'7').contains(digit))
        && start.as_bytes().get(2).is_some_and(u8::is_ascii_whitespace);
    match (json, pnm) {
        (true, _) => Some(kind("JSON text", "")),
        (_, true) => Some(kind("PNM", CONVERT)),
        _ => None,
    }
}

/// A file of zeros, as left by a download that allocated its space and then failed.
fn zeros(bytes: &[u8]) -> Option<Kind> {
    let all = !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
    all.then_some(kind("only zero bytes", ""))
}
