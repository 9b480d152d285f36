//! Weights in the order in which this processor's kernels read them, kept in files that sessions map.
//!
//! ONNX Runtime rearranges (packs) the weights of a graph when it opens it, and keeps them in memory of the process, beside the
//! bundle that holds them already. Written down once and mapped from then on, they are pages of a file: the system takes them back
//! where memory is short, and devices on one machine share them.
//!
//! A set belongs to one bundle, one build of ONNX Runtime and one kind of processor, and has a folder for each graph: the graph, its
//! weights, and a checksum of every file. ONNX Runtime also compares what it maps with what its kernels pack now, and refuses the
//! graph where they differ.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use astra_bundle::{Bundle, Sha256Digest, WEIGHTS_FILE};
use ort::logging::LogLevel;
use ort::session::Session;
use serde::{Deserialize, Serialize};

use super::{EngineError, Runtime};

/// Begins anew what was written in another way.
const FORMAT: u32 = 1;
/// What a set is of.
const ORIGIN: &str = "origin.json";
/// Checksums of a graph's files.
const CHECKSUMS: &str = "checksums.json";
const PROCESSOR: &str = "/proc/cpuinfo";
const GRAPH: &str = "graph.onnx";
const WEIGHTS: &str = "weights.bin";
/// A graph that is being packed. Only whoever holds the lock touches it.
const UNFINISHED: &str = "unfinished";
const LOCK: &str = "lock";
/// Weights of fewer bytes stay in the graph.
const SMALL: &str = "1024";
/// Bytes of the disk that are left to others.
const SPARE: u64 = 256 << 20;

/// Packed weights of one bundle.
#[derive(Debug)]
pub(super) struct PackedWeights {
    folder: PathBuf,
    /// Most bytes that a graph takes: all weights twice, as they are and packed.
    largest: u64,
    given_up: AtomicBool,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackedError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: free space: found {free} bytes, expected {needed}", path.display())]
    Full {
        path: PathBuf,
        free: u64,
        needed: u64,
    },
    #[error("{}: found other bytes, expected those that were written", .0.display())]
    Damaged(PathBuf),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What decides how weights are packed, and where they came from.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Origin {
    format: u32,
    bundle: PathBuf,
    hash: Sha256Digest,
    onnxruntime: String,
    processor: String,
}

/// A file of a graph.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Checksum {
    file: String,
    bytes: u64,
    crc32: u32,
}

impl PackedWeights {
    /// The set of `bundle` in `cache`, empty if it is new. Sets of bundles that were at the same place before, or that are gone from
    /// theirs, are deleted then.
    ///
    /// # Errors
    /// There is no such folder, and none can be made or written in.
    pub(super) fn of(bundle: &Bundle, cache: &Path) -> Result<Self, PackedError> {
        let (dir, weights) = (bundle.dir(), bundle.dir().join(WEIGHTS_FILE));
        let dir = fs::canonicalize(dir).map_err(at(dir))?;
        let largest = 2 * fs::metadata(&weights).map_err(at(&weights))?.len();
        let origin = Origin {
            format: FORMAT,
            bundle: dir,
            hash: Sha256Digest(bundle.hash()),
            onnxruntime: ort::info().to_owned(),
            processor: processor().map_err(at(Path::new(PROCESSOR)))?,
        };
        let text = serde_json::to_vec_pretty(&origin);
        let text = text.map_err(|error| at(cache)(error.into()))?;
        let mut name = Sha256Digest::of(&text).to_string();
        name.truncate(16);
        let sets = cache.join("packed");
        let folder = sets.join(name);
        if !folder.join(ORIGIN).exists() {
            fs::create_dir_all(&folder).map_err(at(&folder))?;
            delete_former(&sets, &folder, &origin).map_err(at(&sets))?;
            let origin = folder.join(ORIGIN);
            fs::write(&origin, &text).map_err(at(&origin))?;
        }
        Ok(Self {
            folder,
            largest,
            given_up: AtomicBool::new(false),
        })
    }

    /// A session of a graph of the bundle with mapped weights, packed now if they are not yet; `None` where that cannot be, which is
    /// said once.
    pub(super) fn session(&self, runtime: &Runtime, graph: &Path) -> Option<Session> {
        if self.is_given_up() {
            return None;
        }
        self.mapped_or_packed(runtime, graph)
            .inspect_err(|error| {
                without(error);
                self.given_up.store(true, Ordering::Relaxed);
            })
            .ok()
    }

