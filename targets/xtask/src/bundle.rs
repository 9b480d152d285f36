//! Bundles in the cache: reused while they open and are of the right model, else exported.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use astra_bundle::{Bundle, Manifest, Task};
use clap::ValueEnum;

use crate::binaries::Binaries;
use crate::edge;
use crate::provision::Provisioned;
use crate::stop::Stop;

/// Rungs of the bundles of models that read: others are for those who calibrate on texts of their own.
const TEXT_RUNGS: &str = "160,320,640";

/// Side of the square input of the model that takes pictures.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Size {
    #[value(name = "224")]
    Small,
    #[value(name = "518")]
    Large,
}

impl Size {
    /// In pixels.
    pub(crate) fn pixels(self) -> usize {
        match self {
            Self::Small => 224,
            Self::Large => 518,
        }
    }
}

/// How a bundle is made, and what shows that it was made so.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// Its folder among the bundles.
    name: String,
    /// The arguments of the exporter.
    arguments: Vec<OsString>,
    /// Of the file the model is read from.
    model_sha256: &'static str,
    /// Side of the square input, pixels, of an image model.
    size: Option<usize>,
}

impl Recipe {
    /// The model of the demo, for inputs of `size` pixels.
    pub(crate) fn images(provisioned: &Provisioned, size: usize) -> Self {
        let model = provisioned.model();
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let (photos, side) = (provisioned.photos(), size.to_string());
        Self {
            name: format!("{stem}-{size}"),
            arguments: arguments(&[
                ("--onnx", model.as_os_str()),
                ("--size", side.as_ref()),
                ("--calib", photos.as_os_str()),
            ]),
            model_sha256: provisioned.model_sha256(),
            size: Some(size),
        }
    }

    /// The language model, calibrated on a little text of its own.
    pub(crate) fn language(provisioned: &Provisioned) -> Self {
        let model = provisioned.language_model();
        Self::text(
            "smollm2-135m-instruct",
            ("--gguf", model.as_os_str()),
            provisioned.language_sha256(),
        )
    }

    /// The model of sentence embeddings.
    pub(crate) fn sentences(provisioned: &Provisioned) -> Self {
        let model = provisioned.sentence_model();
        Self::text(
            "all-minilm-l6-v2",
            ("--hf", model.as_os_str()),
            provisioned.sentences_sha256(),
        )
    }

    fn text(name: &str, source: (&str, &OsStr), model_sha256: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            arguments: arguments(&[
                source,
                ("--name", name.as_ref()),
                ("--rungs", TEXT_RUNGS.as_ref()),
                ("--calib-texts", "6".as_ref()),
            ]),
            model_sha256,
            size: None,
        }
    }
}

fn arguments(options: &[(&str, &OsStr)]) -> Vec<OsString> {
    let each = options
        .iter()
        .flat_map(|(option, value)| [option.as_ref(), *value]);
    each.map(OsStr::to_owned).collect()
}

/// Whether the bundle of a recipe is there, every byte as it was exported.
pub(crate) fn is_ready(recipe: &Recipe, provisioned: &Provisioned) -> bool {
    check(&path(recipe, provisioned), recipe).is_ok()
}

fn path(recipe: &Recipe, provisioned: &Provisioned) -> PathBuf {
    provisioned.cache.path(&format!("bundles/{}", recipe.name))
}

/// The bundle of a recipe, exported if need be.
pub(crate) fn ensure(
    recipe: &Recipe,
    provisioned: &Provisioned,
    binaries: &Binaries,
    fresh: bool,
    stop: &Stop,
) -> Result<PathBuf> {
    let _lock = provisioned.cache.lock(stop)?;
    let path = path(recipe, provisioned);
    ensure_with(
        &path,
        fresh,
        |path| check(path, recipe),
        |path| edge::export(binaries, &recipe.arguments, path, provisioned, stop),
    )?;
    Ok(path)
}

