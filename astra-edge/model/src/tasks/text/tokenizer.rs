//! Text to token ids.

use std::path::{Path, PathBuf};

use astra_bundle::TextInput;

/// A tokenizer is refused, or does not take a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("{}: cannot read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is no tokenizer.
    #[error("{}: not a tokenizer: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A text contains a token that the tokenizer knows and the model does not.
    #[error(
        "the text contains {token:?}: found token id {id}, expected less than {vocab}, the model's vocabulary"
    )]
    UnknownToken {
        /// The token as text.
        token: String,
        /// Its id.
        id: u32,
        /// Tokens of the model.
        vocab: usize,
    },
    /// A text cannot be divided into tokens.
    #[error("the text cannot be divided into tokens: {0}")]
    Encode(String),
    /// Tokens cannot be put together.
    #[error("tokens cannot be put together: {0}")]
    Decode(String),
}

/// Divides text into the tokens of one model, and puts them together again.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Tokens of the model; the tokenizer may have more.
    vocab: usize,
    /// Put before a text, where the tokenizer itself does not.
    bos: Option<u32>,
}

impl Tokenizer {
    /// Opens the tokenizer of a bundle in `dir`.
    ///
    /// # Errors
    /// The file cannot be read, or is no tokenizer.
    pub fn open(dir: &Path, text: &TextInput) -> Result<Self, TokenizerError> {
        let path = dir.join(&text.tokenizer);
        match std::fs::read(&path) {
            Ok(bytes) => Self::from_bytes(bytes, path, text),
            Err(error) => Err(TokenizerError::Read { path, error }),
        }
    }

    /// A tokenizer from the content of the file at `path`, which errors name.
    ///
    /// # Errors
    /// The bytes are no tokenizer, or one of another model.
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
        // Files say how texts were cut and filled up in training; here a text is taken whole or refused.
        let uncut = inner.with_truncation(None).map(drop);
        uncut.map_err(|error| TokenizerError::Parse {
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

    /// The tokens of a text, with the special ones that the model wants around it.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`], [`TokenizerError::UnknownToken`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.ids(text, true)?;
        Ok(self.bos.into_iter().chain(ids).collect())
    }

    /// The tokens of a text that says itself where special ones belong, as templates do.
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

    /// The text of tokens, without special ones. Bytes that are no UTF-8 become U+FFFD.
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
    fn text_comes_back() {
        let tokenizer = fixture::tokenizer();
        for text in ["", "hello world", "grüße, 世界 🦀", "a\n\n\tb\u{0}"] {
            let ids = tokenizer.encode_as_is(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }

    #[test]
    fn special_tokens_go_where_they_belong() {
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
    fn a_long_text_is_not_cut() {
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
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let open = |input: &TextInput| match Tokenizer::open(folder.path(), input) {
            Ok(_) => panic!("taken"),
            Err(error) => error.to_string(),
        };
        assert!(open(&fixture::input()).contains("tokenizer.json: cannot read"));
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        assert!(open(&fixture::input()).contains("tokenizer.json: not a tokenizer"));
    }

    /// Files of transformers often have tokens that were added to the tokenizer and not to the model, such as one for padding.
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
