//! Text to token ids.

use std::path::{Path, PathBuf};

use astra_bundle::TextInput;

/// A tokenizer is invalid, or a text cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("{}: cannot read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file is not a tokenizer.
    #[error("{}: not a tokenizer: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        reason: String,
    },
    /// A text contains a token of the tokenizer that is not in the model's vocabulary.
    #[error(
        "the text contains {token:?}: found token id {id}, expected less than {vocab}, the model's vocabulary"
    )]
    UnknownToken {
        /// The token as text.
        token: String,
        /// Its id.
        id: u32,
        /// Size of the model's vocabulary.
        vocab: usize,
    },
    /// A text cannot be tokenized.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// Tokens cannot be decoded.
    #[error("tokens cannot be decoded: {0}")]
    Decode(String),
}

/// The tokenizer of one model.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Size of the model's vocabulary; the tokenizer may have more tokens.
    vocab: usize,
    /// Prepended to a text where the tokenizer itself does not.
    bos: Option<u32>,
}

impl Tokenizer {
    /// Opens the tokenizer of a bundle in `dir`.
    ///
    /// # Errors
    /// The file cannot be read, or is not a tokenizer.
    pub fn open(dir: &Path, text: &TextInput) -> Result<Self, TokenizerError> {
        let path = dir.join(&text.tokenizer);
        match std::fs::read(&path) {
            Ok(bytes) => Self::from_bytes(bytes, path, text),
            Err(error) => Err(TokenizerError::Read { path, error }),
        }
    }

    /// Parses the content of the file at `path`, which is only used in errors.
    ///
    /// # Errors
    /// The bytes are not a tokenizer.
    pub fn from_bytes(
        bytes: Vec<u8>,
        path: PathBuf,
        text: &TextInput,
    ) -> Result<Self, TokenizerError> {
        let mut inner = match tokenizers::Tokenizer::from_bytes(bytes) {
            Ok(inner) => inner,
            Err(error) => {
                let reason = error.to_string();
                return Err(TokenizerError::Parse { path, reason });
            }
        };
        // Files contain the truncation and padding of training; here a text is encoded completely or refused.
        let truncation = inner.with_truncation(None).map(drop);
        truncation.map_err(|error| TokenizerError::Parse {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        inner.with_padding(None);
        Ok(Self {
            inner,
            vocab: text.vocab,
            bos: text.bos.filter(|_| text.add_bos),
        })
    }

    /// Encodes a text, and adds the special tokens that the model expects.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::UnknownToken`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.ids(text, true)?;
        Ok(self.bos.into_iter().chain(ids).collect())
    }

    /// Encodes a text that contains its special tokens, as chat templates produce it.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::UnknownToken`].
    pub fn encode_as_is(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.ids(text, false)
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoded = self.inner.encode_fast(text, special);
        let encoded = encoded.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        let ids = encoded.get_ids();
        let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < self.vocab);
        if let Some(&id) = ids.iter().find(|id| !known(id)) {
            return Err(TokenizerError::UnknownToken {
                token: self.inner.id_to_token(id).unwrap_or_default(),
                id,
                vocab: self.vocab,
            });
        }
        Ok(ids.to_vec())
    }

    /// Decodes tokens, without special ones. Invalid UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let decoded = self.inner.decode(ids, true);
        decoded.map_err(|error| TokenizerError::Decode(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::text::fixture;

    #[test]
    fn decoding_restores_the_text() {
        let tokenizer = fixture::tokenizer();
        for text in ["", "hello world", "grüße, 世界 🦀", "a\n\n\tb\u{0}"] {
            let ids = tokenizer.encode_as_is(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }

    #[test]
    fn special_tokens_are_added_or_parsed() {
        let folder = tempfile::tempdir().unwrap();
        let mut input = fixture::input();
        fixture::write(folder.path());
        input.add_bos = true;
        let tokenizer = Tokenizer::open(folder.path(), &input).unwrap();
        let h = fixture::byte(b'h');
        assert_eq!(tokenizer.encode("h").unwrap(), [fixture::BOS, h]);
        assert_eq!(tokenizer.encode_as_is("h").unwrap(), [h]);
        assert_eq!(
            tokenizer.encode_as_is("<s>h</s>").unwrap(),
            [fixture::BOS, h, fixture::EOS]
        );
        let ids = [fixture::BOS, h, fixture::EOS];
        assert_eq!(tokenizer.decode(&ids).unwrap(), "h");
    }

    #[test]
    fn a_long_text_is_not_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = fixture::json();
        file["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0,
        });
        file["padding"] = serde_json::json!({
            "strategy": { "Fixed": 16 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>",
        });
        std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
        let tokenizer = Tokenizer::open(folder.path(), &fixture::input()).unwrap();
        assert_eq!(tokenizer.encode("abc").unwrap().len(), 3);
        assert_eq!(tokenizer.encode(&"x".repeat(20)).unwrap().len(), 20);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = |input: &TextInput| match Tokenizer::open(folder.path(), input) {
            Ok(_) => panic!("taken"),
            Err(error) => error.to_string(),
        };
        assert!(open(&fixture::input()).contains("tokenizer.json: cannot read"));
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        assert!(open(&fixture::input()).contains("tokenizer.json: not a tokenizer"));
    }

    /// Tokenizer files often have added tokens that the model lacks, such as one for padding.
    #[test]
    fn a_token_that_the_model_lacks_is_refused_in_texts_only() {
        let folder = tempfile::tempdir().unwrap();
        fixture::write(folder.path());
        let mut input = fixture::input();
        input.vocab = fixture::LONGER as usize;
        let tokenizer = Tokenizer::open(folder.path(), &input).unwrap();
        assert_eq!(tokenizer.encode("abc").unwrap().len(), 3);
        for error in [tokenizer.encode("hello"), tokenizer.encode_as_is("a hello")] {
            let id = fixture::LONGER + 3;
            assert_eq!(
                error.unwrap_err().to_string(),
                format!(
                    "the text contains \"hello\": found token id {id}, expected less than {}, the model's vocabulary",
                    fixture::LONGER
                )
            );
        }
    }
}
