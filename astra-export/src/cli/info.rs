//! `astra-export info`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use astra_bundle::{Agreement, Bundle, Manifest, Task};
use serde_json::json;

use super::rungs::RungSummary;
use super::{print_json, print_text};

/// Describe a bundle, after checking every byte of it
///
/// A bundle that is truncated, edited or of another version is refused, and the error names the file.
#[derive(Debug, clap::Args)]
pub(super) struct Info {
    /// Directory of the bundle
    bundle: PathBuf,
    /// Print the whole manifest as JSON, with the bundle's hash and size and its rungs in short
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
            let rungs = bundle.manifest().rungs.iter();
            return print_json(&json!({
                "hash": bundle.short_hash(),
                "bytes": bytes,
                "rungs": rungs.map(RungSummary::of).collect::<Vec<_>>(),
                "manifest": bundle.manifest(),
            }));
        }
        print_text(&describe(bundle.manifest(), &bundle.short_hash(), bytes))
    }
}

/// The description as lines of text.
pub(super) fn describe(manifest: &Manifest, hash: &str, bytes: u64) -> String {
    let shape = &manifest.shape;
    let task = match &manifest.task {
        Task::Saliency => "saliency map".to_owned(),
        Task::Features => "features".to_owned(),
        Task::Classification { .. } => "classification".to_owned(),
        Task::Generation => "next token".to_owned(),
        Task::Embedding(_) => "embedding".to_owned(),
    };
    let input = match (manifest.image, &manifest.text) {
        (Some(image), _) => format!(
            "images of {0} x {0} pixels, {1} tokens and {2} class token",
            image.size, shape.tokens, shape.class_tokens
        ),
        (None, Some(text)) => format!(
            "texts of up to {} tokens out of {}, the first {} computed by every member",
            text.max_tokens, text.vocab, shape.class_tokens
        ),
        (None, None) => format!("{} tokens", shape.tokens),
    };
    let mut text = format!(
        "{} ({hash}), {:.1} MB, {task}\n\
         from {}, SHA-256 {}\n\
         {input}\n\
         {} blocks, {} channels, {} heads\n\
         calibrated on {}: {} inputs, {} tokens a block; agreement measured on {} others\n",
        manifest.model,
        bytes as f64 / 1e6,
        manifest.source.file,
        manifest.source.sha256,
        shape.blocks,
        shape.hidden,
        shape.heads,
        manifest.calibration.source,
        manifest.calibration.inputs,
        manifest.calibration.tokens,
        manifest.calibration.held_out,
    );
    push_matrices(&mut text, manifest);
    if manifest.rungs.is_empty() {
        text.push_str("exact mode only");
        return text;
    }
    push_heading(&mut text, &manifest.task);
    for rung in &manifest.rungs {
        let about = format!("\n{}", RungSummary::of(rung).columns());
        if rung.agreement.is_empty() {
            text.push_str(&about);
        }
        for agreement in &rung.agreement {
            text.push_str(&about);
            push_agreement(&mut text, &manifest.task, agreement);
        }
    }
    text
}

/// Matrices of one name in all blocks that are stored alike.
struct Kind {
    name: String,
    storage: String,
    count: usize,
    bytes: u64,
}

/// How matrices are stored.
fn push_matrices(text: &mut String, manifest: &Manifest) {
    let mut kinds: Vec<Kind> = Vec::new();
    for matrix in &manifest.matrices {
        let name = matrix.name.rsplit('.').next().unwrap_or_default();
        let (storage, bytes) = (matrix.storage(), matrix.bytes());
        let mut known = kinds.iter_mut();
        match known.find(|kind| kind.name == name && kind.storage == storage) {
            Some(kind) => {
                kind.count += 1;
                kind.bytes += bytes;
            }
            None => kinds.push(Kind {
                name: name.to_owned(),
                storage,
                count: 1,
                bytes,
            }),
        }
    }
    for kind in kinds {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} x {}: {}, {:.1} MB",
            kind.name,
            kind.count,
            kind.storage,
            kind.bytes as f64 / 1e6
        );
    }
}

fn push_heading(text: &mut String, task: &Task) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\n{}  devices  inputs", RungSummary::HEADING);
    text.push_str(match task {
        Task::Generation => "  perplexity   exact",
        Task::Embedding(_) => "  cosine",
        _ => "  cls cosine  patch cosine  map error",
    });
    text.push_str("  measured, with 95 % interval");
}

fn push_agreement(text: &mut String, task: &Task, agreement: &Agreement) {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    // Writing to a String cannot fail.
    let _ = write!(text, " {:>8} {:>7}", agreement.devices, agreement.inputs);
    let _ = match task {
        Task::Generation => write!(
            text,
            " {:>11} {:>7}",
            number(agreement.perplexity, 3),
            number(agreement.perplexity_exact, 3)
        ),
        Task::Embedding(_) => write!(text, " {:>7}", number(agreement.embedding_cosine, 4)),
        _ => write!(
            text,
            " {:>11} {:>13} {:>10}",
            number(agreement.cls_cosine, 4),
            number(agreement.patch_cosine, 4),
            number(agreement.map_mae, 4)
        ),
    };
    if let Some(quality) = &agreement.quality {
        let _ = write!(text, "  {} {quality}", quality.measure.name());
    }
}
