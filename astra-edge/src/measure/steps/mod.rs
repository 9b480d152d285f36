//! What the steps of a request cost on this device, for [`plan::latency`](crate::plan::latency).
//!
//! Every step runs as the data path runs it, on the token ranges of clusters of several sizes; a curve is fitted to the times.

mod clock;
mod rung;

use astra_bundle::{Bundle, Task};

use self::clock::Clock;
use super::error::MeasureError;
use crate::plan::profile::{Curve, Profile, Strip};
use astra_model::engine::{Decoder, FullModel, Head, LanguageHead, Modality, Model, Runtime};
use astra_model::partition::{TokenRange, split};
use astra_model::tasks::features::{self, Depth};
use astra_model::tasks::strip;

/// Sizes of clusters whose token ranges are measured.
const CLUSTERS: [u16; 5] = [2, 3, 4, 6, 10];
/// Lengths of texts in tokens.
const TEXTS: [u16; 3] = [256, 512, 1024];

/// Measures everything but the link, whose costs are those of [`measure_link`](super::link::measure_link). `image` are pixels to
/// measure with, for models of pictures. `done` is called after each part: loading the model, running it whole, and each rung.
///
/// # Errors
/// A rung is not in the bundle, or a step fails.
pub fn measure_steps(
    runtime: &Runtime,
    bundle: &Bundle,
    rungs: &[u16],
    image: Option<&[u8]>,
    (message, hop): (Curve, f64),
    mut done: impl FnMut(),
) -> Result<Profile, MeasureError> {
    let (manifest, dir) = (bundle.manifest(), bundle.dir());
    let modality = Modality::of(manifest);
    let shape = manifest.shape;
    let model = Model::open(runtime, dir, &shape, modality)?;
    let lengths: Vec<u16> = match modality {
        Modality::Image { .. } => vec![u16::try_from(shape.tokens).unwrap_or(u16::MAX)],
        Modality::Text { .. } => TEXTS.to_vec(),
    };
    let mut bench = StepBench {
        clock: match runtime.threads() {
            1 => Clock::Processor,
            _ => Clock::Wall,
        },
        model,
        modality,
        image,
        lengths,
    };
    done();
    let (whole, head) = bench.ends(runtime, bundle)?;
    done();
    let mut profile = Profile {
        model: manifest.model.clone(),
        shape,
        causal: modality.is_causal(),
        whole,
        embed: Curve::default(),
        local: Curve::default(),
        mlp: Curve::default(),
        head,
        head_rows: manifest.image.and_then(|image| image.head_rows),
        strip: bench.strip(bundle)?,
        share: bench.share()?,
        message,
        hop,
        rungs: Vec::new(),
    };
    for &bits in rungs {
        let steps = bench.rung(bundle, bits)?;
        profile.embed = Curve::fit_line(&steps.embed);
        profile.local = Curve::fit_line(&steps.local);
        profile.mlp = Curve::fit_line(&steps.mlp);
        profile.rungs.push(steps.profile);
        done();
    }
    Ok(profile)
}

struct StepBench<'a> {
    clock: Clock,
    model: Model,
    modality: Modality,
    image: Option<&'a [u8]>,
    lengths: Vec<u16>,
}

