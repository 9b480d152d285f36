//! The tensors of the safetensors files of a directory.
//!
//! Values are read when they are requested, so that no file is in memory as a whole.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use astra_bundle::Sha256Digest;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use crate::source::error::not_a_model;
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, Precision, SourceError, Tensor, digest_of_files};

/// Bytes before the header that say how long it is.
const LENGTH: usize = size_of::<u64>();
/// Longest header, as the format defines it.
const MAX_HEADER: u64 = 100_000_000;

/// Tensors of one file or several.
pub(super) struct SafeTensors<'a> {
    /// The file, or the index of the files.
    path: &'a Path,
    files: Vec<Shard>,
    /// Which file a tensor is in.
    places: BTreeMap<String, usize>,
    /// Names of tensors that were read.
    read: RefCell<BTreeSet<String>>,
}

/// An open file.
struct Shard {
    file: File,
    path: PathBuf,
    /// Where the values begin.
    start: u64,
    metadata: Metadata,
}

/// `model.safetensors.index.json`
#[derive(Deserialize)]
struct Index {
    /// Names of files by names of tensors.
    weight_map: BTreeMap<String, String>,
}

impl Tensors for SafeTensors<'_> {
    fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Mismatch> {
        let shard = self.places.get(name).and_then(|&file| self.files.get(file));
        let found = shard.and_then(|shard| Some((shard, shard.metadata.info(name)?)));
        let Some((shard, info)) = found else {
            return Err(Mismatch::missing(name, "a tensor of that name"));
        };
        self.read.borrow_mut().insert(name.to_owned());
        let precision = match info.dtype {
            Dtype::F32 => Precision::F32,
            Dtype::F16 => Precision::F16,
            Dtype::BF16 => Precision::Bf16,
            Dtype::F64 => Precision::F64,
            other => {
                let found = format!("{other:?} values");
                return Err(Mismatch::new(name, found, "F32, F16, BF16 or F64"));
            }
        };
        let bytes = shard.bytes(info);
        let bytes = bytes.map_err(|error| {
            let found = format!(
                "values that cannot be read from {}: {error}",
                shard.path.display()
            );
            Mismatch::new(name, found, "a file that stays as it is")
        })?;
        Tensor::from_bytes(name, info.shape.clone(), precision, &bytes)
    }
}

impl<'a> SafeTensors<'a> {
    /// Opens one file.
    pub(super) fn open(path: &'a Path) -> Result<Self, SourceError> {
        let shard = Shard::open(path)?;
        let names = shard.metadata.offset_keys();
        Ok(Self {
            path,
            places: names.into_iter().map(|name| (name, 0)).collect(),
            files: vec![shard],
            read: RefCell::default(),
        })
    }

    /// Opens the files that an index in `path` names, all in its directory or below.
    pub(super) fn open_sharded(path: &'a Path) -> Result<Self, SourceError> {
        let index: Index = super::parse(path, &crate::source::error::read(path)?)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        let mut files = Vec::new();
        let mut places = BTreeMap::new();
        for (number, name) in names.into_iter().enumerate() {
            check_name(name).map_err(|mismatch| mismatch.at(path))?;
            let file = dir.join(name);
            if !file.exists() {
                let tensors = index.weight_map.values().filter(|of| *of == name).count();
                let expected = format!("the file that the index names for {tensors} tensors");
                return Err(Mismatch::missing(name, expected).at(path));
            }
            let shard = Shard::open(&file)?;
            for tensor in shard.metadata.offset_keys() {
                places.entry(tensor).or_insert(number);
            }
            for (tensor, _) in index.weight_map.iter().filter(|(_, of)| *of == name) {
                if shard.metadata.info(tensor).is_none() {
                    let expected = format!("a tensor of that name, as {} says", path.display());
                    return Err(Mismatch::missing(tensor, expected).at(&file));
                }
                places.insert(tensor.clone(), number);
            }
            files.push(shard);
        }
        Ok(Self {
            path,
            files,
            places,
            read: RefCell::default(),
        })
    }

