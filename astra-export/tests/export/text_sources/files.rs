//! Which files of a directory the weights and the tokenizer are read from.

use astra_bundle::Sha256Digest;
use astra_export::family::decoder::Decoder;
use serde_json::{Map, Value, json};

use super::directory::Directory;
use super::llama::{llama_config, llama_tensors};
use super::{decoder, text};
use crate::models::Random;

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
const INDEX: &str = "model.safetensors.index.json";

fn is_in_second(name: &str) -> bool {
    name.starts_with("lm_head") || name.contains("layers.1")
}

/// Two files and their index, as `save_pretrained` writes them.
fn sharded(directory: &Directory) -> Map<String, Value> {
    directory.remove("model.safetensors");
    let mut map = Map::new();
    for (shard, second) in SHARDS.into_iter().zip([false, true]) {
        for name in directory.save_as(shard, |name| is_in_second(name) == second) {
            map.insert(name, json!(shard));
        }
    }
    write_index(directory, &map);
    map
}

fn write_index(directory: &Directory, map: &Map<String, Value>) {
    directory.write(
        INDEX,
        &json!({ "metadata": { "total_size": 1 }, "weight_map": map }),
    );
}

/// A tensor, the file that the index has for it, and what is said.
const WRONG_ENTRIES: [(&str, &str, &str); 4] = [
    (
        "lm_head.weight",
        SHARDS[0],
        "00001-of-00002.safetensors: lm_head.weight: found nothing, expected a tensor of that name, as ",
    ),
    (
        "lm_head.weight",
        "../other.safetensors",
        "index.json: weight_map: found \"../other.safetensors\", expected names of files in the directory",
    ),
    (
        "lm_head.weight",
        "/etc/passwd",
        "index.json: weight_map: found \"/etc/passwd\"",
    ),
    ("lm_head.weight", "", "index.json: weight_map: found \"\""),
];

#[test]
fn every_file_of_an_index_is_read() {
    let model = Random::new(51).llama(false, false);
    let directory = Directory::new(llama_config("llama"), llama_tensors(&model));
    let single = directory.import();
    let content = std::fs::read(directory.path().join("model.safetensors")).unwrap();
    assert_eq!(single.sha256, Sha256Digest::of(&content));
    // One file goes before several, as in transformers.
    std::fs::write(directory.path().join(INDEX), "nothing").unwrap();
    assert_eq!(directory.import(), single);

    let map = sharded(&directory);
    let here = |(name, file): (&String, &Value)| {
        let file = format!("./{}", file.as_str().unwrap());
        (name.clone(), json!(file))
    };
    write_index(&directory, &map.iter().map(here).collect());
    assert_eq!(directory.import().content, single.content);
    write_index(&directory, &map);
    let imported = directory.import();
    assert_eq!(imported.file, INDEX);
    let digest =
        |shard: &str| Sha256Digest::of(&std::fs::read(directory.path().join(shard)).unwrap());
    let list = format!("{}\n{}\n", digest(SHARDS[0]), digest(SHARDS[1]));
    assert_eq!(imported.sha256, Sha256Digest::of(list.as_bytes()));
    assert_eq!(decoder(&text(imported.content)), &Decoder::from(model));

    for (name, file, said) in WRONG_ENTRIES {
        let mut map = map.clone();
        map[name] = json!(file);
        write_index(&directory, &map);
        let refusal = directory.refusal();
        assert!(refusal.contains(said), "{refusal}");
    }
    write_index(&directory, &map);
    directory.remove(SHARDS[1]);
    let refusal = directory.refusal();
    let said = format!(
        "index.json: {}: found nothing, expected the file that the index names for 10 tensors",
        SHARDS[1]
    );
    assert!(refusal.contains(&said), "{refusal}");
    directory.write_text(SHARDS[1], "too short");
    let refusal = directory.refusal();
    assert!(
        refusal.contains("00002-of-00002.safetensors: not a safetensors file"),
        "{refusal}"
    );
}

#[test]
fn other_files_are_refused_with_the_way_to_convert_them() {
    let model = Random::new(52).llama(false, false);
    let directory = Directory::new(llama_config("llama"), llama_tensors(&model));
    directory.remove("model.safetensors");
    let refusal = directory.refusal();
    assert!(
        refusal.contains(
            "weights: found nothing, expected model.safetensors, or model.safetensors.index.json"
        ),
        "{refusal}"
    );
    for (file, said) in [
        (
            "flax_model.msgpack",
            "found weights of Flax, expected model.safetensors, which from_pretrained",
        ),
        (
            "adapter_model.safetensors",
            "found an adapter of another model, expected model.safetensors of the whole model",
        ),
        (
            "pytorch_model.bin.index.json",
            "found weights pickled by PyTorch, expected model.safetensors, which this writes",
        ),
        (
            "pytorch_model.bin",
            "pytorch_model.bin: weights: found weights pickled by PyTorch, expected model.safetensors, which this writes in the directory: python3 -c",
        ),
    ] {
        directory.write_text(file, "content");
        let refusal = directory.refusal();
        assert!(refusal.contains(said), "{refusal}");
    }
    let mut directory = Directory::new(llama_config("llama"), llama_tensors(&model));
    directory.remove("tokenizer.json");
    let refusal = directory.refusal();
    assert!(
        refusal.contains("tokenizer: found nothing, expected tokenizer.json"),
        "{refusal}"
    );
    directory.write_text("tokenizer.model", "");
    directory.write_text("vocab.json", "");
    let refusal = directory.refusal();
    assert!(refusal.contains("tokenizer: found tokenizer.model and vocab.json, expected tokenizer.json, which this writes"), "{refusal}");
    directory = Directory::new(llama_config("llama"), llama_tensors(&model));
    directory.write_text("model.safetensors", "\u{1}\0\0\0\0\0\0\0{");
    assert!(directory.refusal().contains("not a safetensors file"));
}
