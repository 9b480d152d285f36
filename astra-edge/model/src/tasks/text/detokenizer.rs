//! Token ids to text, incrementally.
//!
//! The text of a token depends on its neighbours: the bytes of a character can be spread over several tokens, and decoders treat the first
//! token of a text differently. So the tokens of the last returned text are decoded twice, with and without those after them, and the
//! difference is the new text. Text that ends in U+FFFD may be an incomplete character, and is held back.
//!
//! `DecodeStream` of the crate `tokenizers` returns the prompt again if it ends in an incomplete character, and has no way to return the
//! rest of a text that does.

use std::sync::Arc;

use super::tokenizer::{Tokenizer, TokenizerError};

/// Tokens of the prompt that the first generated tokens are decoded with.
const CONTEXT: usize = 6;

/// Decodes the tokens of one generation one by one. The returned strings, concatenated, are its text; none ends within a character.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// Tokens of the text returned last, or the end of the prompt.
    returned: Vec<u32>,
    /// Tokens after these, whose text is held back.
    pending: Vec<u32>,
}

impl Detokenizer {
    /// Decodes tokens after a prompt, whose own text is not returned.
    pub fn new(tokenizer: Arc<Tokenizer>, prompt: &[u32]) -> Self {
        let context = prompt.len().saturating_sub(CONTEXT);
        Self {
            tokenizer,
            returned: prompt.iter().skip(context).copied().collect(),
            pending: Vec::new(),
        }
    }

    /// The text that a token completes; empty while a character is incomplete.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.pending.push(id);
        let text = self.text()?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.returned = std::mem::take(&mut self.pending);
        Ok(text)
    }

    /// The text held back, with U+FFFD for an incomplete character.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn finish(self) -> Result<String, TokenizerError> {
        self.text()
    }

    /// The text of the pending tokens.
    fn text(&self) -> Result<String, TokenizerError> {
        let before = self.tokenizer.decode(&self.returned)?;
        let window = [self.returned.as_slice(), &self.pending].concat();
        let after = self.tokenizer.decode(&window)?;
        // Not always a prefix: the prompt may end in an incomplete character.
        let mut new = after.chars();
        for expected in before.chars() {
            let mut rest = new.clone();
            if rest.next() != Some(expected) {
                break;
            }
            new = rest;
        }
        Ok(new.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::text::fixture;
    use proptest::prelude::*;

    fn pieces(prompt: &[u32], ids: &[u32]) -> Vec<String> {
        let mut detokenizer = Detokenizer::new(Arc::new(fixture::tokenizer()), prompt);
        let mut pieces: Vec<String> = ids
            .iter()
            .map(|id| detokenizer.push(*id).unwrap())
            .collect();
        pieces.push(detokenizer.finish().unwrap());
        pieces
    }

    #[test]
    fn characters_are_returned_complete() {
        let crab: Vec<u32> = "🦀!".bytes().map(fixture::byte).collect();
        assert_eq!(pieces(&[], &crab), ["", "", "", "🦀", "!", ""]);
        assert_eq!(pieces(&[], &crab[..3]), ["", "", "", "\u{fffd}"]);
        // An invalid byte is held back until the next token shows that it is invalid.
        let stray = [fixture::byte(0xff), fixture::byte(b'a')];
        assert_eq!(pieces(&[], &stray), ["", "\u{fffd}a", ""]);
    }

    #[test]
    fn a_prompt_is_not_returned() {
        let tokenizer = fixture::tokenizer();
        let prompt = tokenizer.encode("héllo hello").unwrap();
        let ids: Vec<u32> = " you".bytes().map(fixture::byte).collect();
        assert_eq!(pieces(&prompt, &ids).concat(), " you");
        let crab: Vec<u32> = "🦀".bytes().map(fixture::byte).collect();
        assert_eq!(pieces(&crab[..2], &crab[2..]).concat(), "🦀");
        let half = [prompt.as_slice(), &crab[..2]].concat();
        assert_eq!(pieces(&half, &crab[2..]).concat(), "🦀");
    }

    #[test]
    fn special_tokens_have_no_text() {
        assert_eq!(
            pieces(
                &[],
                &[fixture::LONGER + 3, fixture::EOS, fixture::byte(b'a')]
            ),
            ["hello", "", "a", ""]
        );
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text(ids in prop::collection::vec(0..fixture::LONGER + 4, 0..40)) {
            let pieces = pieces(&[], &ids);
            prop_assert_eq!(pieces.concat(), fixture::tokenizer().decode(&ids).unwrap());
        }

        #[test]
        fn text_comes_without_replacements(text: String) {
            prop_assume!(!text.contains(char::REPLACEMENT_CHARACTER));
            let ids: Vec<u32> = text.bytes().map(fixture::byte).collect();
            let pieces = pieces(&[], &ids);
            for piece in &pieces {
                prop_assert!(!piece.contains(char::REPLACEMENT_CHARACTER));
            }
            prop_assert_eq!(pieces.concat(), text);
        }
    }
}