    /// See [`digest_of_files`].
    pub(super) fn digest(&self) -> Result<Sha256Digest, SourceError> {
        let mut digests = Vec::new();
        for shard in &self.files {
            let io = |error| SourceError::Io {
                path: shard.path.clone(),
                error,
            };
            let file = File::open(&shard.path).map_err(io)?;
            digests.push(Sha256Digest::of_reader(file).map_err(io)?.0);
        }
        Ok(digest_of_files(&digests))
    }

    /// The file, or the index of the files.
    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Refuses files with a tensor in a block of the model that was not read: it belongs to a part that would be lost. Heads
    /// beside the blocks may be there for other tasks.
    pub(super) fn check_blocks_read(&self) -> Result<(), Mismatch> {
        let read = self.read.borrow();
        let lost = |name: &&String| is_in_block(name) && !is_buffer(name) && !read.contains(*name);
        match self.places.keys().find(lost) {
            None => Ok(()),
            Some(name) => {
                let found = "a tensor that no known part of a block has";
                let expected = "only those of the architecture that config.json names";
                Err(Mismatch::new(name, found, expected))
            }
        }
    }

    /// Names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What stands before `name`: `prefix` or nothing.
    pub(super) fn prefix(&self, prefix: &'a str, name: &str) -> Result<&'a str, Mismatch> {
        let with = format!("{prefix}{name}");
        if self.contains(&with) {
            Ok(prefix)
        } else if self.contains(name) {
            Ok("")
        } else {
            Err(Mismatch::missing(
                name,
                format!("a tensor of that name or {with}"),
            ))
        }
    }
}

/// Whether a name has the number of a block in it, such as `model.layers.3.mlp.up_proj.weight`.
fn is_in_block(name: &str) -> bool {
    const LISTS: [&str; 4] = ["layers", "layer", "h", "blocks"];
    let mut parts = name.split('.').skip_while(|part| !LISTS.contains(part));
    let number = parts.nth(1).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a tensor is one that PyTorch's modules kept for themselves, made of the configuration: masks of causal attention,
/// frequencies of positions.
fn is_buffer(name: &str) -> bool {
    const BUFFERS: [&str; 3] = ["rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"];
    BUFFERS.iter().any(|buffer| name.ends_with(buffer))
}

/// Refuses a file that may be outside the directory of the index.
fn check_name(name: &str) -> Result<(), Mismatch> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !name.is_empty() && Path::new(name).components().all(inside) {
        return Ok(());
    }
    let expected = "names of files in the directory of the index";
    Err(Mismatch::new("weight_map", format!("{name:?}"), expected))
}

impl Shard {
    fn open(path: &Path) -> Result<Self, SourceError> {
        let io = |error| SourceError::Io {
            path: path.to_owned(),
            error,
        };
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let header = header(&mut file, bytes);
        let (start, metadata) = header.map_err(|error| SourceError::Format {
            path: path.to_owned(),
            format: "a safetensors file",
            error,
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
            start,
            metadata,
        })
    }

    fn bytes(&self, info: &TensorInfo) -> io::Result<Vec<u8>> {
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0; end.saturating_sub(begin)];
        self.file
            .read_exact_at(&mut bytes, self.start + begin as u64)?;
        Ok(bytes)
    }
}

/// Where the values begin and what there is, of a file of `bytes` bytes.
fn header(file: &mut File, bytes: u64) -> Result<(u64, Metadata), String> {
    let mut length = [0; LENGTH];
    if bytes < LENGTH as u64 {
        return Err(format!("found {bytes} bytes, expected a header"));
    }
    let read = |error: io::Error| error.to_string();
    file.read_exact(&mut length).map_err(read)?;
    if let Some(kind) = not_a_model(&length) {
        return Err(kind.to_owned());
    }
    let length = u64::from_le_bytes(length);
    let start = length.saturating_add(LENGTH as u64);
    if length > MAX_HEADER || start > bytes {
        return Err(format!(
            "found a header of {length} bytes in a file of {bytes}"
        ));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(read)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let expected = start.saturating_add(metadata.data_len() as u64);
    if expected != bytes {
        return Err(format!("found {bytes} bytes, expected {expected}"));
    }
    Ok((start, metadata))
}
