//! Tokens at which a generation ends although the configuration of the model does not name them.
//!
//! Configurations often name one end token of a chat model, and not the one that its chat template ends a turn with. llama.cpp
//! therefore also ends at every token of the vocabulary with one of the texts below (`llama_vocab::impl::load` in
//! `src/llama-vocab.cpp`, `special_eog_ids`).

/// Texts of tokens that end a turn, a message or a text.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Texts of tokens that pad code or separate files and repositories.
const CODE: [&str; 11] = [
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Beginnings of markers that no text has as a word.
const MARKERS: [&str; 3] = ["<|", "<｜", "<end_of_"];

/// A token of a vocabulary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) id: u32,
    pub(super) text: &'a str,
    /// Whether it is a control token, or was added to the vocabulary, rather than a part of ordinary text.
    pub(super) added: bool,
}

/// Whether a token of this text ends a generation.
pub(super) fn is_end_of_generation(token: &str) -> bool {
    ENDS.contains(&token) || CODE.contains(&token)
}

/// The ids of the tokens of a vocabulary that end a generation, in its order.
///
/// llama.cpp takes tokens of any type. Here one that is part of ordinary text counts only if it is a marker: Qwen2 has `</s>` as a
/// word of HTML. As in llama.cpp, `<|end|>` does not count in vocabularies in which it ends a message rather than a turn (gpt-oss,
/// Solar Open), and `</s>` not beside `<|tool_response>` (Gemma 4).
pub(super) fn end_ids<'a>(tokens: impl Iterator<Item = Entry<'a>>) -> Vec<u32> {
    let ends = |token: &Entry<'_>| {
        let marker = || MARKERS.iter().any(|begin| token.text.starts_with(begin));
        is_end_of_generation(token.text) && (token.added || marker())
    };
    let found: Vec<Entry<'a>> = tokens.filter(ends).collect();
    let has = |text: &str| found.iter().any(|token| token.text == text);
    let calls = has("<|call|>") || has("<|calls|>");
    let ends_messages = calls && (has("<|return|>") || has("<|flush|>"));
    let keeps_text = has("<|tool_response>");
    let counts = |token: &&Entry<'_>| match token.text {
        "<|end|>" => !ends_messages,
        "</s>" => !keeps_text,
        _ => true,
    };
    found.iter().filter(counts).map(|token| token.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(tokens: &[(&str, bool)]) -> Vec<u32> {
        let entry = |(id, &(text, added))| Entry { id, text, added };
        end_ids((0..).zip(tokens).map(entry))
    }

    #[test]
    fn control_tokens_by_their_text() {
        let tokens = [
            ("a", false),
            ("<|end_of_text|>", true),
            ("<|eot_id|>", true),
            ("<|start_header_id|>", true),
            ("<|eom_id|>", true),
            ("<|fim_pad|>", true),
        ];
        assert_eq!(ids(&tokens), [1, 2, 4, 5]);
    }

    /// Qwen2's `</s>` is text, but a marker that a converter gave the type of text is none.
    #[test]
    fn words_are_text_and_markers_are_not() {
        assert_eq!(ids(&[("</s>", false), ("<|im_end|>", false)]), [1]);
        assert_eq!(ids(&[("</s>", true)]), [0]);
    }

    #[test]
    fn the_end_of_a_message_of_harmony_is_not_that_of_a_turn() {
        let harmony = [("<|return|>", true), ("<|call|>", true), ("<|end|>", true)];
        assert_eq!(ids(&harmony), [0, 1]);
        let solar = [("<|flush|>", true), ("<|calls|>", true), ("<|end|>", true)];
        assert_eq!(ids(&solar), [0, 1]);
        assert_eq!(ids(&[("<|call|>", true), ("<|end|>", true)]), [0, 1]);
        assert_eq!(ids(&[("<|tool_response>", true), ("</s>", true)]), [0]);
    }
}
