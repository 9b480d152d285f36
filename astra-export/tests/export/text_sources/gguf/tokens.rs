//! Tokenizers of GGUF files, and where texts begin and end.

use astra_export::source::{ImportedText, gguf};
use astra_model::tasks::text::tokenizer::Tokenizer;
use serde_json::{Value, json};

use super::super::text;
use super::{gguf_of, gguf_refusal, write};
use crate::gguf_file::GgufFile;
use crate::models::{HIDDEN, Random};
use crate::text_models::VOCAB;

/// A model whose last tokens are these, by type.
fn with_tokens(last: &[(&str, u32)]) -> GgufFile {
    let mut file = gguf_of("llama", &Random::new(55).llama(false, true));
    let first = (0..VOCAB - last.len()).map(|id| (format!("t{id}"), 1));
    let all = first.chain(last.iter().map(|(text, kind)| ((*text).to_owned(), *kind)));
    let (tokens, kinds): (Vec<String>, Vec<u32>) = all.unzip();
    file.set("tokenizer.ggml.tokens", json!(tokens));
    file.set("tokenizer.ggml.token_type", json!(kinds));
    file
}

fn read(file: &GgufFile) -> (ImportedText, Vec<String>) {
    let (_folder, path) = write(file);
    let imported = gguf::open(&path).unwrap();
    (text(imported.content), imported.warnings)
}

fn tokenizer(text: &ImportedText) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(&text.input.tokenizer), &text.tokenizer).unwrap();
    Tokenizer::open(folder.path(), &text.input).unwrap()
}

/// The ids in `special_eog_ids` of llama.cpp: the named ones, and those of the vocabulary that end a turn by their text.
#[test]
fn generations_end_at_every_token_that_ends_a_turn() {
    let last = [
        ("<|begin_of_text|>", 3),
        ("<|end_of_text|>", 3),
        ("<|start_header_id|>", 3),
        ("<|eom_id|>", 3),
        ("<|eot_id|>", 3),
        ("<|custom|>", 3),
    ];
    let first = VOCAB as u32 - 6;
    let mut file = with_tokens(&last);
    file.set("tokenizer.ggml.bos_token_id", json!(first));
    file.set("tokenizer.ggml.eos_token_id", json!(first + 1));
    let (found, warnings) = read(&file);
    assert_eq!(found.input.eos, [first + 1, first + 3, first + 4]);
    assert_eq!(found.input.eos_token.as_deref(), Some("<|end_of_text|>"));
    assert!(warnings.is_empty(), "{warnings:?}");
    file.set("tokenizer.ggml.eot_token_id", json!(first + 5));
    assert_eq!(
        read(&file).0.input.eos,
        [first + 1, first + 5, first + 3, first + 4]
    );
}

#[test]
fn a_file_without_an_end_costs_a_warning() {
    let mut file = with_tokens(&[]);
    file.remove("tokenizer.ggml.eos_token_id");
    let (found, warnings) = read(&file);
    assert!(found.input.eos.is_empty());
    assert!(
        warnings[0].contains("generations end at their longest"),
        "{warnings:?}"
    );
}

/// llama.cpp begins texts with BOS by the kind of splitting, unless the file says otherwise.
#[test]
fn the_kind_of_splitting_decides_about_bos() {
    for (pre, said, expected) in [
        ("llama-bpe", None, true),
        ("llama3", None, true),
        ("tekken", None, true),
        ("llama-bpe", Some(false), false),
        ("qwen2", None, false),
        ("qwen2", Some(true), true),
        ("smaug-bpe", None, false),
    ] {
        let mut file = with_tokens(&[]);
        file.set("tokenizer.ggml.pre", json!(pre));
        match said {
            Some(said) => file.set("tokenizer.ggml.add_bos_token", json!(said)),
            None => file.remove("tokenizer.ggml.add_bos_token"),
        }
        assert_eq!(read(&file).0.input.add_bos, expected, "{pre} {said:?}");
    }
    let mut file = with_tokens(&[]);
    file.set("tokenizer.ggml.add_bos_token", json!(true));
    file.remove("tokenizer.ggml.bos_token_id");
    let refusal = gguf_refusal(&file);
    assert!(
        refusal.contains("tokenizer.ggml.bos_token_id: found nothing"),
        "{refusal}"
    );
}

