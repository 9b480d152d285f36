use super::super::PRE;
use super::*;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

const TEXT: &str = "Don't go! IT'S 1234567 or x\u{b2}+\u{bd}, a/b\n\n  in\tTab HELLOWorld \u{c4}rger caf\u{e9} e\u{301}t\u{e9} $5.00~`\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8} \u{d55c}\u{ad6d}\u{3002}(ok)\u{2026} end  ";

/// Words of [`TEXT`] by name, with `|` between them: what `llama-tokenize` of llama.cpp (release 11434) makes of it with a vocabulary
/// that has every part of the text as a token and every pair of them as a merge, so that each word is one token.
///
/// Of `tekken` and `gpt-4o`, llama.cpp takes a pattern that differs from the models' own at combining marks, which here stay with
/// their letters (the accent of the second `e`).
const WORDS: [(&[&str], &str); 13] = [
    (
        &["default"],
        "Don|'|t| go|!| IT|'|S| |123|456|7| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}|t\u{e9}| |$|5|.|00|~|`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &[
            "llama-bpe",
            "smaug-bpe",
            "minicpm5",
            "glm4",
            "glm5",
            "llama3",
        ],
        "Don|'t| go|!| IT|'S| |123|456|7| or| x|\u{b2}|+|\u{bd}|,| a|/b|\n\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}t\u{e9}| $|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["tekken", "qwen35"],
        "Don|'t| go|!| IT|'S| |1|2|3|4|5|6|7| or| x|\u{b2}|+|\u{bd}|,| a|/b|\n\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e\u{301}t\u{e9}| $|5|.|0|0|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["qwen2", "seed-coder", "laguna", "deepseek-r1-qwen"],
        "Don|'t| go|!| IT|'S| |1|2|3|4|5|6|7| or| x|\u{b2}|+|\u{bd}|,| a|/b|\n\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}t\u{e9}| $|5|.|0|0|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["gpt-2", "mpt"],
        "Don|'t| go|!| IT|'|S| 1234567| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}|t\u{e9}| $|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["smollm", "command-r"],
        "Don|'t| go|!| IT|'|S| |1|2|3|4|5|6|7| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}|t\u{e9}| $|5|.|0|0|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["deepseek-llm"],
        "Don|'|t| go|!| IT|'|S| |1234567| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n|\n| | in|\tTab| HELLOWorld| \u{c4}|rger| caf|\u{e9}| e|\u{301}|t|\u{e9}| $|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| |\u{d55c}\u{ad6d}|\u{3002}|(|ok|)|\u{2026}| end|  ",
    ),
    (
        &["deepseek-coder"],
        "Don|'|t| go|!| IT|'|S| |1|2|3|4|5|6|7| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n|\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}|t\u{e9}| $|5|.|0|0|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| |\u{d55c}\u{ad6d}|\u{3002}|(|ok|)|\u{2026}| end|  ",
    ),
    (
        &["deepseek-v3"],
        "Don|'t| go|!| IT|'S| |123|456|7| or| x|\u{b2}|+|\u{bd}|,| a|/b|\n\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e\u{301}t\u{e9}| $|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["falcon"],
        "Don|'|t| go|!| IT|'|S| |123|456|7| or| x|\u{b2}|+|\u{bd}|,| a|/|b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e|\u{301}|t\u{e9}| |$|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["gpt-4o"],
        "Don't| go|!| IT'S| |123|456|7| or| x|\u{b2}|+|\u{bd}|,| a|/b|\n\n| | in|\tTab| HELLOWorld| \u{c4}rger| caf\u{e9}| e\u{301}t\u{e9}| $|5|.|00|~`|\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["poro-chat"],
        "Don't| go|!| IT'S| 1234567| or| x\u{b2}+\u{bd}|,| a/b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e\u{301}t\u{e9}| $5|.|00~`\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
    (
        &["viking"],
        "Don't| go|!| IT'S| |1|2|3|4|5|6|7| or| x|\u{b2}|+|\u{bd}|,| a/b|\n\n | in|\t|Tab| HELLOWorld| \u{c4}rger| caf\u{e9}| e\u{301}t\u{e9}| $|5|.|0|0|~`\u{4e16}\u{754c}\u{30c6}\u{30b9}\u{30c8}| \u{d55c}\u{ad6d}|\u{3002}(|ok|)\u{2026}| end|  ",
    ),
];

fn words(splitting: Splitting) -> String {
    let json = splitting.pre_tokenizer();
    let pre_tokenizer: PreTokenizerWrapper = serde_json::from_value(json).unwrap();
    let mut text = PreTokenizedString::from(TEXT);
    pre_tokenizer.pre_tokenize(&mut text).unwrap();
    let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    let words: Vec<&str> = splits
        .iter()
        .map(|(_, (from, to), _)| &TEXT[*from..*to])
        .collect();
    words.join("|")
}

#[test]
fn words_are_those_of_llama_cpp() {
    for (names, expected) in WORDS {
        for name in names {
            let splitting = Splitting::of(PRE, Some(name)).unwrap();
            assert_eq!(words(splitting), expected, "{name}");
        }
    }
    let missing = Splitting::of(PRE, None).unwrap();
    assert_eq!(words(missing), words(DEFAULT));
}

/// Flags of `llama_vocab::impl::load` in llama.cpp.
#[test]
fn names_decide_about_merges_and_bos() {
    for (names, ignore_merges, add_bos) in [
        (["llama-bpe", "llama3", "llama-v3", "tekken"], true, true),
        (
            ["smaug-bpe", "qwen2", "deepseek-r1-qwen", "gpt-2"],
            false,
            false,
        ),
        (["minicpm5", "glm5", "minicpm5", "glm5"], true, false),
    ] {
        for name in names {
            let found = Splitting::of(PRE, Some(name)).unwrap();
            assert_eq!(
                (found.ignore_merges, found.add_bos),
                (ignore_merges, add_bos),
                "{name}"
            );
        }
    }
}

#[test]
fn other_names_are_refused() {
    let refusal = Splitting::of(PRE, Some("superbpe"))
        .unwrap_err()
        .to_string();
    assert!(
        refusal.starts_with(
            "tokenizer.ggml.pre: found \"superbpe\", expected one of default, llama-bpe"
        ),
        "{refusal}"
    );
}
