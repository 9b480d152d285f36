//! The demo's bundle in the cache: reused while it opens and is of the right model, else exported.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use astra_bundle::Bundle;

use crate::binaries::Binaries;
use crate::edge::{self, Export};
use crate::provision::Provisioned;
use crate::stop::Stop;

/// The bundle of the demo's model for inputs of `size` pixels, exported if need be.
pub(crate) fn ensure(
    provisioned: &Provisioned,
    binaries: &Binaries,
    size: usize,
    fresh: bool,
    stop: &Stop,
) -> Result<PathBuf> {
    let _lock = provisioned.cache.lock(stop)?;
    let model = provisioned.model();
    let path = place(provisioned, &model, size);
    let sound = |path: &Path| check(path, provisioned.model_sha256(), size);
    ensure_with(&path, fresh, sound, |path| {
        let export = Export {
            model: &model,
            size,
            photos: &provisioned.photos(),
            bundle: path,
        };
        edge::export(binaries, &export, provisioned, stop)
    })?;
    Ok(path)
}

fn place(provisioned: &Provisioned, model: &Path, size: usize) -> PathBuf {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    provisioned.cache.path(&format!("bundles/{stem}-{size}"))
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
fn check(path: &Path, model_sha256: &str, size: usize) -> Result<(), String> {
    // Opening reads every byte and compares it with the manifest.
    let bundle = Bundle::open(path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    let manifest = bundle.manifest();
    let found = manifest.source.sha256.to_string();
    if found != model_sha256 {
        return Err(format!(
            "it is of a model with SHA-256 {found}, expected {model_sha256}"
        ));
    }
    match manifest.image.map(|image| image.size) {
        Some(found) if found == size => Ok(()),
        Some(found) => Err(format!(
            "it takes images of {found} pixels, expected {size}"
        )),
        None => Err("it takes no images".to_owned()),
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

    #[test]
    fn a_folder_that_is_no_bundle_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            check(folder.path(), "", 224)
                .unwrap_err()
                .contains("manifest.json")
        );
    }
}
