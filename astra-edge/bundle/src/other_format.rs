//! What to do about a bundle of another format.

use std::path::Path;

use serde_json::Value;

use crate::layout::FORMAT_OF_BLOCKS;

/// What to do about a bundle of the format `found`: of an older one the command that exports the model again. The arguments are
/// what its manifest, at `path`, says of its source; placeholders stand for the rest.
pub(crate) fn advice(found: u64, path: &Path, manifest: &[u8]) -> String {
    if found > u64::from(FORMAT_OF_BLOCKS) {
        return "a newer astra-export wrote it: use a newer version of this program".to_owned();
    }
    let manifest: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let out = path.parent().map(Path::to_string_lossy).unwrap_or_default();
    format!("make it anew: {}", command(&manifest, &out))
}

fn command(manifest: &Value, out: &str) -> String {
    let text = |pointer| manifest.pointer(pointer).and_then(Value::as_str);
    let file = text("/source/file").filter(|file| is_printable(file));
    let (source, known_as) = match file.map(|file| (file, Path::new(file))) {
        Some((file, path)) if has_extension(path, "onnx") => {
            (format!("--onnx {}", quoted(file)), path.file_stem())
        }
        Some((file, path)) if has_extension(path, "gguf") => {
            (format!("--gguf {}", quoted(file)), path.file_stem())
        }
        Some((_, path)) if has_extension(path, "safetensors") || has_extension(path, "json") => {
            ("--hf DIR".to_owned(), None)
        }
        _ => ("--onnx FILE|--gguf FILE|--hf DIR".to_owned(), None),
    };
    let mut command = format!("astra-export export {source}");
    let model = text("/model").filter(|model| is_printable(model));
    // Without --name, the exporter takes that of the source.
    if let Some(model) = model.filter(|model| known_as.is_none_or(|name| name != *model)) {
        command += &format!(" --name {}", quoted(model));
    }
    for (option, pointer) in [
        ("--size", "/image/size"),
        ("--max-tokens", "/text/max_tokens"),
    ] {
        if let Some(value) = manifest.pointer(pointer).and_then(Value::as_u64) {
            command += &format!(" {option} {value}");
        }
    }
    command + &format!(" --out {}", quoted(out))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Whether it can stand in an error, which is one line.
fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_bundle_is_made_anew_by_a_command() {
        for (manifest, expected) in [
            (
                r#"{"model": "focus", "source": {"file": "focus.onnx"}, "image": {"size": 518}}"#,
                "--onnx focus.onnx --size 518",
            ),
            (
                r#"{"model": "smol", "source": {"file": "My Model.GGUF"}, "text": {"max_tokens": 2048}}"#,
                "--gguf 'My Model.GGUF' --name smol --max-tokens 2048",
            ),
            (
                r#"{"model": "it's", "source": {"file": "model.safetensors"}}"#,
                r"--hf DIR --name 'it'\''s'",
            ),
            (
                r#"{"source": {"file": "a\nb.onnx"}}"#,
                "--onnx FILE|--gguf FILE|--hf DIR",
            ),
            (
                r#"{"source": 7, "image": {"size": "x"}}"#,
                "--onnx FILE|--gguf FILE|--hf DIR",
            ),
        ] {
            let found = advice(2, Path::new("/b/old/manifest.json"), manifest.as_bytes());
            let expected = format!("make it anew: astra-export export {expected} --out /b/old");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_newer_bundle_needs_a_newer_program() {
        let found = advice(5, Path::new("manifest.json"), b"{}");
        assert!(found.contains("newer version of this program"), "{found}");
    }
}
