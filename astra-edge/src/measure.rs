//! What the steps of a request take on this device, for [`plan::latency`](crate::plan::latency).
//!
//! Every step is run as the data path runs it, for ranges as clusters of several sizes have them, and a curve is laid through
//! what it took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_bundle::{Bundle, Task};
use rustix::time::{ClockId, clock_gettime};

use crate::bench::Processes;
use crate::engine::{
    Codec, Decoder, EngineError, Form, Head, Input, LanguageHead, Member, Model, OwnedInput,
    Runtime, Whole,
};
use crate::link::{Link, LinkError, LinkSettings};
use crate::plan::profile::{Curve, Profile, Rows, RungProfile, Strip, Surface};
use crate::plan::{TokenRange, split};
use crate::tasks::features::{self, Depth, FeatureError};
use crate::tasks::strip::{self, StripError};

/// Members that a text or picture is divided among to measure a part of it.
const CLUSTERS: [u16; 5] = [2, 3, 4, 6, 10];
/// Lengths of texts.
const TEXTS: [u16; 3] = [256, 512, 1024];
/// Blocks that are run; they are all alike.
const BLOCKS: usize = 4;
/// Times that a step is run; the fastest counts, for what is slower was held up.
const RUNS: usize = 3;
/// Frames sent to measure what one takes, as many at a time as a block has, and round trips of one.
const FRAMES: usize = 2400;
const BURST: usize = 8;
const ROUNDS: usize = 200;
const FRAME: usize = 1200;
/// Longest that the link may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A device that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A step failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The codec does not take its own codes.
    #[error(transparent)]
    Code(#[from] astra_codec::LengthError),
    /// Pixels that cannot be compressed.
    #[error(transparent)]
    Strip(#[from] StripError),
    /// Features that cannot be packed.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// The link to this machine itself failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The link lost frames, or the kernel does not count processor time.
    #[error("the link to this machine itself: {0}")]
    Frames(String),
    /// A model without the steps that are predicted.
    #[error("the model makes vectors of texts: expected one that sees, or one that generates")]
    Task,
}

/// Measures everything but the link, which [`link`] does: `link` is its frame and hop. `image` are the pixels of a picture, of models that
/// see.
///
/// # Errors
/// A rung is not in the bundle, or a step fails.
pub fn measure(
    runtime: &Runtime,
    bundle: &Bundle,
    rungs: &[u16],
    image: Option<&[u8]>,
    (frame, hop): (f64, f64),
    mut done: impl FnMut(),
) -> Result<Profile, MeasureError> {
    let (manifest, dir) = (bundle.manifest(), bundle.dir());
    let form = Form::of(manifest);
    let shape = manifest.shape;
    let model = Model::open(runtime, dir, &shape, form)?;
    let lengths: Vec<u16> = match form {
        Form::Image { .. } => vec![u16::try_from(shape.tokens).unwrap_or(u16::MAX)],
        Form::Text { .. } => TEXTS.to_vec(),
    };
    let mut bench = Bench {
        clock: match runtime.threads() {
            1 => Clock::Processor,
            _ => Clock::Wall,
        },
        model,
        form,
        image,
        lengths,
    };
    done();
    let (whole, head) = bench.ends(runtime, bundle)?;
    done();
    let mut profile = Profile {
        model: manifest.model.clone(),
        shape,
        causal: form.is_causal(),
        whole,
        embed: Curve::default(),
        local: Curve::default(),
        mlp: Curve::default(),
        head,
        head_rows: manifest.image.and_then(|image| image.head_rows),
        strip: bench.strip(bundle)?,
        share: bench.share()?,
        frame,
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

struct Bench<'a> {
    clock: Clock,
    model: Model,
    form: Form,
    image: Option<&'a [u8]>,
    lengths: Vec<u16>,
}

struct Steps {
    embed: Vec<(usize, f64)>,
    local: Vec<(usize, f64)>,
    mlp: Vec<(usize, f64)>,
    profile: RungProfile,
}

impl Bench<'_> {
    /// The whole model, by tokens, and the head.
    fn ends(&self, runtime: &Runtime, bundle: &Bundle) -> Result<(Curve, f64), MeasureError> {
        let (manifest, dir) = (bundle.manifest(), bundle.dir());
        let hidden = manifest.shape.hidden;
        match manifest.task {
            Task::Embedding { .. } => Err(MeasureError::Task),
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
                let mut whole = Whole::open(runtime, dir, manifest)?;
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
        let Form::Image { pixels } = self.form else {
            return Vec::new();
        };
        match self.image.and_then(|image| image.get(..tokens * pixels)) {
            Some(given) => given.to_vec(),
            None => (0..tokens * pixels)
                .map(|at| (at * 7 % 251) as u8)
                .collect(),
        }
    }

    /// The way of pixels to members.
    fn strip(&self, bundle: &Bundle) -> Result<Option<Strip>, MeasureError> {
        let (Some(spec), Some(image)) = (&bundle.manifest().image, self.image) else {
            return Ok(None);
        };
        let tokens = bundle.manifest().shape.tokens;
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

    /// Features on their way back: taken as packing them twice.
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

    /// The steps of the data path at one rung.
    fn rung(&mut self, bundle: &Bundle, bits: u16) -> Result<Steps, MeasureError> {
        let codec = Codec::load(bundle, bits)?;
        let (mut embed, mut local, mut mlp) = (Vec::new(), Vec::new(), Vec::new());
        let (mut attend, mut expect) = (Vec::new(), Vec::new());
        let (mut encode, mut decode) = (Vec::new(), Vec::new());
        for length in self.lengths.clone() {
            let class = self.model.shape().class_tokens;
            let divided = match self.form.is_causal() {
                true => length.saturating_sub(u16::try_from(class).unwrap_or(0)),
                false => length,
            };
            for range in parts(divided, &CLUSTERS) {
                let remote = range.remote_tokens(divided.into(), self.form.is_causal());
                let mut member = Member::new(&self.model, &codec, range, remote)?;
                let tokens = usize::from(range.tokens);
                embed.push((tokens, self.embed(&mut member, range)?));
                let block = self.block(&codec, &mut member, remote)?;
                local.push((tokens, block.local));
                mlp.push((tokens, block.mlp));
                expect.push((tokens + remote, block.expect));
                let rows = Rows::of(class, tokens, remote, self.form.is_causal());
                attend.push((rows, block.attend));
                let Some(book) = codec.codebook(1)? else {
                    continue;
                };
                let mut codes = vec![0; tokens * codec.codes()];
                encode.push((
                    tokens,
                    self.clock.fastest(|| book.encode(member.y(), &mut codes))?,
                ));
                let mut rows = vec![0.0; tokens * codec.rank()];
                decode.push((
                    tokens,
                    self.clock.fastest(|| book.decode(&codes, &mut rows))?,
                ));
            }
        }
        Ok(Steps {
            embed,
            local,
            mlp,
            profile: RungProfile {
                bits,
                rank: codec.rank(),
                codes: u16::try_from(codec.codes()).unwrap_or(u16::MAX),
                code_bits: codec.code_bits(),
                encode: Curve::fit_line(&encode),
                decode: Curve::fit_line(&decode),
                expect: Curve::fit_line(&expect),
                attend: Surface::fit(&attend),
            },
        })
    }

    fn embed(&mut self, member: &mut Member, range: TokenRange) -> Result<f64, EngineError> {
        let tokens = usize::from(range.tokens);
        let class = self.model.shape().class_tokens;
        let input = match self.form {
            Form::Image { .. } => OwnedInput::Pixels(self.pixels(tokens)),
            Form::Text { .. } => {
                OwnedInput::Ids((0..class + tokens).map(|id| id as u32 % 100 + 2).collect())
            }
        };
        let input: Input<'_> = input.borrow();
        let clock = self.clock;
        clock.fastest(|| member.embed(&mut self.model, input))
    }

    /// The steps of a block, means over some blocks.
    fn block(
        &mut self,
        codec: &Codec,
        member: &mut Member,
        remote: usize,
    ) -> Result<Block, EngineError> {
        let blocks = self.model.shape().blocks.min(BLOCKS);
        let clock = self.clock;
        let mut best = Block {
            local: f64::INFINITY,
            expect: f64::INFINITY,
            attend: f64::INFINITY,
            mlp: f64::INFINITY,
        };
        for _ in 0..RUNS {
            let mut sum = Block::default();
            for block in 0..blocks {
                let model = &mut self.model;
                sum.local += clock.timed(|| member.local(model, block))?;
                sum.expect += clock.timed(|| member.expect(model, block))?;
                sum.attend += clock.timed(|| member.attend(model, codec, block, remote))?;
                for piece in 0..member.pieces() {
                    sum.mlp += clock.timed(|| member.mlp(model, block, piece).map(drop))?;
                }
            }
            best.local = best.local.min(sum.local / blocks as f64);
            best.expect = best.expect.min(sum.expect / blocks as f64);
            best.attend = best.attend.min(sum.attend / blocks as f64);
            best.mlp = best.mlp.min(sum.mlp / blocks as f64);
        }
        Ok(best)
    }
}

/// What the steps of a block take.
#[derive(Clone, Copy, Default)]
struct Block {
    local: f64,
    expect: f64,
    attend: f64,
    mlp: f64,
}

/// Ranges of clusters of these sizes: one from the middle of each, and the last.
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

/// What time is measured by.
#[derive(Clone, Copy)]
enum Clock {
    /// Processor time of this thread, which computes alone: whoever holds it up makes no difference.
    Processor,
    /// The clock on the wall, where several threads compute.
    Wall,
}

impl Clock {
    fn now(self, start: Instant) -> Duration {
        match self {
            Self::Wall => start.elapsed(),
            Self::Processor => {
                let time = clock_gettime(ClockId::ThreadCPUTime);
                Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
            }
        }
    }

    /// Milliseconds of the fastest of some runs; the first is not counted.
    fn fastest<E>(self, mut step: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
        step()?;
        let mut best = f64::INFINITY;
        for _ in 0..RUNS {
            best = best.min(self.timed(&mut step)?);
        }
        Ok(best)
    }

    fn timed<E>(self, step: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
        let start = Instant::now();
        let before = self.now(start);
        step()?;
        Ok((self.now(start) - before).as_secs_f64() * 1e3)
    }
}

/// Milliseconds of processor time that a frame takes on either side, and of its way from one side to the other, over a link
/// of this process to itself.
///
/// # Errors
/// There is no such link, or it loses frames.
pub async fn link() -> Result<(f64, f64), MeasureError> {
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = |listen, connect| -> Result<LinkSettings, LinkError> {
        Ok(LinkSettings {
            cluster: "measure".parse()?,
            listen,
            connect,
            multicast: None,
        })
    };
    let far = Link::open(settings(vec![local], Vec::new())?).await?;
    let near = Link::open(settings(Vec::new(), far.addresses().await)?).await?;
    let measured = over(&near, &far).await;
    near.close().await;
    far.close().await;
    measured
}

async fn over(near: &Link, far: &Link) -> Result<(f64, f64), MeasureError> {
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let back = Arc::new(far.publish_codes(1, 1).await?);
    let echo = Arc::clone(&back);
    let _there = far
        .subscribe_codes(1, 0, move |bytes| {
            // Only a frame of one byte is answered.
            if bytes.len() == 1 {
                let _ = echo.publish(bytes);
            } else {
                let _ = sender.send(());
            }
        })
        .await?;
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let _here = near
        .subscribe_codes(1, 1, move |_| {
            let _ = answers.send(());
        })
        .await?;
    let out = near.publish_codes(1, 0).await?;
    let silent = || MeasureError::Frames("frames do not arrive".to_owned());
    let until = Instant::now() + SILENCE;
    loop {
        out.publish(&[0])?;
        let pause = Duration::from_millis(50);
        match tokio::time::timeout(pause, answered.recv()).await {
            Ok(Some(())) => break,
            _ if Instant::now() > until => return Err(silent()),
            _ => {}
        }
    }
    let mut trips = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        out.publish(&[0])?;
        let came = tokio::time::timeout(SILENCE, answered.recv()).await;
        came.map_err(|_| silent())?;
        trips.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let frame = frame_time(&out, &mut arrived).await?;
    Ok((frame, crate::bench::median(&trips) / 2.0))
}

async fn frame_time(
    out: &crate::link::CodePublisher,
    arrived: &mut tokio::sync::mpsc::UnboundedReceiver<()>,
) -> Result<f64, MeasureError> {
    let this = Processes::new(&[std::process::id()]);
    let busy = || {
        let busy = this
            .busy()
            .map_err(|error| MeasureError::Frames(error.to_string()))?;
        Ok::<_, MeasureError>(busy.unwrap_or_default())
    };
    let before = busy()?;
    let frame = [7; FRAME];
    for _ in 0..FRAMES / BURST {
        for _ in 0..BURST {
            out.publish(&frame)?;
        }
        for _ in 0..BURST {
            let came = tokio::time::timeout(SILENCE, arrived.recv()).await;
            came.map_err(|_| MeasureError::Frames("frames were lost".to_owned()))?;
        }
    }
    let took = busy()?.since(before);
    // Half of it is the sender's.
    Ok((took.computing_ms + took.beside_ms) / FRAMES as f64 / 2.0)
}