#[test]
fn a_missing_splitting_warns_and_an_unknown_one_is_refused_before_weights_are_read() {
    let mut file = with_tokens(&[]);
    file.remove("tokenizer.ggml.pre");
    let (_, warnings) = read(&file);
    assert!(
        warnings[0].contains("small.gguf: tokenizer.ggml.pre: found nothing"),
        "{warnings:?}"
    );
    file.set("tokenizer.ggml.pre", json!("superbpe"));
    file.tensors.clear();
    let refusal = gguf_refusal(&file);
    assert!(
        refusal.contains("tokenizer.ggml.pre: found \"superbpe\", expected one of default"),
        "{refusal}"
    );
}

#[test]
fn tokens_without_text_get_one_and_none_is_there_twice() {
    let (found, _) = read(&with_tokens(&[("", 1)]));
    let file: Value = serde_json::from_slice(&found.tokenizer).unwrap();
    assert_eq!(
        file["model"]["vocab"][format!("[EMPTY_{}]", VOCAB - 1)],
        VOCAB - 1
    );
    let refusal = gguf_refusal(&with_tokens(&[("t1", 1)]));
    assert!(
        refusal.contains("tokenizer.ggml.tokens: found the token \"t1\" twice"),
        "{refusal}"
    );
}

/// `<unk>`, `<s>`, `</s>`, 256 bytes, then pieces whose scores fall by one, the last a user-defined token.
fn sentence_piece() -> GgufFile {
    const PIECES: [&str; 18] = [
        "\u{2581}",
        "t",
        "h",
        "e",
        "a",
        "b",
        "c",
        "\u{2581}t",
        "he",
        "\u{2581}the",
        "th",
        "ab",
        "bc",
        "\u{2581}a",
        "abc",
        "e\u{2581}",
        "\u{2581}\u{2581}",
        "<user>",
    ];
    let special =
        [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(text, kind)| (text.to_owned(), kind));
    let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), 6));
    let pieces = PIECES.map(|text| (text.to_owned(), if text == "<user>" { 4 } else { 1 }));
    let all = special.into_iter().chain(bytes).chain(pieces);
    let (tokens, kinds): (Vec<String>, Vec<u32>) = all.unzip();
    let scores = (0..tokens.len()).map(|id| 0.0 - id.saturating_sub(259) as f64);
    let mut file = gguf_of("llama", &Random::new(56).llama(false, true));
    file.floats(
        "token_embd.weight",
        &[tokens.len(), HIDDEN],
        &vec![0.0; tokens.len() * HIDDEN],
    );
    file.set("tokenizer.ggml.model", json!("llama"));
    file.set("tokenizer.ggml.scores", json!(scores.collect::<Vec<_>>()));
    file.set("tokenizer.ggml.tokens", json!(tokens));
    file.set("tokenizer.ggml.token_type", json!(kinds));
    file.remove("tokenizer.ggml.add_bos_token");
    file
}

/// The ids that `llama-tokenize` of llama.cpp (release 11434) gives with the same vocabulary.
#[test]
fn pieces_are_those_of_llama_cpp() {
    let (found, _) = read(&sentence_piece());
    let tokenizer = tokenizer(&found);
    for (text, expected) in [
        ("the abc", &[1, 268, 259, 273][..]),
        ("thebc  a", &[1, 268, 271, 259, 272]),
        ("a<user>the</s> the", &[1, 272, 276, 268, 2, 259, 268]),
        ("\u{e9} x", &[1, 259, 198, 172, 259, 123]),
        (" ", &[1, 275]),
    ] {
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
    }
    for text in ["the abc", "\u{e9} x", "the  a"] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

/// llama.cpp joins the leftmost of pairs with equal scores, which merge rules cannot say.
#[test]
fn pieces_of_equal_scores_cost_a_warning() {
    let mut file = sentence_piece();
    assert!(read(&file).1.is_empty());
    let (found, _) = read(&file);
    let count = found.input.vocab;
    file.set("tokenizer.ggml.scores", json!(vec![-1000.0; count]));
    let warnings = read(&file).1.concat();
    assert!(
        warnings.contains("tokenizer.ggml.scores: found ") && warnings.contains("leftmost"),
        "{warnings}"
    );
}

#[test]
fn a_vocabulary_of_pieces_needs_scores() {
    let mut file = sentence_piece();
    file.remove("tokenizer.ggml.scores");
    let refusal = gguf_refusal(&file);
    assert!(
        refusal.contains("tokenizer.ggml.scores: found nothing"),
        "{refusal}"
    );
    file.set("tokenizer.ggml.scores", json!([0.0, 1.0]));
    let refusal = gguf_refusal(&file);
    assert!(
        refusal.contains(
            "tokenizer.ggml.scores: found [0, 1] (2 items), expected an array of 277 numbers"
        ),
        "{refusal}"
    );
}
