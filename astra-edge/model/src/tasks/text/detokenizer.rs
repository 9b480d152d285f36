//! Token ids to text, as they come.
//!
//! The text of a token depends on those around it: bytes of one character can be spread over several, and decoders treat the
//! first token of a text unlike the others. So a window of tokens is decoded twice, with the new token and without, and the
//! difference is what it adds. Text that ends in U+FFFD may be the beginning of a character, and waits for the rest.

use std::sync::Arc;

use super::tokenizer::{Tokenizer, TokenizerError};

/// Tokens of the prompt that the first ones generated are decoded with.
const CONTEXT: usize = 6;

/// Puts one generation's tokens together. What it returns, joined, is the text: never half a character.
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    ids: Vec<u32>,
    /// First token of the window.
    start: usize,
    /// Tokens whose text has been returned.
    done: usize,
}

impl Detokenizer {
    /// Begins behind a prompt, whose own text is not returned.
    pub fn new(tokenizer: Arc<Tokenizer>, prompt: &[u32]) -> Self {
        let context = prompt.len().saturating_sub(CONTEXT);
        let ids = prompt.get(context..).unwrap_or_default().to_vec();
        Self {
            tokenizer,
            start: 0,
            done: ids.len(),
            ids,
        }
    }

    /// The text that a token completes; empty while it is not whole.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        self.ids.push(id);
        let text = self.pending()?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.start = self.done;
        self.done = self.ids.len();
        Ok(text)
    }

    /// The rest, with U+FFFD for a character that was never completed.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn finish(mut self) -> Result<String, TokenizerError> {
        let text = self.pending();
        self.done = self.ids.len();
        text
    }

    /// The text of the tokens not returned yet.
    fn pending(&self) -> Result<String, TokenizerError> {
        let window = self.ids.get(self.start..).unwrap_or_default();
        let returned = self.ids.get(self.start..self.done).unwrap_or_default();
        let (before, after) = (
            self.tokenizer.decode(returned)?,
            self.tokenizer.decode(window)?,
        );
        // A prompt can end in half a character; then it is not a prefix to the byte.
        let common: usize = before
            .chars()
            .zip(after.chars())
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a.len_utf8())
            .sum();
        Ok(after.get(common..).unwrap_or_default().to_owned())
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
    fn a_character_comes_whole_or_not_at_all() {
        let crab: Vec<u32> = "🦀!".bytes().map(fixture::byte).collect();
        assert_eq!(pieces(&[], &crab), ["", "", "", "🦀", "!", ""]);
        assert_eq!(pieces(&[], &crab[..3]), ["", "", "", "\u{fffd}"]);
        // A byte that begins nothing waits for what shows that.
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
