//! The files of one model: one, or the parts that `llama-gguf-split` made (`NAME-00001-of-00003.gguf`).

use std::path::{Path, PathBuf};

use astra_bundle::Sha256Digest;

use super::reader::Gguf;
use crate::source::digest_of_files;
use crate::source::error::{Mismatch, SourceError, read};

const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";

/// The content of all files of a model, in the order of the parts.
pub(super) struct Parts {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Parts {
    /// Reads the file at `path` and, where it is a part of a split model, all others: any part names the model.
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let mut given = read(path)?;
        let count = parse(path, &given)?.size_or(COUNT, 1);
        let count = count.map_err(|found| found.at(path))?;
        if count <= 1 {
            let files = vec![(path.to_owned(), given)];
            return Ok(Self { files });
        }
        let paths = paths(path, count).map_err(|mismatch| mismatch.at(path))?;
        let mut files = Vec::new();
        for (number, part) in paths.into_iter().enumerate() {
            let bytes = if part == path {
                std::mem::take(&mut given)
            } else {
                read_part(&part, path, count)?
            };
            check_part(&parse(&part, &bytes)?, number, count).map_err(|found| found.at(&part))?;
            files.push((part, bytes));
        }
        Ok(Self { files })
    }

    /// All parts as one file, with the metadata of the first.
    pub(super) fn gguf(&self) -> Result<Gguf<'_>, SourceError> {
        let mut whole: Option<Gguf<'_>> = None;
        for (path, bytes) in &self.files {
            let part = parse(path, bytes)?;
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.add_part(part).map_err(|found| found.at(path))?,
            }
        }
        let (path, whole) = whole
            .and_then(|whole| Some((&self.files.first()?.0, whole)))
            .ok_or_else(|| Mismatch::missing("parts", "a file").at(Path::new("")))?;
        let found = whole.tensor_count();
        let expected = whole.size_or(TENSORS, found);
        let expected = expected.map_err(|mismatch| mismatch.at(path))?;
        if found != expected {
            let found = format!("{found} tensors in all parts");
            return Err(Mismatch::new(TENSORS, found, expected).at(path));
        }
        Ok(whole)
    }

    /// The first file.
    pub(super) fn path(&self) -> &Path {
        let first = self.files.first();
        first.map_or(Path::new(""), |(path, _)| path)
    }

    /// See [`digest_of_files`].
    pub(super) fn digest(&self) -> Sha256Digest {
        let digests = self.files.iter().map(|(_, bytes)| Sha256Digest::of(bytes));
        digest_of_files(&digests.collect::<Vec<_>>())
    }
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Gguf<'a>, SourceError> {
    Gguf::parse(bytes).map_err(|error| SourceError::Format {
        path: path.to_owned(),
        format: "a GGUF file",
        error,
    })
}

fn read_part(part: &Path, of: &Path, count: usize) -> Result<Vec<u8>, SourceError> {
    if part.exists() {
        return read(part);
    }
    let name = part.file_name().unwrap_or_default().to_string_lossy();
    let expected = format!("all {count} parts of the model in its folder");
    Err(Mismatch::missing(name, expected).at(of))
}

fn check_part(part: &Gguf<'_>, number: usize, count: usize) -> Result<(), Mismatch> {
    for (key, expected) in [(COUNT, count), (NUMBER, number)] {
        let found = part.size(key)?;
        if found != expected {
            return Err(Mismatch::new(key, found, expected));
        }
    }
    Ok(())
}

/// Where the parts lie, by the name that `llama_split_path` in llama.cpp gives them.
fn paths(path: &Path, count: usize) -> Result<Vec<PathBuf>, Mismatch> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = format!("-of-{count:05}.gguf");
    let number = name.strip_suffix(&suffix).and_then(|rest| {
        let (prefix, number) = rest.rsplit_once('-')?;
        let digits = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then_some(prefix)
    });
    let prefix = number.ok_or_else(|| {
        let found = format!("one of {count} parts of a model, called {name:?}");
        let expected = format!("the name that it was split with, such as MODEL-00001{suffix}");
        Mismatch::new(COUNT, found, expected)
    })?;
    let part = |number: usize| path.with_file_name(format!("{prefix}-{number:05}{suffix}"));
    Ok((1..=count).map(part).collect())
}
