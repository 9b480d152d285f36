//! Prompts of a given length, cut out of a text.

use astra_model::tasks::text::tokenizer::{Tokenizer, TokenizerError};

/// A text gives no such prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// It cannot be divided into tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// It is too short.
    #[error("text: found {found} prompts of {tokens} tokens, expected {wanted}; take a longer one")]
    Short {
        /// Prompts found.
        found: usize,
        /// Tokens of each.
        tokens: usize,
        /// Prompts requested.
        wanted: usize,
    },
}

/// `count` parts of `text` of exactly `tokens` tokens each. They may overlap, but no two in a row (the last and the first are in a
/// row too) begin with the same token: a KV cache of the one is of no use to the next.
///
/// # Errors
/// The text is too short, or the tokenizer fails.
pub fn prompts(
    text: &str,
    tokenizer: &Tokenizer,
    tokens: usize,
    count: usize,
) -> Result<Vec<String>, PromptError> {
    let words = words(text);
    let mut found: Vec<(u32, &str)> = Vec::new();
    // As far apart as the text allows.
    let room = words.len().saturating_sub(tokens);
    let stride = (room / count.max(1)).max(1);
    let mut next = 0;
    for (place, &(start, _)) in words.iter().enumerate() {
        if found.len() == count {
            break;
        }
        if place < next {
            continue;
        }
        let Some(end) = end_of(text, &words, place, tokenizer, tokens)? else {
            continue;
        };
        let part = text.get(start..end).unwrap_or_default();
        let Some(&first) = tokenizer.encode(part)?.first() else {
            continue;
        };
        let before = found.last().map(|(token, _)| *token);
        let after = found.first().filter(|_| found.len() + 1 == count);
        if before != Some(first) && after.is_none_or(|(token, _)| *token != first) {
            found.push((first, part));
            next = place + stride;
        }
    }
    if found.len() < count {
        return Err(PromptError::Short {
            found: found.len(),
            tokens,
            wanted: count,
        });
    }
    Ok(found.into_iter().map(|(_, part)| part.to_owned()).collect())
}

/// Where the words of a text start and end.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        match (start, character.is_whitespace()) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| (from, text.len())));
    words
}

/// End of the word that makes the text from word `first` on `tokens` long, if it ends with one.
fn end_of(
    text: &str,
    words: &[(usize, usize)],
    first: usize,
    tokenizer: &Tokenizer,
    tokens: usize,
) -> Result<Option<usize>, TokenizerError> {
    let Some(&(start, _)) = words.get(first) else {
        return Ok(None);
    };
    // A word is a token at least, and its last one ends with it.
    let (mut low, mut high) = (first, words.len().min(first + tokens));
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(&(_, end)) = words.get(middle) else {
            return Ok(None);
        };
        let length = tokenizer
            .encode(text.get(start..end).unwrap_or_default())?
            .len();
        match length.cmp(&tokens) {
            std::cmp::Ordering::Equal => return Ok(Some(end)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astra_model::tasks::text::fixture;

    /// A token a byte.
    const TEXT: &str = "a bb ccc dd e ff ggg hh a bb ccc dd e ff ggg hh";

    #[test]
    fn prompts_are_as_long_as_requested_and_begin_differently() {
        let tokenizer = fixture::tokenizer();
        let prompts = prompts(TEXT, &tokenizer, 8, 4).unwrap();
        assert_eq!(prompts.len(), 4);
        let ids: Vec<_> = prompts
            .iter()
            .map(|text| tokenizer.encode(text).unwrap())
            .collect();
        assert!(ids.iter().all(|ids| ids.len() == 8), "{prompts:?}");
        for (one, next) in ids.iter().zip(ids.iter().cycle().skip(1)) {
            assert_ne!(one[0], next[0], "{prompts:?}");
        }
    }

    #[test]
    fn a_text_that_is_too_short_is_refused() {
        let error = prompts("a bb", &fixture::tokenizer(), 8, 1).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("text: found 0 prompts of 8 tokens, expected 1")
        );
    }
}
