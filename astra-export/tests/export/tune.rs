//! `astra-export tune`, as people and scripts call it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use astra_bundle::Bundle;
use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::cache;
use crate::hugging_face::{DINOV2, Directory};
use crate::models::Random;
use crate::predicted::{export, rung};

/// A small bundle with one rung, of 6 bits, and a folder of photographs.
struct Place {
    folder: tempfile::TempDir,
    bundle: PathBuf,
}

impl Place {
    fn new(photographs: usize) -> Self {
        let source = Directory::new(&DINOV2, true, 0);
        let imported = astra_export::source::hugging_face::open(source.path()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let rungs = |blocks| vec![rung(blocks, 2, true)];
        let (bundle, _) = export(&imported, folder.path(), &rungs);
        let bundle = bundle.dir().to_owned();
        std::fs::create_dir(folder.path().join("photographs")).unwrap();
        let place = Self { folder, bundle };
        let mut random = Random::new(8);
        for number in 0..photographs {
            let colours = random.bytes(3 * 20 * 16);
            let photograph = RgbImage::from_fn(20, 16, |x, y| {
                let at = 3 * (20 * y + x) as usize;
                Rgb([0, 1, 2].map(|channel| colours[at + channel]))
            });
            let path = place.path("photographs").join(format!("{number:02}.png"));
            photograph.save(path).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tune(&self, out: &Path, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_astra-export"))
            .arg("tune")
            .arg(&self.bundle)
            .arg("--data")
            .arg(self.path("photographs"))
            .arg("--out")
            .arg(out)
            .args(more)
            .env("ORT_DYLIB_PATH", cache::runtime())
            .output()
            .unwrap()
    }

    fn refusal(&self, out: &Path, more: &[&str]) -> String {
        let output = self.tune(out, more);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn a_rung_is_trained_and_measured_again() {
    let place = Place::new(20);
    let out = place.path("tuned");
    let arguments = [
        "--steps",
        "40",
        "--measure-every",
        "10",
        "--rate",
        "0.003",
        "--json",
    ];
    let output = place.tune(&out, &arguments);
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["trained_on"], &said["measured_on"]),
        (&16.into(), &4.into())
    );
    let rung = &said["rungs"][0];
    assert_eq!((&rung["bits"], &rung["steps"]), (&6.into(), &40.into()));
    let class = |when: &str| rung[when]["class"].as_f64().unwrap();
    assert!(class("after") > class("before"), "{said}");

    let tuned = Bundle::open(&out).unwrap();
    let agreement = &tuned.rung(6).unwrap().agreement;
    let devices: Vec<usize> = agreement.iter().map(|measured| measured.devices).collect();
    assert_eq!(devices, [2, 4, 8]);
    let measured = agreement[1].cls_cosine.unwrap();
    assert!(
        (measured - class("after")).abs() < 1e-6,
        "{measured}, {said}"
    );
}

#[test]
fn refusals_say_what_was_expected_and_leave_nothing_behind() {
    let place = Place::new(5);
    let out = place.path("tuned");
    for (arguments, expected) in [
        (&["--rungs=7"][..], "--rungs: found 7, expected some of [6]"),
        (&["--steps=0"], "--steps: found 0, expected at least 1"),
        (
            &["--minutes=-1"],
            "--minutes: found -1, expected a number above 0",
        ),
        (
            &["--noise=NaN"],
            "--noise: found NaN, expected 0 or a number above",
        ),
        (&["--devices=1"], "--devices: found 1, expected 2 to 64"),
        (&[], "photographs: found 5 photographs, expected at least 8"),
    ] {
        let refusal = place.refusal(&out, arguments);
        assert!(refusal.contains(expected), "{refusal}");
        assert!(!out.exists());
    }
    let taken = place.path("photographs");
    let refusal = place.refusal(&taken, &[]);
    assert!(
        refusal.contains("found a directory with other files"),
        "{refusal}"
    );
    let refusal = place.refusal(&place.bundle, &[]);
    assert!(
        refusal.contains("a bundle is there; pass --force"),
        "{refusal}"
    );
    for number in 0..5 {
        std::fs::remove_file(taken.join(format!("{number:02}.png"))).unwrap();
    }
    let refusal = place.refusal(&out, &[]);
    assert!(
        refusal.contains("photographs: found no photographs"),
        "{refusal}"
    );
}
