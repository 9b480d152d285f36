//! The cache folder: where it is, one run at a time in it, and files that are whole or absent.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::stop::Stop;

/// Overrides the path of the cache; also passed to child processes.
pub(crate) const CACHE_VARIABLE: &str = "ASTRA_EDGE_CACHE";
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The cache folder, shared by every run of this user.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held while the cache is looked at or changed; released on drop, and by the system should the
/// process die.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// How a file compares with what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Sound,
    Missing,
    Wrong(Mismatch),
}

/// What a file or stream should hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Length, bytes.
    pub(crate) size: u64,
    /// SHA-256, lower-case hexadecimal.
    pub(crate) sha256: &'static str,
}

/// A length or a digest other than the expected one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    found: String,
    expected: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

impl Cache {
    /// `$ASTRA_EDGE_CACHE`, else `$XDG_CACHE_HOME/astra-edge`, else `~/.cache/astra-edge`.
    pub(crate) fn locate() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        // As the XDG base directory specification says of its variables: a relative path is ignored.
        let absolute = |name| {
            get(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let own = get(CACHE_VARIABLE).filter(|value| !value.is_empty());
        if let Some(relative) = own.map(PathBuf::from).filter(|path| path.is_relative()) {
            bail!(
                "{CACHE_VARIABLE} is {}, expected an absolute path",
                relative.display()
            );
        }
        let root = absolute(CACHE_VARIABLE)
            .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("astra-edge")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/astra-edge")))
            .ok_or_else(|| {
                anyhow!("no place for the cache: set {CACHE_VARIABLE} to an absolute path")
            })?;
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Creates the folder if need be and waits until no other run uses it.
    pub(crate) fn lock(&self, stop: &Stop) -> Result<Lock> {
        create_folder(&self.root)?;
        let path = self.path(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut announced = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if !announced {
                eprintln!(
                    "another run is at work in {}; waiting for it",
                    self.root.display()
                );
                announced = true;
            }
            stop.check()?;
            thread::sleep(LOCK_POLL);
        }
    }
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Compares the file at `path` with `expected`, reading all of it if its length is right.
pub(crate) fn check(path: &Path, expected: Expected) -> Result<State> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot open {}", path.display()));
        }
    };
    let read = || format!("cannot read {}", path.display());
    let size = file.metadata().with_context(read)?.len();
    if size != expected.size {
        return Ok(State::Wrong(wrong_size(size, expected)));
    }
    let found = copy_and_digest(&mut file, &mut io::sink()).with_context(read)?;
    Ok(compare(found, expected).map_or_else(State::Wrong, |()| State::Sound))
}

/// Writes the bytes of `source` to `path`, which afterwards is either whole and as expected or as
/// it was before.
pub(crate) fn install(path: &Path, source: &mut dyn Read, expected: Expected) -> Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} does not name a file", path.display());
    };
    create_folder(folder)?;
    let partial = folder.join(format!(".{}.partial", name.to_string_lossy()));
    let outcome = write_checked(&partial, source, expected).and_then(|()| {
        fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))?;
        // The rename itself is durable only once the folder is.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync {}", folder.display()))
    });
    if outcome.is_err() {
        // The first error says more than a failure to tidy up after it would.
        let _ = fs::remove_file(&partial);
    }
    outcome.with_context(|| format!("{} was not installed", path.display()))
}

fn write_checked(path: &Path, source: &mut dyn Read, expected: Expected) -> Result<()> {
    let mut file =
        File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    // One byte more than expected shows whether the source is longer.
    let mut bounded = source.take(expected.size.saturating_add(1));
    let found = copy_and_digest(&mut bounded, &mut file)
        .with_context(|| format!("cannot fill {}", path.display()))?;
    compare(found, expected).map_err(|mismatch| anyhow!("{mismatch}"))?;
    file.sync_all()
        .with_context(|| format!("cannot sync {}", path.display()))
}

/// Copies everything; the length and the SHA-256 of it.
fn copy_and_digest(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let mut buffer = vec![0; 1 << 18];
    let mut digest = Sha256::new();
    let mut size = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = buffer.get(..count).unwrap_or_default();
        digest.update(chunk);
        to.write_all(chunk)?;
        size += count as u64;
    }
    let mut hex = String::with_capacity(64);
    for byte in digest.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok((size, hex))
}

