//! `astra-export export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use astra_bundle::{Bundle, BundleError};
use astra_export::package::{Draft, Request};
use astra_export::source::{Imported, hugging_face, onnx};

use super::info::describe;
use super::{print_json, print_text};

/// Exports a bundle
///
/// Reads the model, writes its graphs for inputs of one size, runs them over a folder of photographs, fits the codec to what
/// it sees, and measures how close each rung comes to the one-device answer. The same model, photographs and seed give the
/// same bundle.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    #[command(flatten)]
    source: SourceOptions,
    /// Directory the bundle goes to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the square input in pixels, a multiple of the model's patch
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: usize,
    /// Name of the model in lists; by default that of its file or directory
    #[arg(long)]
    name: Option<String>,
    /// Seed of the fit
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a bundle for exact mode alone, without calibration
    #[arg(long)]
    no_codec: bool,
    /// Replace a bundle that is there
    #[arg(long)]
    force: bool,
    /// Print what was exported as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SourceOptions {
    /// ONNX export of a DINOv2, with or without a saliency decoder
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Hugging Face directory of a DINOv2 or ViT: config.json and model.safetensors
    #[arg(long, value_name = "DIR")]
    hf: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self) -> Result<()> {
        self.check_place()?;
        let imported = self.source.read()?;
        let name = self.name.clone().unwrap_or_else(|| self.source.name());
        let request = Request {
            name: &name,
            size: self.size,
            seed: self.seed,
        };
        let draft = Draft::write(&self.out, &imported, &request)?;
        let bundle = draft.finish()?;
        report(&bundle, self.json)
    }

    /// Finds out before hours of work, not after, that the place is taken.
    fn check_place(&self) -> Result<()> {
        match Bundle::open(&self.out) {
            Err(BundleError::NoDirectory(_)) => Ok(()),
            _ if self.force => Ok(()),
            Ok(_) => bail!(
                "{}: a bundle is there; pass --force to replace it",
                self.out.display()
            ),
            // An empty directory; what else it may be is refused when writing starts.
            Err(_) => Ok(()),
        }
    }
}

impl SourceOptions {
    fn read(&self) -> Result<Imported> {
        match (&self.onnx, &self.hf) {
            (Some(file), _) => Ok(onnx::open(file)?),
            (None, Some(dir)) => Ok(hugging_face::open(dir)?),
            (None, None) => bail!("no model given, expected --onnx or --hf"),
        }
    }

    fn name(&self) -> String {
        let onnx = self.onnx.as_deref().and_then(Path::file_stem);
        let name = onnx.or(self.hf.as_deref().and_then(Path::file_name));
        name.map_or("model".to_owned(), |name| {
            name.to_string_lossy().into_owned()
        })
    }
}

fn report(bundle: &Bundle, json: bool) -> Result<()> {
    let manifest = bundle.manifest();
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    if json {
        return print_json(&serde_json::json!({
            "bundle": bundle.dir(),
            "hash": bundle.short_hash(),
            "bytes": bytes,
            "manifest": manifest,
        }));
    }
    print_text(&describe(manifest, &bundle.short_hash(), bytes))
}
