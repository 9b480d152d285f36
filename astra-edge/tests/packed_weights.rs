//! The cache of packed weights: equal outputs, and damaged files.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use astra_bundle::Bundle;
use astra_model::engine::{Encoder, FullModel, Runtime};
use common::Bed;

/// The only set in a cache.
fn set(cache: &Path) -> PathBuf {
    let mut sets = fs::read_dir(cache.join("packed")).unwrap();
    let set = sets.next().unwrap().unwrap().path();
    assert!(sets.next().is_none());
    set
}

fn packed(bed: &Bed, cache: &Path) -> Runtime {
    bed.runtime.clone().with_packed_weights(&bed.bundle, cache)
}

/// Whether this process has mapped a file.
fn is_mapped(path: &Path) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.contains(path.to_str().unwrap())
}

#[test]
fn the_output_for_an_image_is_bit_identical() {
    let bed = Bed::open();
    let cache = tempfile::tempdir().unwrap();
    let pixels = bed.pixels();
    // The first run packs the weights, the second maps them.
    for _ in 0..2 {
        let runtime = packed(&bed, cache.path());
        let mut whole = FullModel::open(&runtime, bed.bundle.dir(), bed.bundle.manifest()).unwrap();
        assert!(is_mapped(&set(cache.path()).join("whole/weights.bin")));
        assert_eq!(whole.run(&pixels).unwrap(), bed.whole());
    }
}

#[test]
fn the_output_for_a_text_is_bit_identical() {
    let bed = Bed::of("all-minilm-l6-v2");
    let cache = tempfile::tempdir().unwrap();
    let ids: Vec<u32> = (1000..1064).collect();
    let open = |runtime: &Runtime| Encoder::open(runtime, bed.bundle.dir()).unwrap();
    let plain = open(&bed.runtime).run(&ids).unwrap();
    let mapped = open(&packed(&bed, cache.path())).run(&ids).unwrap();
    assert!(set(cache.path()).join("whole/weights.bin").exists());
    assert_eq!(plain, mapped);
}

#[test]
fn intact_files_are_kept_and_damaged_ones_packed_again() {
    let bed = Bed::open();
    let cache = tempfile::tempdir().unwrap();
    let graph = bed.bundle.dir().join("local_00.onnx");
    let open = || drop(packed(&bed, cache.path()).session(&graph).unwrap());
    open();
    let folder = set(cache.path()).join("local_00");
    let names = ["graph.onnx", "weights.bin", "checksums.json"];
    let read = || names.map(|name| fs::read(folder.join(name)).unwrap());
    let made = || fs::metadata(&folder).unwrap().created().unwrap();
    let (before, first) = (read(), made());
    open();
    assert_eq!(made(), first);

    for name in names {
        let path = folder.join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        // The last bytes are weights that are not packed, which ONNX Runtime does not compare.
        *flipped.last_mut().unwrap() ^= 1;
        let mut longer = whole.clone();
        longer.push(0);
        let cases: [&[u8]; 4] = [&flipped, &longer, &whole[..whole.len() / 2], &[]];
        for damaged in cases {
            fs::write(&path, damaged).unwrap();
            open();
            assert!(read() == before, "{name} of {} bytes", damaged.len());
        }
        fs::remove_file(&path).unwrap();
        open();
        assert!(read() == before, "without {name}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_not_used() {
    let bed = Bed::open();
    let folder = tempfile::tempdir().unwrap();
    let graph = bed.bundle.dir().join("local_00.onnx");
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    assert!(packed(&bed, &file).session(&graph).is_ok());
    assert_eq!(fs::read(&file).unwrap(), b"no folder");

    // A folder cannot be opened for writing, even by root.
    let cache = folder.path().join("cache");
    let runtime = packed(&bed, &cache);
    fs::create_dir(set(&cache).join("lock")).unwrap();
    assert!(runtime.session(&graph).is_ok());
    assert!(!set(&cache).join("local_00").exists());
}

#[test]
fn a_new_bundle_at_the_same_path_replaces_the_set() {
    let bed = Bed::open();
    let folder = tempfile::tempdir().unwrap();
    let (place, cache) = (folder.path().join("bundle"), folder.path().join("cache"));
    copy(bed.bundle.dir(), &place);
    let first = Bundle::open(&place).unwrap();
    let graph = place.join("local_00.onnx");
    let runtime = bed.runtime.clone().with_packed_weights(&first, &cache);
    drop(runtime.session(&graph).unwrap());
    let former = set(&cache);
    assert!(former.join("local_00/weights.bin").exists());

    fs::remove_dir_all(&place).unwrap();
    copy(Bed::of("all-minilm-l6-v2").bundle.dir(), &place);
    let second = Bundle::open(&place).unwrap();
    let runtime = bed.runtime.clone().with_packed_weights(&second, &cache);
    drop(runtime.session(&graph).unwrap());
    assert_ne!(set(&cache), former);
    // A bundle at another path does not delete it.
    drop(packed(&bed, &cache).session(&graph).unwrap());
    assert_eq!(fs::read_dir(cache.join("packed")).unwrap().count(), 2);
}

#[test]
fn the_set_of_a_deleted_bundle_is_deleted_with_the_next() {
    let bed = Bed::open();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let pack = |name: &str| {
        let place = folder.path().join(name);
        copy(bed.bundle.dir(), &place);
        let bundle = Bundle::open(&place).unwrap();
        let runtime = bed.runtime.clone().with_packed_weights(&bundle, &cache);
        drop(runtime.session(&place.join("local_00.onnx")).unwrap());
        place
    };
    let first = pack("first");
    let former = set(&cache);
    fs::remove_dir_all(first).unwrap();
    pack("second");
    assert_ne!(set(&cache), former);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
