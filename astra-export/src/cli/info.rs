//! `astra-export info`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use astra_bundle::{Agreement, Bundle, Manifest, Task};
use serde_json::json;

use super::{print_json, print_text};

/// Says what a bundle is, after checking every byte of it
///
/// A bundle that is torn, edited or of another version is refused with the file that is wrong.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    /// Directory of the bundle
    bundle: PathBuf,
    /// Print the whole manifest as JSON, with the bundle's hash and size
    #[arg(long)]
    json: bool,
}

impl Info {
    pub(super) fn run(self) -> Result<()> {
        let bundle = Bundle::open(&self.bundle)?;
        let bytes: u64 = bundle
            .manifest()
            .files
            .values()
            .map(|file| file.bytes)
            .sum();
        if self.json {
            return print_json(&json!({
                "hash": bundle.short_hash(),
                "bytes": bytes,
                "manifest": bundle.manifest(),
            }));
        }
        print_text(&describe(bundle.manifest(), &bundle.short_hash(), bytes))
    }
}

/// Lines for people.
pub(super) fn describe(manifest: &Manifest, hash: &str, bytes: u64) -> String {
    let shape = &manifest.shape;
    let task = match &manifest.task {
        Task::Saliency => "saliency map".to_owned(),
        Task::Features => "features".to_owned(),
        Task::Classification { .. } => "classification".to_owned(),
        Task::Generation => "next token".to_owned(),
        Task::Embedding { .. } => "embedding".to_owned(),
    };
    let input = manifest.image.map_or(String::new(), |image| {
        format!("images of {0} x {0} pixels, ", image.size)
    });
    let mut text = format!(
        "{} ({hash}), {:.1} MB, {task}\n\
         from {}, SHA-256 {}\n\
         {input}{} tokens and {} class token\n\
         {} blocks, {} channels, {} heads\n\
         calibrated on {}: {} images, {} tokens a block\n",
        manifest.model,
        bytes as f64 / 1e6,
        manifest.source.file,
        manifest.source.sha256,
        shape.tokens,
        shape.class_tokens,
        shape.blocks,
        shape.hidden,
        shape.heads,
        manifest.calibration.source,
        manifest.calibration.images,
        manifest.calibration.tokens,
    );
    if manifest.rungs.is_empty() {
        text.push_str("exact mode only");
        return text;
    }
    text.push_str("\n bits  rank  groups  words  devices  cls cosine  patch cosine  map error");
    for rung in &manifest.rungs {
        let about = format!(
            "\n{:>5} {:>5} {:>7} {:>6}",
            rung.bits, rung.rank, rung.groups, rung.words
        );
        if rung.agreement.is_empty() {
            text.push_str(&about);
        }
        for agreement in &rung.agreement {
            text.push_str(&about);
            push_agreement(&mut text, agreement);
        }
    }
    text
}

fn push_agreement(text: &mut String, agreement: &Agreement) {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        " {:>8} {:>11} {:>13} {:>10}",
        agreement.devices,
        number(agreement.cls_cosine),
        number(agreement.patch_cosine),
        number(agreement.map_mae)
    );
}
