//! Texts as the model takes them: windows of a file for causal models, passages for encoders.

use std::path::{Path, PathBuf};

use astra_bundle::Manifest;
use astra_model::tasks::text::tokenizer::{Tokenizer, TokenizerError};

/// Tokens of a window: enough for a token to be read from afar, and many fit a file.
pub const WINDOW: usize = 512;
/// Fewest tokens of a passage; titles and the like teach little.
const SHORTEST: usize = 8;

/// Why there are no texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextsError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Not a text.
    #[error("{}: found a byte that begins no character at {at}, expected UTF-8", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is not UTF-8.
        at: usize,
    },
    /// Too little of it.
    #[error("text: found {found} tokens, expected at least {expected}")]
    TooShort {
        /// Tokens there are.
        found: usize,
        /// Tokens of one window.
        expected: usize,
    },
    /// The tokenizer refused.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A text file.
///
/// # Errors
/// [`TextsError::Read`], [`TextsError::NotUtf8`]
pub fn read(path: &Path) -> Result<String, TextsError> {
    let bytes = std::fs::read(path).map_err(|source| TextsError::Read {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| TextsError::NotUtf8 {
        path: path.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// `text` as inputs of a model: for a causal one windows of [`WINDOW`] tokens that follow one another, for an encoder a passage
/// a line, cut to what the model takes. At most `most` of them, taken evenly from the whole.
///
/// # Errors
/// [`TextsError::TooShort`], [`TextsError::Tokenizer`]
pub fn inputs(
    text: &str,
    tokenizer: &Tokenizer,
    manifest: &Manifest,
    most: usize,
) -> Result<Vec<Vec<u32>>, TextsError> {
    let longest = manifest
        .text
        .as_ref()
        .map_or(WINDOW, |text| text.max_tokens);
    if manifest.family.is_causal() {
        let ids = tokenizer.encode_as_is(text)?;
        let length = longest.min(WINDOW);
        let windows: Vec<&[u32]> = ids.chunks_exact(length).collect();
        if windows.is_empty() {
            return Err(TextsError::TooShort {
                found: ids.len(),
                expected: length,
            });
        }
        return Ok(evenly(&windows, most)
            .map(|window| window.to_vec())
            .collect());
    }
    let mut passages = Vec::new();
    for line in text.lines() {
        let ids = tokenizer.encode(line)?;
        if ids.len() >= SHORTEST.min(longest) {
            passages.push(cut(ids, longest));
        }
    }
    if passages.is_empty() {
        return Err(TextsError::TooShort {
            found: 0,
            expected: SHORTEST,
        });
    }
    Ok(evenly(&passages, most).cloned().collect())
}

/// The first tokens and, as special ones stand at the ends, the last.
fn cut(mut ids: Vec<u32>, longest: usize) -> Vec<u32> {
    let last = ids.last().copied();
    if ids.len() > longest {
        ids.truncate(longest.saturating_sub(1));
        ids.extend(last);
    }
    ids
}

/// At most `most` of `items`, in their order.
fn evenly<T>(items: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = items.len().min(most);
    (0..count).filter_map(move |i| items.get(i * items.len() / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_taken_from_everywhere() {
        let items: Vec<usize> = (0..10).collect();
        let taken = |most| evenly(&items, most).copied().collect::<Vec<_>>();
        assert_eq!(taken(3), [0, 3, 6]);
        assert_eq!(taken(20), items);
        assert!(taken(0).is_empty());
    }

    #[test]
    fn a_long_passage_keeps_its_ends() {
        assert_eq!(cut(vec![1, 2, 3, 4, 9], 3), [1, 2, 9]);
        assert_eq!(cut(vec![1, 9], 3), [1, 9]);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        assert!(matches!(read(&path), Err(TextsError::Read { .. })));
        std::fs::write(&path, [b'a', 0xff]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("notes: found a byte that begins no character at 1, expected UTF-8"),
            "{error}"
        );
    }
}
