//! `astra-export export`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use astra_bundle::{Bundle, BundleError, Calibration};
use astra_edge::engine::Runtime;
use astra_export::calibrate::calibrate;
use astra_export::fit::{RungSpec, fit};
use astra_export::package::{Draft, Request, codec_weights, record_agreement};
use astra_export::source::{Content, Imported, gguf, hugging_face, onnx};
use astra_export::verify::{all_rungs, measure, one_device, photographs};

use super::info::describe;
use super::progress::Bar;
use super::{RuntimeOptions, demo_photographs, print_json, print_text};

/// Numbers of devices that agreement is measured for.
const DEVICES: [usize; 2] = [2, 4];
/// Photographs that agreement is measured on at most; more take minutes and hardly move the means.
const SCORED: usize = 16;

/// Exports a bundle
///
/// Reads the model, writes its graphs, runs them over calibration inputs, fits the codec to what it sees, and measures how
/// close each rung comes to the one-device answer. The same model, inputs and seed give the same bundle.
///
/// Families and the files they are read from:
///
///   DINOv2, ViT            --onnx FILE (DINOv2) or --hf DIR   photographs
///   Llama, Qwen2           --gguf FILE or --hf DIR            text
///   Mistral, GPT-2, BERT   --hf DIR                           text
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Export {
    #[command(flatten)]
    source: SourceOptions,
    /// Directory the bundle goes to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the square input in pixels, a multiple of the model's patch, for models that see
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: usize,
    /// Longest text in tokens, for models that read; by default the model's own limit
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Folder of photographs to calibrate on; by default those of the demo
    #[arg(long, value_name = "DIR", conflicts_with = "no_codec")]
    calib: Option<PathBuf>,
    /// Settings of the codec to fit, by their bits per token per block; by default 10,40,80,160,320,640 as far as the model
    /// is wide enough for them
    #[arg(
        long,
        value_name = "BITS,...",
        value_delimiter = ',',
        conflicts_with = "no_codec"
    )]
    rungs: Option<Vec<u32>>,
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
    #[command(flatten)]
    runtime: RuntimeOptions,
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
    /// GGUF file of a Llama or Qwen2, quantized or not; its tokenizer and chat template are taken along
    #[arg(long, value_name = "FILE")]
    gguf: Option<PathBuf>,
    /// Hugging Face directory: config.json, model.safetensors, and tokenizer.json for text
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
            max_tokens: self.max_tokens,
            seed: self.seed,
        };
        let bundle = if self.no_codec {
            Draft::write(&self.out, &imported, &request)?.finish()?
        } else {
            self.with_codec(&imported, &request)?
        };
        report(&bundle, self.json)
    }

    fn with_codec(&self, imported: &Imported, request: &Request<'_>) -> Result<Bundle> {
        // Whatever can be refused is refused before anything takes time.
        let rungs = self.chosen_rungs(imported.content.hidden())?;
        let folder = match &self.calib {
            Some(folder) => folder.clone(),
            None => demo_photographs().context("nothing to calibrate on (--calib)")?,
        };
        let runtime = self.runtime.load()?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.runtime.threads)
            .build_global()?;

        let mut draft = Draft::write(&self.out, imported, request)?;
        let seen = {
            let bar = Bar::new("calibrate");
            let Content::Image(_) = &imported.content else {
                bail!("models that read are exported for exact mode alone so far (--no-codec)");
            };
            let manifest = draft.manifest();
            let (shape, image) = (&manifest.shape, manifest.image.as_ref());
            let image = image.context("the bundle's input is no image")?;
            let report = bar.report();
            calibrate(
                &runtime,
                draft.dir(),
                shape,
                image,
                &folder,
                self.seed,
                &report,
            )?
        };
        let fitted = {
            let bar = Bar::new("fit codebooks");
            let weights = codec_weights(&imported.content);
            fit(&seen.blocks, &weights, &rungs, self.seed, &bar.report())?
        };
        let calibration = Calibration {
            source: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            images: seen.views,
            tokens: seen.blocks.first().map_or(0, |block| block.rows()),
        };
        draft.add_codec(&fitted, calibration)?;
        let mut bundle = draft.finish()?;
        self.score(&runtime, &mut bundle, &folder)?;
        Ok(bundle)
    }

    /// The rungs asked for, or all the model is wide enough for.
    fn chosen_rungs(&self, hidden: usize) -> Result<Vec<RungSpec>> {
        let known = RungSpec::table(hidden);
        let Some(bits) = &self.rungs else {
            return Ok(known);
        };
        let find = |bits: &u32| {
            let rung = known.iter().find(|rung| rung.bits() == *bits);
            let bits_known = known.iter().map(RungSpec::bits).collect::<Vec<_>>();
            rung.copied().with_context(|| {
                format!("no rung of {bits} bits for this model, expected some of {bits_known:?}")
            })
        };
        let mut rungs = bits.iter().map(find).collect::<Result<Vec<_>>>()?;
        rungs.sort_by_key(RungSpec::bits);
        rungs.dedup();
        Ok(rungs)
    }

    /// Measures agreement on some of the photographs and records it in the bundle.
    fn score(&self, runtime: &Runtime, bundle: &mut Bundle, folder: &Path) -> Result<()> {
        let image = bundle.manifest().image;
        let image = image.context("the bundle's input is no image, which is what is scored on")?;
        let bar = Bar::new("measure agreement");
        let pixels = photographs(folder, &image, &|_, _| ())?;
        let step = pixels.len().div_ceil(SCORED).max(1);
        let pixels: Vec<_> = pixels.into_iter().step_by(step).collect();
        let answers = one_device(runtime, bundle, &pixels, &|_, _| ())?;
        let tokens = bundle.manifest().shape.tokens;
        let devices: Vec<_> = DEVICES.into_iter().filter(|&n| n <= tokens).collect();
        let rungs = all_rungs(bundle);
        let rows = measure(
            runtime,
            bundle,
            &pixels,
            &answers,
            &rungs,
            &devices,
            &bar.report(),
        )?;
        let measured: Vec<_> = rows
            .iter()
            .map(|row| (u32::from(row.bits), row.agreement))
            .collect();
        Ok(record_agreement(bundle, &measured)?)
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
        match (&self.onnx, &self.gguf, &self.hf) {
            (Some(file), ..) => Ok(onnx::open(file)?),
            (_, Some(file), _) => Ok(gguf::open(file)?),
            (_, _, Some(dir)) => Ok(hugging_face::open(dir)?),
            (None, None, None) => bail!("no model given, expected --onnx, --gguf or --hf"),
        }
    }

    fn name(&self) -> String {
        let file = self.onnx.as_deref().or(self.gguf.as_deref());
        let name = file.and_then(Path::file_stem);
        let name = name.or(self.hf.as_deref().and_then(Path::file_name));
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
