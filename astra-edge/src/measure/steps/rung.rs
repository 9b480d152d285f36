//! The steps of the data path at one rung.

use astra_bundle::Bundle;

use super::clock::RUNS;
use super::{CLUSTERS, StepBench, parts};
use crate::measure::error::MeasureError;
use crate::plan::codes::RungCodes;
use crate::plan::profile::{AttendSize, Curve, RungProfile, Surface};
use astra_model::engine::{Codec, EngineError, Input, Member, Modality, OwnedInput, TokenEncoder};
use astra_model::partition::TokenRange;
use astra_wire::Layout;

/// Most blocks that are run.
const BLOCKS: usize = 4;

/// Milliseconds of steps by tokens; those of a rung as curves.
pub(super) struct Steps {
    pub(super) embed: Vec<(usize, f64)>,
    pub(super) local: Vec<(usize, f64)>,
    pub(super) mlp: Vec<(usize, f64)>,
    pub(super) profile: RungProfile,
}

/// What the steps of a block take.
#[derive(Clone, Copy, Default)]
struct Block {
    local: f64,
    expect: f64,
    attend: f64,
    mlp: f64,
}

/// Some of the blocks, at equal distances: the rank and the codes of a block change from the first to the last.
fn samples(blocks: usize) -> impl ExactSizeIterator<Item = usize> + Clone {
    let count = blocks.min(BLOCKS);
    (0..count).map(move |sample| (2 * sample + 1) * blocks / (2 * count))
}

impl StepBench<'_> {
    /// Runs them for every length of text and size of cluster.
    pub(super) fn rung(&mut self, bundle: &Bundle, bits: u16) -> Result<Steps, MeasureError> {
        let codec = Codec::load(bundle, bits)?;
        let (mut embed, mut local, mut mlp) = (Vec::new(), Vec::new(), Vec::new());
        let (mut attend, mut expect) = (Vec::new(), Vec::new());
        let (mut encode, mut decode) = (Vec::new(), Vec::new());
        for length in self.lengths.clone() {
            let class = self.model.shape().class_tokens;
            let divided = match self.modality.is_causal() {
                true => length.saturating_sub(u16::try_from(class).unwrap_or(0)),
                false => length,
            };
            for range in parts(divided, &CLUSTERS) {
                let remote = range.remote_tokens(divided.into(), self.modality.is_causal());
                let mut member = Member::new(&self.model, &codec, range, remote)?;
                let tokens = usize::from(range.tokens);
                embed.push((tokens, self.embed(&mut member, range)?));
                let block = self.block(&codec, &mut member, remote)?;
                local.push((tokens, block.local));
                mlp.push((tokens, block.mlp));
                expect.push((tokens + remote, block.expect));
                let rows = AttendSize::of(class, tokens, remote, self.modality.is_causal());
                attend.push((rows, block.attend));
                if !codec.is_exact() {
                    let (encoding, decoding) = self.codes(&codec, &mut member)?;
                    encode.push((tokens, encoding));
                    decode.push((tokens, decoding));
                }
            }
        }
        let layouts: Vec<Layout> = codec.layouts().collect();
        Ok(Steps {
            embed,
            local,
            mlp,
            profile: RungProfile {
                bits,
                rank: codec.mean_rank(),
                codes: RungCodes::of(&layouts),
                chunk_tokens: codec.frame_tokens(),
                encode: Curve::fit_line(&encode),
                decode: Curve::fit_line(&decode),
                expect: Curve::fit_line(&expect),
                attend: Surface::fit(&attend),
            },
        })
    }

    /// Encoding the own tokens, and decoding as many: means over some blocks.
    fn codes(&self, codec: &Codec, member: &mut Member) -> Result<(f64, f64), EngineError> {
        let tokens = member.tokens();
        let mut encoder = TokenEncoder::for_codec(codec, tokens)?;
        let (mut encoding, mut decoding) = (0.0, 0.0);
        let samples = samples(self.model.shape().blocks);
        for block in samples.clone() {
            let Some(stages) = codec.stages(block)? else {
                continue;
            };
            encoding += self.clock.fastest(|| {
                let encoder = (&stages, &mut encoder);
                member.encode(codec, block, 0..tokens, encoder).map(drop)
            })?;
            let mut rows = vec![0.0; tokens * codec.rank(block)?];
            let decode = || encoder.decode(&stages, &mut rows);
            decoding += self.clock.fastest(decode)?;
        }
        let blocks = samples.len().max(1) as f64;
        Ok((encoding / blocks, decoding / blocks))
    }

    fn embed(&mut self, member: &mut Member, range: TokenRange) -> Result<f64, EngineError> {
        let tokens = usize::from(range.tokens);
        let class = self.model.shape().class_tokens;
        let input = match self.modality {
            Modality::Image { .. } => OwnedInput::Pixels(self.pixels(tokens)),
            Modality::Text { .. } => {
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
        let samples = samples(self.model.shape().blocks);
        let blocks = samples.len().max(1);
        let clock = self.clock;
        let mut best = Block {
            local: f64::INFINITY,
            expect: f64::INFINITY,
            attend: f64::INFINITY,
            mlp: f64::INFINITY,
        };
        for _ in 0..RUNS {
            let mut sum = Block::default();
            for block in samples.clone() {
                let model = &mut self.model;
                sum.local += clock.timed(|| member.local(model, block))?;
                sum.expect += clock.timed(|| {
                    member.predict_own(model, block)?;
                    member.predict_remote(model, block)
                })?;
                sum.attend += clock.timed(|| member.attend(model, codec, block, remote))?;
                for chunk in 0..member.chunks() {
                    sum.mlp += clock.timed(|| member.mlp(model, block, chunk).map(drop))?;
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
