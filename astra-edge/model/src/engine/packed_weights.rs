//! A cache on disk of packed weights, which sessions map.
//!
//! ONNX Runtime packs the weights of a graph into the order in which this processor's kernels read them when it opens the graph, and
//! keeps them in the process's memory, in addition to the mapped bundle. Mapped from a file instead, they are pages that the system can
//! evict when memory is short, and that devices on one machine share.
//!
//! A set belongs to one bundle, one build of ONNX Runtime and one kind of processor, and has a folder for each graph: the graph, its
//! weights, and a checksum of every file. ONNX Runtime also compares the mapped weights with what its kernels would pack, and refuses
//! the graph if they differ.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use astra_bundle::{Bundle, Sha256Digest, WEIGHTS_FILE};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::EngineError;

/// Version of the cache; a set of another version is not used.
const FORMAT: u32 = 1;
/// The bundle, library and processor of a set.
const ORIGIN: &str = "origin.json";
/// Checksums of a graph's files.
const CHECKSUMS: &str = "checksums.json";
const PROCESSOR: &str = "/proc/cpuinfo";
const GRAPH: &str = "graph.onnx";
const WEIGHTS: &str = "weights.bin";
/// A graph that is being packed, guarded by the lock.
const UNFINISHED: &str = "unfinished";
const LOCK: &str = "lock";
/// Weights of fewer bytes stay in the graph.
const MIN_EXTERNAL_BYTES: &str = "1024";
/// Bytes of the disk that must stay free.
const MIN_FREE: u64 = 256 << 20;

/// Makes a session builder with the options of the runtime.
type Builder<'a> = dyn Fn() -> Result<SessionBuilder, ort::Error> + 'a;

/// Packed weights of one bundle.
#[derive(Debug)]
pub(super) struct PackedWeights {
    folder: PathBuf,
    /// Upper bound for the bytes of a graph: all weights twice, unpacked and packed.
    graph_bytes: u64,
    disabled: AtomicBool,
}

/// Why packed weights cannot be mapped from the cache.
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

