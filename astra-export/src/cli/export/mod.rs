//! `astra-export export`.

mod inputs;
mod notices;
mod worth;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use astra_bundle::{Bundle, BundleError, Calibration};
use astra_export::calibrate::Calibrated;
use astra_export::fit::{Fitted, RungSpec, fit};
use astra_export::narrow::Storage;
use astra_export::package::{Draft, Request, codec_weights, record_agreement};
use astra_export::source::{Content, Imported, gguf, hugging_face, onnx};
use astra_export::texts;
use astra_export::verify::{Row, beaten};
use astra_model::engine::Runtime;

use super::info::describe;
use super::progress::Bar;
use super::{RuntimeOptions, demo_photographs, print_json, print_text};
use inputs::{Photographs, Texts};

/// Export a model as a bundle
///
/// Reads the model, writes its graphs, runs them over calibration inputs, fits the codec to their activations, and measures how
/// close each rung comes to the one-device answer. That is measured on inputs that were kept from calibration: a fifth of the
/// photographs, or a tenth of the texts. The same model, inputs and seed give the same bundle.
///
/// Families and the files they are read from:
///
///   DINOv2, ViT            --onnx FILE or --hf DIR   photographs
///   Llama, Qwen2           --gguf FILE or --hf DIR   text
///   Mistral, GPT-2, BERT   --hf DIR                  text
///
/// SOURCES.md lists which files, and which fields of their configuration, are used, ignored and refused.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    source: SourceOptions,
    /// Directory the bundle goes to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the square input in pixels, a multiple of the model's patch, for image models; by default what
    /// preprocessor_config.json says, or 224
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Longest text in tokens, for text models; by default the model's own limit
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// What to calibrate on: a folder of photographs, by default those of the demo; or a text file, by default text that a
    /// language model generates (slow, and worse: give a text like those it will process), or a few sentences for an encoder
    #[arg(long, value_name = "PATH", conflicts_with = "no_codec")]
    calib: Option<PathBuf>,
    /// Texts to calibrate on at most: windows of 512 tokens of a language model, passages of an encoder; by default 48 of a
    /// file, 16 that a model generates, 384 passages
    #[arg(long, value_name = "N", conflicts_with = "no_codec")]
    calib_texts: Option<NonZeroUsize>,
    /// Settings of the codec to fit, by their bits per token per block; by default 10,20,40,80,160,320,640 as far as the model
    /// is wide enough for them, without those that one of fewer bits turns out to be better than
    #[arg(
        long,
        value_name = "BITS,...",
        value_delimiter = ',',
        conflicts_with = "no_codec"
    )]
    rungs: Option<Vec<u32>>,
    /// How the matrices are stored: source, the integers of a quantized GGUF file as they are; 8 or 4, quantized to that many bits;
    /// f32. Matrices that blocks of integers do not fit stay float32. Processors without dot products of 8-bit integers, as those of a
    /// Raspberry Pi 4, are much slower with 8 bits than with f32
    #[arg(long, value_name = "source|8|4|f32", default_value_t = Storage::Float32)]
    weights: Storage,
    /// Name of the model in the manifest; by default that of its file or directory
    #[arg(long)]
    name: Option<String>,
    /// Seed of the fit
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a bundle for exact mode alone, without calibration
    #[arg(long)]
    no_codec: bool,
    /// Replace an existing bundle
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SourceOptions {
    /// ONNX export of a DINOv2 or ViT of transformers, torch.hub or timm, by torch.onnx.export or optimum, neither quantized
    /// nor fused; with or without a classifier or a saliency decoder, its weights inside or beside the file
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// GGUF file of a Llama or Qwen2, quantized or not; its tokenizer and chat template are taken along
    #[arg(long, value_name = "FILE")]
    gguf: Option<PathBuf>,
    /// Hugging Face directory: config.json, model.safetensors, and tokenizer.json for text
    #[arg(long, value_name = "DIR")]
    hf: Option<PathBuf>,
}

/// What to calibrate on, before there is a model to make inputs with.
enum Sources {
    Photographs(Photographs),
    /// Name and content.
    TextFile(String, String),
    NoText,
}

/// What to calibrate and to measure on.
enum Inputs {
    Photographs(Photographs),
    Texts(Texts),
}

impl Export {
    pub(in crate::cli) fn run(self) -> Result<()> {
        self.check_place()?;
        let mut imported = self.source.read()?;
        imported.content.store_as(self.weights);
        notices::print(&imported);
        let name = self.name.clone().unwrap_or_else(|| self.source.name());
        let request = Request {
            name: &name,
            size: self.size.unwrap_or(match &imported.content {
                Content::Image(vit) => vit.input.size,
                Content::Text(_) => 0,
            }),
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
        let rungs = self.chosen_rungs(&imported.content, request)?;
        let inputs = self.inputs(imported)?;
        let runtime = self.runtime.load()?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.runtime.threads)
            .build_global()?;

        let draft = Draft::write(&self.out, imported, request)?;
        let most = self.calib_texts.map(NonZeroUsize::get);
        let inputs = inputs.prepare(&runtime, &draft, most, self.seed)?;
        if let Some(shortage) = inputs.shortage() {
            eprintln!("warning: {shortage}");
        }
        let seen = inputs.calibrate(&runtime, &draft, imported, self.seed)?;
        let mut fitted = {
            let bar = Bar::new("fit codebooks");
            let weights = codec_weights(&imported.content);
            fit(&seen.blocks, &weights, &rungs, self.seed, &bar.report())?
        };
        let calibration = Calibration {
            source: inputs.source(),
            inputs: seen.inputs,
            tokens: seen.blocks.first().map_or(0, |block| block.rows()),
            held_out: inputs.held_out(),
        };
        let mut bundle = packed(draft, &fitted, calibration.clone())?;
        let rows = inputs.measure(&runtime, &bundle)?;
        // Rungs that were named are made, whatever they are worth.
        let beaten = match self.rungs {
            Some(_) => Vec::new(),
            None => beaten(&rows),
        };
        if !beaten.is_empty() {
            for rung in &beaten {
                eprintln!("{}", worth::notice(rung));
            }
            worth::leave_out(&mut fitted, &beaten);
            let draft = Draft::write(&self.out, imported, request)?;
            bundle = packed(draft, &fitted, calibration)?;
        }
        let measured = rows.iter().map(|row| (u32::from(row.bits), row.agreement));
        record_agreement(&mut bundle, &measured.collect::<Vec<_>>())?;
        Ok(bundle)
    }

