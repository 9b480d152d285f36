//! Files and directories that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{BundleError, Invalid};
use crate::files;
use crate::layout::{CODEBOOKS_FILE, WEIGHTS_FILE};

/// A directory under a temporary name beside the place it is meant for; removed when dropped unpublished.
#[derive(Debug)]
pub(crate) struct Staging {
    target: PathBuf,
    dir: PathBuf,
}

impl Staging {
    /// Creates the temporary directory, and the parents of `target`. What lies at `target` must be replaceable.
    pub(crate) fn create(target: &Path) -> Result<Self, BundleError> {
        check_replaceable(target)?;
        // The real place of what is there: renaming a symbolic link, or `.`, would not replace the directory it leads to.
        let target = match fs::canonicalize(target) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => target.to_owned(),
            Err(error) => return Err(BundleError::io("find", target)(error)),
        };
        let parent = parent(&target);
        fs::create_dir_all(parent).map_err(BundleError::io("create", parent))?;
        let dir = vacant(&target, "new", |dir| fs::create_dir(dir))?;
        Ok(Self { target, dir })
    }

    /// The temporary directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts the directory in its place, and removes what was there before.
    ///
    /// A directory cannot be renamed over one with files in it, so the older one is moved aside first. A crash between the
    /// two renames leaves nothing under the final name, and both under hidden names beside it.
    pub(crate) fn publish(self) -> Result<PathBuf, BundleError> {
        check_replaceable(&self.target)?;
        sync_dir(&self.dir)?;
        let older = match fs::symlink_metadata(&self.target) {
            Ok(_) => Some(vacant(&self.target, "old", |aside| {
                fs::rename(&self.target, aside)
            })?),
            Err(_) => None,
        };
        if let Err(error) = fs::rename(&self.dir, &self.target) {
            if let Some(aside) = &older {
                fs::rename(aside, &self.target)
                    .map_err(BundleError::io("put back", &self.target))?;
            }
            return Err(BundleError::io(
                "rename the finished bundle to",
                &self.target,
            )(error));
        }
        sync_dir(parent(&self.target))?;
        if let Some(aside) = older {
            fs::remove_dir_all(&aside)
                .map_err(BundleError::io("remove the older bundle at", &aside))?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The error has no receiver; after publishing there is nothing here.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Refuses to replace what is not clearly a bundle: a mistyped path must not cost anybody their files.
fn check_replaceable(target: &Path) -> Result<(), BundleError> {
    let occupied = |found| BundleError::Occupied {
        path: target.to_owned(),
        found,
    };
    match fs::metadata(target) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(occupied("a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match fs::symlink_metadata(target) {
                Ok(_) => Err(occupied("a symbolic link to nothing")),
                Err(_) => Ok(()),
            };
        }
        Err(error) => return Err(BundleError::io("read", target)(error)),
    }
    let mut entries = fs::read_dir(target).map_err(BundleError::io("read", target))?;
    // The second test is for a bundle whose manifest is damaged, which is a good reason to replace it.
    let is_bundle = files::has_manifest(target)
        || [WEIGHTS_FILE, CODEBOOKS_FILE]
            .iter()
            .all(|name| target.join(name).is_file());
    if entries.next().is_none() || is_bundle {
        return Ok(());
    }
    Err(occupied("a directory with other files"))
}

/// Makes something under a hidden name beside `target`. The name is unique within this process; one that an earlier process
/// of the same number that was left is passed over.
fn vacant(
    target: &Path,
    what: &str,
    make: impl Fn(&Path) -> io::Result<()>,
) -> Result<PathBuf, BundleError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = target
        .file_name()
        .ok_or_else(|| Invalid::new("name", "nothing", "a path that ends in a name").at(target))?;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{what}-{}-{number}", process::id()));
        let candidate = parent(target).join(hidden);
        if fs::symlink_metadata(&candidate).is_ok() {
            continue;
        }
        return match make(&candidate) {
            Ok(()) => Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => Err(BundleError::io("make a temporary name beside", target)(
                error,
            )),
        };
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes or replaces a file of `dir` so that readers, and a crash, see the old one or the new one.
pub(crate) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    let path = dir.join(name);
    let temporary = vacant(&path, "new", |candidate| {
        File::create_new(candidate).map(drop)
    })?;
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, &path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(BundleError::io("write", &path)(error));
    }
    sync_dir(dir)
}

/// Makes the names in `dir` last. Only Unix has a way to do so.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), BundleError> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|file| file.sync_all());
        synced.map_err(BundleError::io("sync", dir))?;
    }
    Ok(())
}