/// Where packed weights come from, and what determines their order.
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
    /// The set of `bundle` in `cache`. If it is new, sets of earlier bundles at the same path, and of bundles that no longer exist, are
    /// deleted.
    ///
    /// # Errors
    /// The folder cannot be created or written.
    pub(super) fn of(bundle: &Bundle, cache: &Path) -> Result<Self, PackedError> {
        let (dir, weights) = (bundle.dir(), bundle.dir().join(WEIGHTS_FILE));
        let dir = fs::canonicalize(dir).map_err(at(dir))?;
        let graph_bytes = 2 * fs::metadata(&weights).map_err(at(&weights))?.len();
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
            delete_obsolete(&sets, &folder, &origin).map_err(at(&sets))?;
            let origin = folder.join(ORIGIN);
            fs::write(&origin, &text).map_err(at(&origin))?;
        }
        Ok(Self {
            folder,
            graph_bytes,
            disabled: AtomicBool::new(false),
        })
    }

    /// Opens a graph of the bundle with mapped weights, after packing them if they are not in the cache. `None` if that fails: the cache
    /// is then disabled, which is logged once.
    pub(super) fn session(
        &self,
        builder: impl Fn() -> Result<SessionBuilder, ort::Error>,
        graph: &Path,
    ) -> Option<Session> {
        if self.is_disabled() {
            return None;
        }
        self.map_or_pack(&builder, graph)
            .inspect_err(|error| {
                warn_not_cached(error);
                self.disabled.store(true, Ordering::Relaxed);
            })
            .ok()
    }

    /// Whether sessions pack their weights in memory because the cache failed.
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Relaxed)
    }

    fn map_or_pack(&self, builder: &Builder<'_>, graph: &Path) -> Result<Session, PackedError> {
        let target = self.folder.join(graph.file_stem().unwrap_or_default());
        if let Some(session) = map_if_intact(builder, &target) {
            return Ok(session);
        }
        let lock = self.folder.join(LOCK);
        let lock_file = File::create(&lock).map_err(at(&lock))?;
        lock_file.lock().map_err(at(&lock))?;
        // Another process may have packed them while this one waited for the lock.
        if let Some(session) = map_if_intact(builder, &target) {
            return Ok(session);
        }
        self.pack(builder, graph, &target)?;
        map(builder, &target)
    }

    fn pack(&self, builder: &Builder<'_>, graph: &Path, target: &Path) -> Result<(), PackedError> {
        self.check_free_space()?;
        let unfinished = self.folder.join(UNFINISHED);
        delete(&unfinished)?;
        fs::create_dir(&unfinished).map_err(at(&unfinished))?;
        tracing::debug!(graph = %graph.display(), "packing weights");
        write(builder, graph, &unfinished)?;
        let checksums = checksums(&unfinished)?;
        let list = unfinished.join(CHECKSUMS);
        let text = serde_json::to_vec(&checksums).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(&list, text));
        written.map_err(at(&list))?;
        delete(target)?;
        fs::rename(&unfinished, target).map_err(at(target))
    }

    /// ONNX Runtime may write a truncated file to a full disk without an error.
    fn check_free_space(&self) -> Result<(), PackedError> {
        let disk = rustix::fs::statvfs(&self.folder);
        let disk = disk.map_err(|error| at(&self.folder)(error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = self.graph_bytes.saturating_add(MIN_FREE);
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

/// Logs why weights are not mapped.
pub(super) fn warn_not_cached(error: &PackedError) {
    tracing::warn!("no weights cache, the weights are packed in memory: {error}");
}

/// A session of the graph in `folder`, if its files are complete and unchanged.
fn map_if_intact(builder: &Builder<'_>, folder: &Path) -> Option<Session> {
    if !folder.exists() {
        return None;
    }
    map(builder, folder)
        .inspect_err(|error| tracing::info!(%error, "packing weights again"))
        .ok()
}

fn map(builder: &Builder<'_>, folder: &Path) -> Result<Session, PackedError> {
    let list = folder.join(CHECKSUMS);
    let text = fs::read(&list).map_err(at(&list))?;
    let written: Vec<Checksum> =
        serde_json::from_slice(&text).map_err(|error| at(&list)(error.into()))?;
    if written.is_empty() || checksums(folder)? != written {
        return Err(PackedError::Damaged(folder.to_owned()));
    }
    let path = folder.join(GRAPH);
    let open = || quiet(builder)?.commit_from_file(&path);
    Ok(open().map_err(EngineError::graph(&path))?)
}

/// Writes a graph with its weights, unpacked and packed, to a folder.
fn write(builder: &Builder<'_>, graph: &Path, into: &Path) -> Result<(), EngineError> {
    let open = || {
        quiet(builder)?
            .with_optimized_model_path(into.join(GRAPH))?
            .with_config_entry(
                "session.optimized_model_external_initializers_file_name",
                WEIGHTS,
            )?
            .with_config_entry(
                "session.optimized_model_external_initializers_min_size_in_bytes",
                MIN_EXTERNAL_BYTES,
            )?
            .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?
            .commit_from_file(graph)
    };
    open().map(drop).map_err(EngineError::graph(graph))
}

/// Turns off the warning that an optimized graph is for one kind of processor, and messages about refused graphs, which are logged here.
fn quiet(builder: &Builder<'_>) -> Result<SessionBuilder, ort::Error> {
    Ok(builder()?.with_log_level(LogLevel::Fatal)?)
}

/// Checksums of every file in a folder but the list of them, sorted by name.
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
        hasher.update(chunk.get(..n).ok_or(io::ErrorKind::InvalidData)?);
        bytes += n as u64;
    }
}

/// Deletes every set of a bundle that was at the path of `origin`'s bundle, or that no longer exists, except the set at `kept`.
fn delete_obsolete(sets: &Path, kept: &Path, origin: &Origin) -> io::Result<()> {
    for entry in fs::read_dir(sets)? {
        let set = entry?.path();
        // Another process may be writing to the new set.
        if set == kept {
            continue;
        }
        let Ok(text) = fs::read(set.join(ORIGIN)) else {
            continue;
        };
        let Ok(other) = serde_json::from_slice::<Origin>(&text) else {
            continue;
        };
        // A bundle that cannot be accessed may still exist.
        let gone = other.bundle.try_exists().is_ok_and(|exists| !exists);
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

/// What ONNX Runtime chooses its kernels by: model and instruction sets of every core, as Linux lists them.
fn processor() -> io::Result<String> {
    const KEYS: [&str; 10] = [
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
        KEYS.contains(&key)
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