fn compare((size, sha256): (u64, String), expected: Expected) -> Result<(), Mismatch> {
    if size != expected.size {
        return Err(wrong_size(size, expected));
    }
    if sha256 != expected.sha256 {
        return Err(Mismatch {
            found: format!("SHA-256 {sha256}"),
            expected: expected.sha256.to_owned(),
        });
    }
    Ok(())
}

fn wrong_size(size: u64, expected: Expected) -> Mismatch {
    let more = if size > expected.size {
        "at least "
    } else {
        ""
    };
    Mismatch {
        found: format!("{more}{size} bytes"),
        expected: expected.size.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    // FIPS 180-2, appendix B.1.
    const ABC: Expected = Expected {
        size: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    #[test]
    fn the_cache_is_where_the_variables_say() {
        let place = |pairs: &[(&str, &str)]| {
            let get = |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| OsString::from(value))
            };
            Cache::from_variables(get)
                .map(|cache| cache.root.to_string_lossy().into_owned())
                .ok()
        };
        let home = ("HOME", "/h");
        assert_eq!(place(&[home]).as_deref(), Some("/h/.cache/astra-edge"));
        assert_eq!(
            place(&[home, ("XDG_CACHE_HOME", "/x")]).as_deref(),
            Some("/x/astra-edge")
        );
        assert_eq!(
            place(&[home, ("XDG_CACHE_HOME", "x")]).as_deref(),
            Some("/h/.cache/astra-edge")
        );
        assert_eq!(
            place(&[home, ("XDG_CACHE_HOME", "/x"), (CACHE_VARIABLE, "/a")]).as_deref(),
            Some("/a")
        );
        assert_eq!(
            place(&[home, (CACHE_VARIABLE, "")]).as_deref(),
            Some("/h/.cache/astra-edge")
        );
        assert_eq!(place(&[home, (CACHE_VARIABLE, "relative")]), None);
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn a_file_is_sound_missing_or_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/abc");
        assert_eq!(check(&path, ABC).unwrap(), State::Missing);

        install(&path, &mut b"abc".as_slice(), ABC).unwrap();
        assert_eq!(check(&path, ABC).unwrap(), State::Sound);

        fs::write(&path, "ab").unwrap();
        let State::Wrong(torn) = check(&path, ABC).unwrap() else {
            panic!("a torn file passed")
        };
        assert_eq!(torn.to_string(), "found 2 bytes, expected 3");

        fs::write(&path, "abd").unwrap();
        let State::Wrong(edited) = check(&path, ABC).unwrap() else {
            panic!("an edit passed")
        };
        assert_eq!(
            edited.to_string(),
            "found SHA-256 a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9, \
             expected ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn wrong_bytes_are_refused_and_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        install(&path, &mut b"abc".as_slice(), ABC).unwrap();
        for (bytes, found) in [
            ("abd", "SHA-256 a52d"),
            ("ab", "2 bytes"),
            ("abcdef", "at least 4"),
        ] {
            let error = install(&path, &mut bytes.as_bytes(), ABC).unwrap_err();
            let message = format!("{error:#}");
            assert!(message.contains(&format!("found {found}")), "{message}");
            assert_eq!(fs::read(&path).unwrap(), b"abc");
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "a partial file was left"
        );
    }

    #[test]
    fn two_runs_are_never_in_the_cache_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let inside = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _lock = cache.lock(&Stop::default()).unwrap();
                    assert!(
                        !inside.swap(true, Ordering::SeqCst),
                        "two runs hold the lock"
                    );
                    // Whether or not the others arrive here meanwhile, the assertion holds.
                    thread::yield_now();
                    inside.store(false, Ordering::SeqCst);
                });
            }
        });
    }

    #[test]
    fn waiting_for_the_lock_can_be_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let _held = cache.lock(&Stop::default()).unwrap();
        let stop = Stop::default();
        stop.set();
        assert_eq!(cache.lock(&stop).unwrap_err().to_string(), "interrupted");
    }
}