impl StepBench<'_> {
    /// The whole model, by tokens, and the head.
    fn ends(&self, runtime: &Runtime, bundle: &Bundle) -> Result<(Curve, f64), MeasureError> {
        let (manifest, dir) = (bundle.manifest(), bundle.dir());
        let hidden = manifest.shape.hidden;
        match manifest.task {
            Task::Embedding(_) => Err(MeasureError::Task),
            Task::Generation => {
                let mut decoder = Decoder::open(runtime, dir, manifest)?;
                let mut points = Vec::new();
                for &length in &self.lengths {
                    let ids: Vec<u32> = (0..u32::from(length)).map(|id| id % 100 + 2).collect();
                    let time = self.clock.fastest(|| decoder.prefill(&ids, 0).map(drop))?;
                    points.push((usize::from(length), time));
                }
                let mut head = LanguageHead::open(runtime, dir, hidden)?;
                let features = vec![0.5; hidden];
                Ok((
                    Curve::fit(&points),
                    self.clock.fastest(|| head.run(&features).map(drop))?,
                ))
            }
            _ => {
                let tokens = manifest.shape.tokens;
                let pixels = self.pixels(tokens);
                let mut whole = FullModel::open(runtime, dir, manifest)?;
                let time = self.clock.fastest(|| whole.run(&pixels).map(drop))?;
                let mut head = Head::open(runtime, dir, manifest)?;
                let run = || {
                    head.run(vec![0.5; hidden], vec![0.5; hidden * tokens])
                        .map(drop)
                };
                Ok((Curve::fit(&[(tokens, time)]), self.clock.fastest(run)?))
            }
        }
    }

    fn pixels(&self, tokens: usize) -> Vec<u8> {
        let Modality::Image { pixels } = self.modality else {
            return Vec::new();
        };
        match self.image.and_then(|image| image.get(..tokens * pixels)) {
            Some(given) => given.to_vec(),
            None => (0..tokens * pixels)
                .map(|at| (at * 7 % 251) as u8)
                .collect(),
        }
    }

    /// Coding of the pixels that go to members.
    fn strip(&self, bundle: &Bundle) -> Result<Option<Strip>, MeasureError> {
        let Some(spec) = &bundle.manifest().image else {
            return Ok(None);
        };
        let tokens = bundle.manifest().shape.tokens;
        let image = &*self.pixels(tokens);
        let total = u16::try_from(tokens).unwrap_or(u16::MAX);
        let (mut encode, mut decode) = (Vec::new(), Vec::new());
        let (mut bytes, mut coded) = (0, 0);
        for range in parts(total, &CLUSTERS) {
            let packed = strip::encode(image, range, spec, false)?;
            bytes += packed.len();
            coded += usize::from(range.tokens);
            let size = usize::from(range.tokens);
            encode.push((
                size,
                self.clock
                    .fastest(|| strip::encode(image, range, spec, false).map(drop))?,
            ));
            decode.push((
                size,
                self.clock
                    .fastest(|| strip::decode(&packed, range, spec).map(drop))?,
            ));
        }
        Ok(Some(Strip {
            encode: Curve::fit_line(&encode),
            decode: Curve::fit_line(&decode),
            bytes: bytes as f64 / coded.max(1) as f64,
        }))
    }

    /// Coding of the features that come back: twice what encoding takes.
    fn share(&self) -> Result<Curve, MeasureError> {
        let hidden = self.model.shape().hidden;
        let mut points = Vec::new();
        let mut out = Vec::new();
        for range in self
            .lengths
            .iter()
            .flat_map(|&length| parts(length, &CLUSTERS))
        {
            let features = vec![0.5; usize::from(range.tokens) * hidden];
            let time = self.clock.fastest(|| {
                out.clear();
                features::quantize(&features, hidden, Depth::Eight, &mut out)
            })?;
            points.push((usize::from(range.tokens), 2.0 * time));
        }
        Ok(Curve::fit_line(&points))
    }
}

/// Of a cluster of each size, the first token range and one from the middle.
fn parts(total: u16, clusters: &[u16]) -> Vec<TokenRange> {
    let sizes = clusters.iter().filter(|size| **size <= total);
    let parts = sizes.filter_map(|&size| split(total, &vec![1.0; usize::from(size)]).ok());
    let of = |ranges: Vec<TokenRange>| {
        let middle = ranges.get(ranges.len() / 2).copied();
        let first = ranges.first().copied();
        [first, middle].into_iter().flatten().collect::<Vec<_>>()
    };
    parts.flat_map(of).collect()
}
