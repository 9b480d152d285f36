//! A bundle appears whole, replaces only bundles, and leaves no other files.

mod common;

use std::fs;

use astra_bundle::*;
use common::{Place, one_stage, values, write_parts};

#[test]
fn an_unfinished_bundle_leaves_nothing() {
    let place = Place::new();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    write_parts(&mut writer);
    assert!(writer.dir().is_dir());
    assert!(!place.bundle().exists(), "nothing under the final name yet");
    drop(writer);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_refused_bundle_leaves_the_older_one() {
    let place = Place::new();
    let hash = common::write(&place.bundle()).hash();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let mut manifest = write_parts(&mut writer);
    manifest.rungs[1].blocks[1].codebooks += 64 * 64;
    let error = writer.finish(manifest).unwrap_err();
    assert!(matches!(error, BundleError::Invalid { .. }), "{error}");
    assert_eq!(place.names(), ["tiny"]);
    assert_eq!(Bundle::open(&place.bundle()).unwrap().hash(), hash);
}

#[test]
fn the_finished_bundle_replaces_the_older_one_which_stays_readable_where_open() {
    let place = Place::new();
    let older = common::write(&place.bundle());
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let mut manifest = write_parts(&mut writer);
    manifest.model = "newer".to_owned();
    let newer = writer.finish(manifest).unwrap();

    assert_eq!(newer.dir(), fs::canonicalize(place.bundle()).unwrap());
    assert_eq!(
        Bundle::open(&place.bundle()).unwrap().manifest().model,
        "newer"
    );
    assert_eq!(*older.exact(0).unwrap().dec_w, values(1, 24));
    assert_eq!(place.names(), ["tiny"]);
}

#[test]
fn only_bundles_and_empty_directories_are_replaced() {
    let place = Place::new();
    let dir = place.bundle();
    let refusal = || BundleWriter::create(&dir).unwrap_err().to_string();
    let text = |found: &str| {
        format!(
            "{}: found {found}, expected a bundle to replace, an empty directory or nothing",
            dir.display()
        )
    };

    fs::write(&dir, "thesis").unwrap();
    assert_eq!(refusal(), text("a file"));
    assert_eq!(fs::read_to_string(&dir).unwrap(), "thesis");
    fs::remove_file(&dir).unwrap();

    fs::create_dir(&dir).unwrap();
    drop(common::write(&dir));
    fs::remove_dir_all(&dir).unwrap();

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("manifest.json"), r#"{"manifest_version": 3}"#).unwrap();
    assert_eq!(refusal(), text("a directory with other files"));
    assert_eq!(place.names(), ["tiny"]);

    fs::write(dir.join("manifest.json"), r#"{"format": 9}"#).unwrap();
    drop(common::write(&dir));
    fs::write(dir.join("manifest.json"), "torn").unwrap();
    drop(common::write(&dir));
}

#[test]
fn a_place_that_fills_up_while_writing_is_not_replaced() {
    let place = Place::new();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let manifest = write_parts(&mut writer);
    fs::create_dir(place.bundle()).unwrap();
    fs::write(place.bundle().join("notes.txt"), "mine").unwrap();
    let error = writer.finish(manifest).unwrap_err();
    assert!(matches!(error, BundleError::Occupied { .. }), "{error}");
    assert_eq!(
        fs::read_to_string(place.bundle().join("notes.txt")).unwrap(),
        "mine"
    );
    assert_eq!(place.names(), ["tiny"]);
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_keeps_leading_to_the_bundle() {
    let place = Place::new();
    let real = place.root().join("real");
    drop(common::write(&real));
    std::os::unix::fs::symlink(&real, place.bundle()).unwrap();
    drop(common::write(&place.bundle()));
    assert!(fs::symlink_metadata(place.bundle()).unwrap().is_symlink());
    assert_eq!(place.names(), ["real", "tiny"]);
    Bundle::open(&real).unwrap();
}

#[test]
fn missing_parents_are_created_and_paths_without_a_name_refused() {
    let place = Place::new();
    drop(common::write(&place.root().join("a/b/tiny")));
    Bundle::open(&place.root().join("a/b/tiny")).unwrap();
    assert!(BundleWriter::create(&place.root().join("none/..")).is_err());
}

#[test]
fn a_flushed_part_can_be_read_while_more_is_added() {
    let place = Place::new();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let first = writer.weights(&values(1, 24), &[4, 6]).unwrap();
    writer.graph("embed", b"first").unwrap();
    writer.flush().unwrap();
    let weights = fs::read(writer.dir().join(WEIGHTS_FILE)).unwrap();
    assert_eq!(weights[first.offset as usize..][..4], 1.0f32.to_le_bytes());
    assert_eq!(weights.len(), 128);

    let second = writer.weights(&values(2, 1), &[1]).unwrap();
    assert_eq!((first.offset, second.offset), (0, 128));
    writer.graph("embed", b"second").unwrap();
    assert_eq!(
        fs::read(writer.dir().join("embed.onnx")).unwrap(),
        b"second"
    );
}

#[test]
fn the_writer_refuses_what_no_reader_takes() {
    let place = Place::new();
    let mut writer = BundleWriter::create(&place.bundle()).unwrap();
    let is_invalid =
        |error: BundleError| assert!(matches!(error, BundleError::Invalid { .. }), "{error}");
    is_invalid(writer.weights(&[1.0; 5], &[2, 3]).unwrap_err());
    is_invalid(writer.weights(&[], &[0]).unwrap_err());
    is_invalid(writer.weights(&[1.0], &[usize::MAX, 2]).unwrap_err());
    for name in [
        "../escape",
        "manifest.json",
        WEIGHTS_FILE,
        CODEBOOKS_FILE,
        "",
    ] {
        is_invalid(writer.file(name, b"").unwrap_err());
    }
    is_invalid(writer.graph("a/b", b"").unwrap_err());

    let good = one_stage(&[1, 0], &[2], &[0.0; 8]);
    for bad in [
        one_stage(&[], &[2], &[0.0; 8]),
        one_stage(&[1, 0], &[], &[0.0; 8]),
        one_stage(&[1, 0], &[2], &[]),
        one_stage(&[1, 0], &[2], &[0.0; 7]),
        one_stage(&[0, 0], &[2], &[0.0; 8]),
        one_stage(&[1, 0], &[1], &[0.0; 8]),
        one_stage(&[1, 0], &[2], &[f32::INFINITY; 8]),
        one_stage(&[1, 0], &[2], &[1e6; 8]),
    ] {
        let second = CodebookView {
            second: Some(bad.first.clone()),
            ..good.clone()
        };
        if second.perm == bad.perm {
            is_invalid(writer.codebook(&second).unwrap_err());
        }
        is_invalid(writer.codebook(&bad).unwrap_err());
    }
    assert_eq!(writer.codebook(&good).unwrap(), 64, "nothing was appended");
    assert_eq!(writer.codebook(&good).unwrap(), 64 + 128);
}

#[test]
fn measured_agreement_is_filled_in_later() {
    let place = Place::new();
    let mut bundle = common::write(&place.bundle());
    let before = bundle.hash();
    let mut manifest = bundle.manifest().clone();
    let mut measured = manifest.rungs[1].agreement[0];
    measured.cls_cosine = Some(0.1 + 0.2);
    manifest.rungs[0].agreement.push(measured);
    bundle.rewrite_manifest(manifest.clone()).unwrap();

    assert_ne!(bundle.hash(), before);
    let read = Bundle::open(&place.bundle()).unwrap();
    assert_eq!((read.hash(), read.manifest()), (bundle.hash(), &manifest));
    let entries = fs::read_dir(place.bundle()).unwrap().count();
    assert_eq!(
        entries,
        manifest.files.len() + 1,
        "no temporary file is left"
    );
}

#[test]
fn a_manifest_that_is_not_of_these_files_is_not_written() {
    let place = Place::new();
    let mut bundle = common::write(&place.bundle());
    let (before, good) = (bundle.hash(), bundle.manifest().clone());

    let mut other_files = good.clone();
    other_files.files.remove("head.onnx");
    let mut other_rank = good.clone();
    other_rank.bases[0].blocks[0].rank = 2;
    let mut other_place = good.clone();
    other_place.rungs[0].blocks[0].codebooks += 64 * 64;
    let mut nan = good.clone();
    nan.rungs[1].agreement[0].map_mae = Some(f64::NAN);
    for manifest in [other_files, other_rank, other_place, nan] {
        let error = bundle.rewrite_manifest(manifest).unwrap_err();
        assert!(matches!(error, BundleError::Invalid { .. }), "{error}");
        assert_eq!((bundle.hash(), bundle.manifest()), (before, &good));
    }
    assert_eq!(Bundle::open(&place.bundle()).unwrap().hash(), before);

    let mut replaced = Bundle::open(&place.bundle()).unwrap();
    let mut changed = good.clone();
    changed.seed += 1;
    replaced.rewrite_manifest(changed).unwrap();
    let error = bundle.rewrite_manifest(good).unwrap_err();
    assert!(matches!(error, BundleError::Hash { .. }), "{error}");
}
