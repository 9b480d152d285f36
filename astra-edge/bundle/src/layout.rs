//! Names, alignment and limits of the formats.

use crate::error::Invalid;

/// Version of the format of bundles whose matrices are float32.
pub const FORMAT: u32 = 3;
/// Version of the format of bundles with a matrix in blocks of narrow integers, which readers of [`FORMAT`] alone must refuse.
pub const FORMAT_OF_BLOCKS: u32 = 4;
/// The one file that is not listed in the manifest, because it is the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Every tensor of the bundle; the graphs name it as their ONNX external data.
pub const WEIGHTS_FILE: &str = "weights.bin";
/// Codebooks of every rung and block.
pub const CODEBOOKS_FILE: &str = "codebooks.bin";
/// Tensors and codebook parts start at multiples of this, a cache line on every target.
pub const ALIGN: u64 = 64;

/// Far above any real manifest; keeps a foreign file from being read into memory whole.
pub(crate) const MANIFEST_MAX_BYTES: u64 = 16 << 20;
/// Extension of the graphs.
const GRAPH_EXTENSION: &str = "onnx";
/// Longest file name of a bundle; leaves room for the suffixes of temporary names on every common file system.
pub(crate) const NAME_MAX: usize = 128;

/// File name of a graph.
pub(crate) fn graph_file(name: &str) -> String {
    format!("{name}.{GRAPH_EXTENSION}")
}

/// Name of the graph that computes keys and values of remote tokens in exact mode, without extension.
pub fn exact_name(block: usize) -> String {
    format!("exact_{block:02}")
}

/// `bytes` rounded up to [`ALIGN`], or `None` past the end of `u64`.
pub(crate) fn align_up(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(ALIGN)
}

/// Refuses names that could leave the bundle's directory, hide in it, or mean different files on different systems.
pub(crate) fn check_file_name(field: &str, name: &str) -> Result<(), Invalid> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with('.')
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("{name:?}"),
        "a plain file name of letters, digits, '.', '_' and '-' that does not start with '.'",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_up_and_never_wraps() {
        for (bytes, aligned) in [(0, 0), (1, 64), (64, 64), (65, 128)] {
            assert_eq!(align_up(bytes), Some(aligned));
        }
        assert_eq!(align_up(u64::MAX), None);
    }

    #[test]
    fn file_names_stay_in_the_directory() {
        for good in ["embed.onnx", "local_03.onnx", "a", "tokenizer.json", "a..b"] {
            assert!(check_file_name("files", good).is_ok(), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "c:x",
            ".hidden",
            "a\0",
            "ä",
            " ",
            &long,
        ] {
            assert!(check_file_name("files", bad).is_err(), "{bad}");
        }
    }
}
