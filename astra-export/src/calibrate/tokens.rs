//! The model run by one device, and the tokens taken from it.

use std::path::Path;

use astra_bundle::{Manifest, Shape};
use astra_model::engine::{Codec, Input, Member, Modality, Model, Runtime};
use astra_model::partition::TokenRange;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::CalibrateError;
use super::attention::Reading;
use super::rotation::turn_back;
use crate::fit::{AttentionShape, BlockSamples};

/// The model with what was taken of it so far.
pub(super) struct Sampler<'a> {
    model: Model,
    codec: Codec,
    /// For inputs of as many divided tokens as the last.
    member: Option<Member>,
    shape: Shape,
    /// Angles a position of the channels of a head, where positions are rotary.
    frequencies: &'a [f64],
    /// Tokens to take of an input.
    tokens: usize,
    rng: StdRng,
    pub(super) blocks: Vec<BlockSamples>,
}

impl<'a> Sampler<'a> {
    /// Takes `tokens` of every input, or all where there are fewer.
    pub(super) fn new(
        runtime: &Runtime,
        dir: &Path,
        manifest: &Manifest,
        frequencies: &'a [f64],
        tokens: usize,
        seed: u64,
    ) -> Result<Self, CalibrateError> {
        let shape = manifest.shape;
        let attention = AttentionShape {
            hidden: shape.hidden,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
        };
        Ok(Self {
            model: Model::open(runtime, dir, &shape, Modality::of(manifest))?,
            codec: Codec::single_device(&shape)?,
            member: None,
            shape,
            frequencies,
            tokens,
            rng: StdRng::seed_from_u64(seed),
            blocks: vec![BlockSamples::new(attention); shape.blocks],
        })
    }

    /// Runs an input of `tokens` divided tokens, and keeps the same ones of every block.
    pub(super) fn take(&mut self, input: Input<'_>, divided: usize) -> Result<(), CalibrateError> {
        let taken = self.tokens.min(divided);
        let rows = rand::seq::index::sample(&mut self.rng, divided, taken);
        // Tokens that every member computes never travel, and lie before the others.
        let class_tokens = self.shape.class_tokens;
        let mut rows: Vec<usize> = rows.iter().map(|row| class_tokens + row).collect();
        // The mean of a frame is that of neighbours.
        rows.sort_unstable();
        // They attend like all other tokens.
        let readers: Vec<usize> = (0..class_tokens).chain(rows.iter().copied()).collect();
        let queries = self.shape.heads * self.shape.head_dim;
        let causal = self.model.modality().is_causal();
        let mut member = self.member(divided)?;
        member.embed(&mut self.model, input)?;
        for (block, samples) in self.blocks.iter_mut().enumerate() {
            member.local(&mut self.model, block)?;
            let reading = Reading {
                shape: samples.shape(),
                q: member.q(),
                k: member.k(),
                causal,
                everywhere: class_tokens,
            };
            let attended = reading.by(&readers, &mut self.rng);
            let mut q = pick(member.q(), queries, &readers);
            if !self.frequencies.is_empty() {
                turn_back(&mut q, readers.len(), &attended.read, self.frequencies);
            }
            samples.push_queries(&q, &attended.queries)?;
            samples.push_weighted(
                &pick(member.n(), self.shape.hidden, &rows),
                &pick(member.v(), self.shape.kv_width(), &rows),
                &pick(&attended.tokens, 1, &rows),
            )?;
            member.finish_block(&mut self.model, &self.codec, block, 0)?;
        }
        self.member = Some(member);
        Ok(())
    }

    /// A member that owns all divided tokens.
    fn member(&mut self, divided: usize) -> Result<Member, CalibrateError> {
        if let Some(member) = self.member.take_if(|member| member.tokens() == divided) {
            return Ok(member);
        }
        let whole = TokenRange {
            first: 0,
            tokens: u16::try_from(divided).map_err(|_| CalibrateError::TooManyTokens(divided))?,
        };
        Ok(Member::new(&self.model, &self.codec, whole, 0)?)
    }
}

/// The named rows of a matrix whose rows are `width` long.
fn pick(matrix: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    let row = |&row: &usize| matrix.get(row * width..(row + 1) * width);
    rows.iter().filter_map(row).flatten().copied().collect()
}