    /// What to calibrate on, as far as it is there already.
    fn inputs(&self, imported: &Imported) -> Result<Sources> {
        match (&imported.content, &self.calib) {
            (Content::Image(_), Some(folder)) => self.photographs(folder),
            (Content::Image(_), None) => {
                let folder = demo_photographs().context("nothing to calibrate on (--calib)")?;
                self.photographs(&folder)
            }
            (Content::Text(_), Some(file)) => {
                let text = texts::read(file)?;
                Ok(Sources::TextFile(file_name(file), text))
            }
            (Content::Text(_), None) => Ok(Sources::NoText),
        }
    }

    fn photographs(&self, folder: &Path) -> Result<Sources> {
        let photographs = Photographs::of_folder(folder, self.seed)?;
        Ok(Sources::Photographs(photographs))
    }

    /// The rungs requested, or all the model is wide enough for.
    fn chosen_rungs(&self, content: &Content, request: &Request<'_>) -> Result<Vec<RungSpec>> {
        let tokens = match content {
            Content::Image(vit) => (request.size / vit.model.patch.max(1)).pow(2),
            Content::Text(text) => {
                let longest = request.max_tokens.unwrap_or(text.input.max_tokens);
                longest.min(texts::WINDOW)
            }
        };
        let known = RungSpec::table(codec_weights(content).len(), content.hidden(), tokens);
        let Some(bits) = &self.rungs else {
            return Ok(known);
        };
        let find = |bits: &u32| {
            let rung = known.iter().find(|rung| rung.bits == *bits);
            let bits_known = known.iter().map(|rung| rung.bits).collect::<Vec<_>>();
            rung.cloned().with_context(|| {
                format!("--rungs: found {bits}, expected some of {bits_known:?} for this model")
            })
        };
        let mut rungs = bits.iter().map(find).collect::<Result<Vec<_>>>()?;
        rungs.sort_by_key(|rung| rung.bits);
        rungs.dedup();
        Ok(rungs)
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

/// The bundle with what was fitted.
fn packed(mut draft: Draft, fitted: &Fitted, calibration: Calibration) -> Result<Bundle> {
    draft.add_codec(fitted, calibration)?;
    Ok(draft.finish()?)
}

impl Sources {
    /// Of texts at most `most`, if that is said.
    fn prepare(
        self,
        runtime: &Runtime,
        draft: &Draft,
        most: Option<usize>,
        seed: u64,
    ) -> Result<Inputs> {
        Ok(match self {
            Self::Photographs(photographs) => Inputs::Photographs(photographs),
            Self::TextFile(name, text) => {
                Inputs::Texts(Texts::of_file(draft, name, &text, most, seed)?)
            }
            Self::NoText => Inputs::Texts(Texts::written(runtime, draft, most, seed)?),
        })
    }
}

impl Inputs {
    fn calibrate(
        &self,
        runtime: &Runtime,
        draft: &Draft,
        imported: &Imported,
        seed: u64,
    ) -> Result<Calibrated> {
        match self {
            Self::Photographs(photographs) => photographs.calibrate(runtime, draft, seed),
            Self::Texts(texts) => {
                texts.calibrate(runtime, draft, imported.content.frequencies(), seed)
            }
        }
    }

    /// Agreement of every rung at some numbers of devices, on what was not calibrated on.
    fn measure(&self, runtime: &Runtime, bundle: &Bundle) -> Result<Vec<Row>> {
        match self {
            Self::Photographs(photographs) => photographs.measure(runtime, bundle),
            Self::Texts(texts) => texts.measure(runtime, bundle),
        }
    }

    fn source(&self) -> String {
        match self {
            Self::Photographs(photographs) => photographs.source.clone(),
            Self::Texts(texts) => texts.source.clone(),
        }
    }

    fn held_out(&self) -> usize {
        match self {
            Self::Photographs(photographs) => photographs.held_out(),
            Self::Texts(texts) => texts.held_out(),
        }
    }

    /// What there is too little of, in words.
    fn shortage(&self) -> Option<String> {
        match self {
            Self::Photographs(photographs) => photographs.shortage(),
            Self::Texts(texts) => texts.shortage(),
        }
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl SourceOptions {
    fn read(&self) -> Result<Imported> {
        match (&self.onnx, &self.gguf, &self.hf) {
            (Some(file), ..) => Ok(onnx::open(file)?),
            (_, Some(file), _) => Ok(gguf::open(file)?),
            (_, _, Some(dir)) => Ok(hugging_face::open(dir)?),
            (None, None, None) => bail!("model: found none, expected --onnx, --gguf or --hf"),
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