    /// Whether sessions pack their weights in memory from now on.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn mapped_or_packed(&self, runtime: &Runtime, graph: &Path) -> Result<Session, PackedError> {
        let place = self.folder.join(graph.file_stem().unwrap_or_default());
        if let Some(session) = mapped_if_sound(runtime, &place) {
            return Ok(session);
        }
        let lock = self.folder.join(LOCK);
        let held = File::create(&lock).map_err(at(&lock))?;
        held.lock().map_err(at(&lock))?;
        // Another device may have packed them meanwhile.
        if let Some(session) = mapped_if_sound(runtime, &place) {
            return Ok(session);
        }
        self.pack(runtime, graph, &place)?;
        mapped(runtime, &place)
    }

    fn pack(&self, runtime: &Runtime, graph: &Path, place: &Path) -> Result<(), PackedError> {
        self.room()?;
        let unfinished = self.folder.join(UNFINISHED);
        delete(&unfinished)?;
        fs::create_dir(&unfinished).map_err(at(&unfinished))?;
        tracing::debug!(graph = %graph.display(), "packing weights");
        write(runtime, graph, &unfinished)?;
        let checksums = checksums(&unfinished)?;
        let list = unfinished.join(CHECKSUMS);
        let text = serde_json::to_vec(&checksums).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(&list, text));
        written.map_err(at(&list))?;
        delete(place)?;
        fs::rename(&unfinished, place).map_err(at(place))
    }

    /// ONNX Runtime may write on a full disk without a word.
    fn room(&self) -> Result<(), PackedError> {
        let there = rustix::fs::statvfs(&self.folder);
        let there = there.map_err(|error| at(&self.folder)(error.into()))?;
        let free = there.f_bavail.saturating_mul(there.f_frsize);
        let needed = self.largest.saturating_add(SPARE);
        if free >= needed {
            return Ok(());
        }
        Err(PackedError::Full {
            path: self.folder.clone(),
            free,
            needed,
        })
    }
}

/// Says why weights are not mapped.
pub(super) fn without(error: &PackedError) {
    tracing::warn!("no weights cache, the weights are packed in memory: {error}");
}

/// A session of what lies at `place`, if it is all there and as it was written.
fn mapped_if_sound(runtime: &Runtime, place: &Path) -> Option<Session> {
    if !place.exists() {
        return None;
    }
    mapped(runtime, place)
        .inspect_err(|error| tracing::info!(%error, "weights are packed again"))
        .ok()
}

fn mapped(runtime: &Runtime, place: &Path) -> Result<Session, PackedError> {
    let list = place.join(CHECKSUMS);
    let text = fs::read(&list).map_err(at(&list))?;
    let written: Vec<Checksum> =
        serde_json::from_slice(&text).map_err(|error| at(&list)(error.into()))?;
    if written.is_empty() || checksums(place)? != written {
        return Err(PackedError::Damaged(place.to_owned()));
    }
    let path = place.join(GRAPH);
    let open = || quiet(runtime)?.commit_from_file(&path);
    Ok(open().map_err(EngineError::graph(&path))?)
}

/// Writes a graph with its weights, as they are and packed, into a folder.
fn write(runtime: &Runtime, graph: &Path, into: &Path) -> Result<(), EngineError> {
    let open = || {
        quiet(runtime)?
            .with_optimized_model_path(into.join(GRAPH))?
            .with_config_entry(
                "session.optimized_model_external_initializers_file_name",
                WEIGHTS,
            )?
            .with_config_entry(
                "session.optimized_model_external_initializers_min_size_in_bytes",
                SMALL,
            )?
            .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?
            .commit_from_file(graph)
    };
    open().map(drop).map_err(EngineError::graph(graph))
}

/// Without the warnings that such a graph is for one kind of processor, and the word on a graph that is refused, which is ours to say.
fn quiet(runtime: &Runtime) -> Result<ort::session::builder::SessionBuilder, ort::Error> {
    Ok(runtime.builder()?.with_log_level(LogLevel::Fatal)?)
}

/// Of every file in a folder but the list of them, by name.
fn checksums(folder: &Path) -> Result<Vec<Checksum>, PackedError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if file != CHECKSUMS {
            let (bytes, crc32) = checksum(&path).map_err(at(&path))?;
            found.push(Checksum {
                file: file.into_owned(),
                bytes,
                crc32,
            });
        }
    }
    found.sort_unstable_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut chunk = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok((bytes, hasher.finalize()));
        }
        hasher.update(chunk.get(..n).unwrap_or(&chunk));
        bytes += n as u64;
    }
}

/// Deletes every set of a bundle that was where the bundle of `origin` is now, or that is nowhere any more.
fn delete_former(sets: &Path, but: &Path, origin: &Origin) -> io::Result<()> {
    for entry in fs::read_dir(sets)? {
        let set = entry?.path();
        // Another device may be at work on the one that is new.
        if set == but {
            continue;
        }
        let Ok(text) = fs::read(set.join(ORIGIN)) else {
            continue;
        };
        let Ok(other) = serde_json::from_slice::<Origin>(&text) else {
            continue;
        };
        // What cannot be looked at is not known to be gone.
        let gone = other.bundle.try_exists().is_ok_and(|there| !there);
        if gone || other.bundle == origin.bundle {
            fs::remove_dir_all(&set)?;
        }
    }
    Ok(())
}

fn delete(folder: &Path) -> Result<(), PackedError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

/// What the kernels are chosen by: kind and abilities of every core, as the system lists them.
fn processor() -> io::Result<String> {
    const TELLING: [&str; 10] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "flags",
        "CPU implementer",
        "CPU architecture",
        "CPU variant",
        "CPU part",
        "Features",
    ];
    let text = fs::read_to_string(PROCESSOR)?;
    let lines = text.lines().filter(|line| {
        let key = line.split(':').next().unwrap_or_default().trim_end();
        TELLING.contains(&key)
    });
    let distinct: BTreeSet<&str> = lines.collect();
    Ok(distinct.into_iter().collect::<Vec<_>>().join("\n"))
}

fn at(path: &Path) -> impl Fn(io::Error) -> PackedError {
    move |error| PackedError::Io {
        path: path.to_owned(),
        error,
    }
}
