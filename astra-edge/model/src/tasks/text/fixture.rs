//! A byte-level tokenizer with a few longer tokens, for tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests only")]

use std::path::Path;

use astra_bundle::TextInput;
use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::tokenizer::Tokenizer;

/// Token at the beginning of a text.
pub const BOS: u32 = 0;
/// Token at the end of a text.
pub const EOS: u32 = 1;
/// Id of byte 0; the other bytes follow.
const FIRST_BYTE: u32 = 2;
/// Id of the first of [`json`]'s longer tokens, after the bytes.
pub const LONGER: u32 = FIRST_BYTE + 256;

/// The token of one byte.
pub fn byte(byte: u8) -> u32 {
    FIRST_BYTE + u32::from(byte)
}

/// `tokenizer.json` of a byte-level BPE: a token for each byte, then `he`, `ll`, `llo`, `hello`.
pub fn json() -> Value {
    let mut vocabulary = serde_json::Map::new();
    vocabulary.insert("<s>".to_owned(), BOS.into());
    vocabulary.insert("</s>".to_owned(), EOS.into());
    for (text, id) in letters().into_iter().zip(FIRST_BYTE..) {
        vocabulary.insert(text, id.into());
    }
    for (text, id) in ["he", "ll", "llo", "hello"].into_iter().zip(LONGER..) {
        vocabulary.insert(text.to_owned(), id.into());
    }
    let special = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(BOS, "<s>"), special(EOS, "</s>")],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocabulary, "merges": ["h e", "l l", "ll o", "he llo"] },
    })
}

/// The character for each byte in byte-level BPE.
fn letters() -> Vec<String> {
    let plain = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let letter = |byte: u32| {
        let code = if plain(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap().to_string()
    };
    let letters: Vec<String> = (0..256).map(letter).collect();
    let alphabet = ByteLevel::alphabet();
    assert!(
        letters
            .iter()
            .all(|letter| alphabet.contains(&letter.chars().next().unwrap()))
    );
    letters
}

/// Its entry in a manifest.
pub fn input() -> TextInput {
    TextInput {
        tokenizer: "tokenizer.json".to_owned(),
        vocab: LONGER as usize + 4,
        max_tokens: 256,
        bos: Some(BOS),
        eos: vec![EOS],
        add_bos: false,
        chat_template: Some(
            "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}\
             {% if add_generation_prompt %}assistant:{% endif %}"
                .to_owned(),
        ),
        bos_token: Some("<s>".to_owned()),
        eos_token: Some("</s>".to_owned()),
        rotary: true,
        learned_positions: false,
    }
}

/// Writes `tokenizer.json` to `dir`.
pub fn write(dir: &Path) {
    std::fs::write(dir.join("tokenizer.json"), json().to_string()).unwrap();
}

/// The tokenizer, opened.
pub fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    Tokenizer::open(folder.path(), &input()).unwrap()
}
