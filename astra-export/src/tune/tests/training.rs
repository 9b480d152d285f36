//! Whole trainings of a small model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use astra_bundle::Bundle;
use image::{Rgb, RgbImage};

use super::models::{BITS, Random};
use super::simulation::runtime;
use super::*;
use crate::tune::{Outcome, Rate, Settings, Told, Training, TuneError, checkpoint};

struct Place {
    folder: tempfile::TempDir,
    bundle: Bundle,
    photographs: Vec<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Small::Vit.bundle(folder.path(), true);
        let mut random = Random::new(21);
        let photographs = (0..10).map(|number| {
            let colours = random.bytes(3 * 12 * 10);
            let at = |x: u32, y: u32| 3 * (12 * y + x) as usize;
            let photograph = RgbImage::from_fn(12, 10, |x, y| {
                Rgb([0, 1, 2].map(|channel| colours[at(x, y) + channel]))
            });
            let path = folder.path().join(format!("{number}.png"));
            photograph.save(&path).unwrap();
            path
        });
        Self {
            photographs: photographs.collect(),
            bundle,
            folder,
        }
    }

    fn train(
        &self,
        out: &Path,
        settings: &Settings,
        tell: &mut dyn FnMut(&Told),
    ) -> Result<(Bundle, Vec<Outcome>), TuneError> {
        let (train, held_out) = self.photographs.split_at(5);
        let training = Training {
            bundle: &self.bundle,
            out,
            data: self.folder.path(),
            train: train.to_vec(),
            held_out,
            rungs: &[BITS],
            settings,
            limit: None,
            threads: 2,
        };
        training.run(runtime(), tell)
    }
}

fn settings(steps: usize) -> Settings {
    Settings {
        rate: Rate {
            rate: 5e-3,
            decay: 0.0,
            clip: 2.0,
        },
        batch: 3,
        steps,
        measure_every: 4,
        commitment: 0.02,
        lambda: 0.0,
        devices: vec![2, 4],
        seed: 1,
    }
}

/// Everything that training may change of a bundle.
fn codec(bundle: &Bundle) -> Vec<BlockTensors<Vec<f32>>> {
    Rung::read(bundle, BITS).unwrap().values
}

#[test]
fn training_helps_and_leaves_the_model_as_it_is() {
    let place = Place::new();
    let mut losses = Vec::new();
    let out = place.folder.path().join("tuned");
    let tell = &mut |told: &Told| losses.push(told.loss);
    let (tuned, outcomes) = place.train(&out, &settings(60), tell).unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
    assert!(last < 0.95 * first, "loss {first} to {last}");
    let outcome = outcomes[0];
    assert!(outcome.after.left(outcome.before) < 0.98, "{outcome:?}");
    assert!(outcome.after.keeps(outcome.before));
    assert_ne!(codec(&tuned), codec(&place.bundle));
    let note = tuned.rung(BITS).unwrap().calibration_note.as_ref();
    assert!(note.unwrap().starts_with("tuned, "));

    // Everything before the tensors of the codec is the model, and exact mode.
    let model = |bundle: &Bundle| {
        let bases = bundle.manifest().bases.iter();
        let first = bases
            .flat_map(|basis| &basis.blocks)
            .map(|block| block.enc_w.offset);
        let end = usize::try_from(first.min().unwrap()).unwrap();
        std::fs::read(bundle.dir().join("weights.bin")).unwrap()[..end].to_vec()
    };
    assert_eq!(model(&tuned), model(&place.bundle));
    for (name, entry) in &place.bundle.manifest().files {
        if !name.ends_with(".bin") {
            assert_eq!(tuned.manifest().files[name], *entry, "{name}");
        }
    }
    assert!(!checkpoint::folder(&out).exists());
}

#[test]
fn a_stopped_training_goes_on_where_it_was() {
    let place = Place::new();
    let settings = settings(12);
    let straight = place.folder.path().join("straight");
    let (straight, _) = place.train(&straight, &settings, &mut |_| ()).unwrap();

    let stopped = place.folder.path().join("stopped");
    let stop = &mut |told: &Told| assert!(told.step < 7, "stop in the middle");
    let run = catch_unwind(AssertUnwindSafe(|| place.train(&stopped, &settings, stop)));
    assert!(run.is_err() && !stopped.exists());
    let mut steps = Vec::new();
    let tell = &mut |told: &Told| steps.push(told.step);
    let (continued, _) = place.train(&stopped, &settings, tell).unwrap();
    assert_eq!(steps.first(), Some(&5), "after the measurement of step 4");
    assert_eq!(codec(&continued), codec(&straight));
}

#[test]
fn nothing_is_lost_where_the_bundle_cannot_be_written() {
    let place = Place::new();
    let out = place.folder.path().join("taken");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("letter.txt"), "dear").unwrap();
    let refusal = place.train(&out, &settings(4), &mut |_| ()).unwrap_err();
    assert!(refusal.to_string().contains("taken"), "{refusal}");
    std::fs::remove_file(out.join("letter.txt")).unwrap();
    let mut steps = 0;
    place
        .train(&out, &settings(4), &mut |_| steps += 1)
        .unwrap();
    assert_eq!(steps, 0, "the training was over");

    // A checkpoint of other settings is not gone on from.
    let out = place.folder.path().join("other");
    let stop = &mut |told: &Told| assert!(told.step < 5, "stop in the middle");
    let run = catch_unwind(AssertUnwindSafe(|| place.train(&out, &settings(8), stop)));
    assert!(run.is_err());
    let refusal = place.train(&out, &settings(9), &mut |_| ()).unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.contains("rung-6.safetensors: settings: found"),
        "{text}"
    );
}

#[test]
fn a_worse_state_is_never_kept() {
    let place = Place::new();
    let mut wild = settings(8);
    wild.rate.rate = 3.0;
    let out = place.folder.path().join("wild");
    let (kept, outcomes) = place.train(&out, &wild, &mut |_| ()).unwrap();
    assert_eq!(outcomes[0].after, outcomes[0].before);
    assert_eq!(codec(&kept), codec(&place.bundle));
    assert_eq!(kept.hash(), place.bundle.hash());
}

#[test]
fn noise_changes_what_is_trained() {
    let place = Place::new();
    let trained = |lambda: f64, name: &str| {
        let settings = Settings {
            lambda,
            ..settings(4)
        };
        let mut losses = Vec::new();
        let out = place.folder.path().join(name);
        let tell = &mut |told: &Told| losses.push(told.loss);
        place.train(&out, &settings, tell).unwrap();
        losses
    };
    let (without, with) = (trained(0.0, "without"), trained(1.0, "with"));
    // The first step measures what noise is made of.
    assert_eq!(without[0], with[0]);
    assert_ne!(without[1], with[1]);
}

#[test]
fn too_few_photographs_are_refused() {
    let mut place = Place::new();
    place.photographs.truncate(7);
    let out = place.folder.path().join("few");
    let refusal = place.train(&out, &settings(1), &mut |_| ()).unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.contains("found 7 photographs, expected at least 8"),
        "{text}"
    );
}
