//! Special tokens and the chat template of a directory.

use serde_json::{Value, json};

use super::directory::Directory;
use super::llama::{llama_config, llama_tensors};
use crate::models::Random;

fn directory() -> Directory {
    let model = Random::new(53).llama(false, false);
    Directory::new(llama_config("llama"), llama_tensors(&model))
}

/// A tokenizer with these added tokens.
fn tokenizer(added: &[(u32, &str)], post_processor: Value) -> Value {
    let added: Vec<Value> = added
        .iter()
        .map(|(id, content)| json!({ "id": id, "content": content, "special": true }))
        .collect();
    json!({
        "added_tokens": added, "post_processor": post_processor,
        "model": { "type": "BPE", "vocab": { "a": 3, "<end>": 4 }, "merges": [] },
    })
}

/// llama.cpp's rule for the vocabulary (`special_eog_ids` in `llama-vocab.cpp`), and the lists of transformers.
#[test]
fn a_generation_ends_at_configured_tokens_and_at_those_that_end_a_turn() {
    let directory = directory();
    let added = [
        (5, "<|begin_of_text|>"),
        (6, "<|end_of_text|>"),
        (7, "<|start_header_id|>"),
        (8, "<|eom_id|>"),
        (9, "<|eot_id|>"),
        // One that the model does not have.
        (37, "<|im_end|>"),
    ];
    directory.write("tokenizer.json", &tokenizer(&added, Value::Null));
    directory.write(
        "tokenizer_config.json",
        &json!({ "eos_token": "<|end_of_text|>" }),
    );
    directory.write(
        "generation_config.json",
        &json!({ "eos_token_id": [6, 11], "bos_token_id": 5 }),
    );
    let input = directory.read().input;
    assert_eq!(input.eos, [6, 4, 2, 11, 8, 9]);
    assert_eq!(
        (input.bos, input.eos_token.as_deref()),
        (Some(5), Some("<|end_of_text|>"))
    );
}

#[test]
fn special_tokens_of_older_tokenizers_are_found() {
    let directory = directory();
    directory.write(
        "special_tokens_map.json",
        &json!({ "bos_token": { "content": "<s>" }, "eos_token": "</s>" }),
    );
    let input = directory.read().input;
    assert_eq!(
        (input.bos, input.bos_token.as_deref()),
        (Some(1), Some("<s>"))
    );
    assert_eq!(
        (input.eos, input.eos_token.as_deref()),
        (vec![2, 4], Some("</s>"))
    );
}

/// `LlamaTokenizerFast` of transformers 4 has `add_bos_token = True`; others leave it to the file.
#[test]
fn the_class_of_the_tokenizer_decides_whether_a_text_begins_with_a_token() {
    let directory = directory();
    let bos = [(1, "<s>"), (2, "</s>")];
    let adds = json!({ "type": "TemplateProcessing", "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }] });
    let adds_nothing = json!({ "type": "TemplateProcessing", "single": [{ "Sequence": { "id": "A", "type_id": 0 } }] });
    for (post_processor, config, expected) in [
        (Value::Null, json!({}), false),
        (
            Value::Null,
            json!({ "tokenizer_class": "PreTrainedTokenizerFast" }),
            false,
        ),
        (
            Value::Null,
            json!({ "tokenizer_class": "LlamaTokenizerFast" }),
            true,
        ),
        (
            Value::Null,
            json!({ "tokenizer_class": "LlamaTokenizer", "add_bos_token": false }),
            false,
        ),
        (
            adds_nothing,
            json!({ "tokenizer_class": "LlamaTokenizer" }),
            false,
        ),
        // The tokenizer does it itself.
        (
            adds,
            json!({ "tokenizer_class": "LlamaTokenizer", "add_bos_token": true }),
            false,
        ),
    ] {
        directory.write("tokenizer.json", &tokenizer(&bos, post_processor));
        let mut config = config;
        config["bos_token"] = json!("<s>");
        directory.write("tokenizer_config.json", &config);
        assert_eq!(directory.read().input.add_bos, expected, "{config}");
    }
}

/// The order of transformers 5 (`_from_pretrained` in `tokenization_utils_base.py`).
#[test]
fn the_chat_template_is_found_where_transformers_finds_it() {
    let directory = directory();
    let found = || {
        let text = directory.read();
        text.input.chat_template.zip(text.template_from)
    };
    let expected = |template: &str, from: &str| Some((template.to_owned(), from.to_owned()));
    assert_eq!(found(), None);
    directory.write(
        "chat_template.json",
        &json!({ "chat_template": "processor" }),
    );
    assert_eq!(found(), expected("processor", "chat_template.json"));
    let named = json!([{ "name": "tool_use", "template": "tools" }, { "name": "default", "template": "list" }]);
    directory.write("tokenizer_config.json", &json!({ "chat_template": named }));
    assert_eq!(found(), expected("list", "tokenizer_config.json"));
    directory.write(
        "tokenizer_config.json",
        &json!({ "chat_template": { "default": "by name" } }),
    );
    assert_eq!(found(), expected("by name", "tokenizer_config.json"));
    directory.write_text("additional_chat_templates/tool_use.jinja", "tools");
    directory.write_text("chat_template.jinja", "file\n");
    assert_eq!(found(), expected("file\n", "chat_template.jinja"));

    directory.remove("chat_template.jinja");
    directory.remove("chat_template.json");
    let named = json!([{ "name": "tool_use", "template": "tools" }]);
    directory.write("tokenizer_config.json", &json!({ "chat_template": named }));
    assert_eq!(found(), None);
    let warnings = directory.import().warnings.concat();
    assert!(
        warnings.contains("found 1 by name, expected one called \"default\""),
        "{warnings}"
    );
}

/// transformers 5.24 makes the tokens of `tokenizer_config.json` special ones of the tokenizer, whether `tokenizer.json` lists them as
/// such or not; those without an id are left out.
#[test]
fn special_tokens_of_the_configuration_are_found_in_a_text() {
    let directory = directory();
    directory.write(
        "tokenizer.json",
        &json!({
            "added_tokens": [{ "id": 1, "content": "<s>" }],
            "post_processor": null,
            "model": { "type": "BPE", "vocab": { "<s>": 1, "</s>": 2, "<pad>": 3, "<x>": 4 }, "merges": [] },
        }),
    );
    directory.write(
        "tokenizer_config.json",
        &json!({
            "eos_token": "</s>", "pad_token": { "content": "<pad>", "lstrip": true },
            "added_tokens_decoder": { "4": { "content": "<x>", "special": false } },
            "unk_token": "<unk>",
        }),
    );
    let text = directory.read();
    let file: Value = serde_json::from_slice(&text.tokenizer).unwrap();
    let listed: Vec<_> = file["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            let flag = |name: &str| token[name].as_bool().unwrap_or_default();
            (
                token["content"].as_str().unwrap(),
                flag("special"),
                flag("lstrip"),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("<s>", false, false),
            ("</s>", true, false),
            ("<pad>", true, true),
            ("<x>", false, false)
        ]
    );
}