fn ensure_with(
    path: &Path,
    fresh: bool,
    sound: impl Fn(&Path) -> Result<(), String>,
    export: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if path.exists() && !fresh {
        match sound(path) {
            Ok(()) => return Ok(()),
            Err(reason) => {
                eprintln!("the bundle {} is exported again: {reason}", path.display());
            }
        }
    }
    clear(path)?;
    export(path)?;
    sound(path).map_err(|reason| anyhow::anyhow!("the new bundle is not usable: {reason}"))
}

/// What is wrong with the bundle at `path`, if anything.
fn check(path: &Path, recipe: &Recipe) -> Result<(), String> {
    // Opening reads every byte and compares it with the manifest.
    let bundle = Bundle::open(path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    let manifest = bundle.manifest();
    let (found, expected) = (manifest.source.sha256.to_string(), recipe.model_sha256);
    if found != expected {
        return Err(format!(
            "it is of a model with SHA-256 {found}, expected {expected}"
        ));
    }
    if manifest.rungs.is_empty() {
        return Err("it is for exact mode alone".to_owned());
    }
    match (manifest.image.map(|image| image.size), recipe.size) {
        (found, expected) if found == expected => made_as_now(manifest).and(head_as_now(path)),
        (Some(found), Some(expected)) => Err(format!(
            "it takes images of {found} pixels, expected {expected}"
        )),
        (None, _) => Err("it takes no images".to_owned()),
        (Some(_), None) => Err("it takes images".to_owned()),
    }
}

/// Refuses what an exporter before this one has made: it runs, and is not what is tested and measured.
fn made_as_now(manifest: &Manifest) -> Result<(), String> {
    for rung in &manifest.rungs {
        if rung.prediction.is_empty() {
            return Err(format!("its rung {} has no prediction", rung.bits));
        }
        if rung.refinement.is_none() {
            return Err(format!("its rung {} has no second stage", rung.bits));
        }
        if !rung
            .agreement
            .iter()
            .any(|measured| measured.quality.is_some())
        {
            return Err(format!(
                "its rung {} was not measured on inputs kept from calibration",
                rung.bits
            ));
        }
    }
    let shared = manifest.image.is_none_or(|image| image.head_rows.is_some());
    if matches!(manifest.task, Task::Saliency) && !shared {
        return Err("its members cannot share the map".to_owned());
    }
    Ok(())
}

/// Likewise a head whose up-convolutions are not sub-pixel convolutions.
fn head_as_now(path: &Path) -> Result<(), String> {
    const NODE: &[u8] = b"ConvTranspose";
    // Not there where the model has none.
    let graph = fs::read(path.join("head.onnx")).unwrap_or_default();
    match graph.windows(NODE.len()).any(|bytes| bytes == NODE) {
        true => Err("its saliency head has transposed convolutions".to_owned()),
        false => Ok(()),
    }
}

/// Removes the bundle and what interrupted exports left beside it, under hidden names.
fn clear(path: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let leftover = format!(".{}.", name.to_string_lossy());
    for entry in entries.flatten() {
        let found = entry.file_name();
        if found == name || found.to_string_lossy().starts_with(&leftover) {
            let path = entry.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    use serde_json::{Value, json};

    fn content(path: &Path) -> Result<(), String> {
        match fs::read_to_string(path.join("manifest.json")).as_deref() {
            Ok("sound") => Ok(()),
            Ok(_) => Err("torn".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_sound_bundle_is_reused_and_any_other_exported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vit-224");
        let other = folder.path().join("vit-518");
        let leftover = folder.path().join(".vit-224.new-1-0");
        fs::create_dir(&other).unwrap();
        fs::create_dir(&leftover).unwrap();
        let exports = Cell::new(0);
        let export = |path: &Path| {
            exports.set(exports.get() + 1);
            fs::create_dir(path)?;
            Ok(fs::write(path.join("manifest.json"), "sound")?)
        };

        ensure_with(&path, false, content, export).unwrap();
        assert!(!leftover.exists(), "an interrupted export was left");
        ensure_with(&path, false, content, export).unwrap();
        assert_eq!(exports.get(), 1);

        ensure_with(&path, true, content, export).unwrap();
        assert_eq!(exports.get(), 2);

        fs::write(path.join("manifest.json"), "sou").unwrap();
        ensure_with(&path, false, content, export).unwrap();
        assert_eq!(exports.get(), 3);
        assert!(other.exists(), "another bundle was removed");
    }

    #[test]
    fn an_export_that_leaves_no_sound_bundle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vit-224");
        let error = ensure_with(&path, false, content, |_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the new bundle is not usable: "),
            "{error}"
        );
    }

    fn manifest(prediction: &[Value], refinement: &Value, head_rows: &Value) -> Manifest {
        let quality = json!({"measure": "cls_cosine", "mean": 0.99, "low": 0.98, "high": 1.0});
        measured(prediction, refinement, head_rows, &quality)
    }

    fn measured(
        prediction: &[Value],
        refinement: &Value,
        head_rows: &Value,
        quality: &Value,
    ) -> Manifest {
        serde_json::from_value(json!({
            "format": 3,
            "model": "m",
            "family": "vit",
            "task": {"kind": "saliency"},
            "source": {"file": "m.onnx", "sha256": "0".repeat(64)},
            "seed": 0,
            "software": "",
            "shape": {
                "hidden": 8, "heads": 2, "kv_heads": 2, "head_dim": 4, "blocks": 2, "tokens": 4, "class_tokens": 1
            },
            "image": {"size": 28, "patch": 14, "fit": "stretch", "map_size": [28, 28], "head_rows": head_rows},
            "bases": [],
            "exact": [],
            "rungs": [{
                "bits": 160,
                "basis": "attention",
                "words": 2,
                "code_bits": 1,
                "blocks": [],
                "prediction": prediction,
                "refinement": refinement,
                "agreement": [{"devices": 4, "inputs": 8, "quality": quality}],
            }],
            "calibration": {"source": "", "inputs": 0, "tokens": 0, "held_out": 0},
            "files": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_bundle_of_an_earlier_exporter_is_detected() {
        let block = json!({"w": {"offset": 0, "shape": [4, 4]}, "b": {"offset": 0, "shape": [4]}});
        let (with, without) = ([block], []);
        let rows = json!({"halo": 1, "scale": 2});
        let refined = json!({"share": 13, "code_bits": 8, "words": 256});
        assert_eq!(made_as_now(&manifest(&with, &refined, &rows)), Ok(()));
        let refused = [
            (
                manifest(&without, &refined, &rows),
                "rung 160 has no prediction",
            ),
            (
                manifest(&with, &Value::Null, &rows),
                "rung 160 has no second stage",
            ),
            (manifest(&with, &refined, &Value::Null), "share the map"),
            (
                measured(&with, &refined, &rows, &Value::Null),
                "rung 160 was not measured",
            ),
        ];
        for (manifest, word) in refused {
            let reason = made_as_now(&manifest).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn a_folder_without_a_bundle_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            name: String::new(),
            arguments: Vec::new(),
            model_sha256: "",
            size: Some(224),
        };
        assert!(
            check(folder.path(), &recipe)
                .unwrap_err()
                .contains("manifest.json")
        );
    }

    #[test]
    fn a_head_of_transposed_convolutions_is_exported_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(head_as_now(folder.path()), Ok(()));
        for (graph, sound) in [
            ("Conv\x1a\x0cDepthToSpace", true),
            ("\x0dConvTranspose:", false),
        ] {
            fs::write(folder.path().join("head.onnx"), graph).unwrap();
            assert_eq!(head_as_now(folder.path()).is_ok(), sound, "{graph:?}");
        }
    }
}
