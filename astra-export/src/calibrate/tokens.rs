//! The model run by one device, and the tokens taken from it.

use std::path::Path;

use astra_bundle::{ImageInput, Shape};
use astra_edge::engine::{Codec, Form, Input, Member, Model, Runtime};
use astra_edge::plan::TokenRange;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::CalibrateError;
use super::attention::Reading;
use crate::fit::{AttentionShape, BlockSamples};

/// The model with what was taken of it so far.
pub(super) struct Sampler {
    model: Model,
    codec: Codec,
    member: Member,
    shape: Shape,
    /// Tokens to take of a view.
    tokens: usize,
    rng: StdRng,
    pub(super) blocks: Vec<BlockSamples>,
}

impl Sampler {
    /// Takes `tokens` of every view, or all where there are fewer.
    pub(super) fn new(
        runtime: &Runtime,
        dir: &Path,
        shape: &Shape,
        image: &ImageInput,
        tokens: usize,
        seed: u64,
    ) -> Result<Self, CalibrateError> {
        let form = Form::Image {
            pixels: image.patch * image.patch * 3,
        };
        let model = Model::open(runtime, dir, shape, form)?;
        let codec = Codec::alone(shape)?;
        let whole = TokenRange {
            first: 0,
            tokens: u16::try_from(shape.tokens)
                .map_err(|_| CalibrateError::TooManyTokens(shape.tokens))?,
        };
        let attention = AttentionShape {
            hidden: shape.hidden,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
        };
        Ok(Self {
            member: Member::new(&model, &codec, whole, 0)?,
            model,
            codec,
            shape: *shape,
            tokens: tokens.min(shape.tokens),
            rng: StdRng::seed_from_u64(seed),
            blocks: vec![BlockSamples::new(attention); shape.blocks],
        })
    }

    /// Runs a view, pixels of all tokens, and keeps the same tokens of every block.
    pub(super) fn take(&mut self, pixels: &[u8]) -> Result<(), CalibrateError> {
        let rows = rand::seq::index::sample(&mut self.rng, self.shape.tokens, self.tokens);
        // Class tokens never travel, and lie before the others.
        let class_tokens = self.shape.class_tokens;
        let rows: Vec<usize> = rows.iter().map(|row| class_tokens + row).collect();
        // Class tokens read like everybody else.
        let readers: Vec<usize> = (0..class_tokens).chain(rows.iter().copied()).collect();
        let queries = self.shape.heads * self.shape.head_dim;
        self.member.embed(&mut self.model, Input::Pixels(pixels))?;
        for (block, samples) in self.blocks.iter_mut().enumerate() {
            self.member.local(&mut self.model, block)?;
            let reading = Reading {
                shape: samples.shape(),
                q: self.member.q(),
                k: self.member.k(),
            };
            let importance = reading.importance(&readers);
            samples.push_weighted(
                &pick(self.member.n(), self.shape.hidden, &rows),
                &pick(self.member.q(), queries, &rows),
                &pick(self.member.v(), self.shape.kv_width(), &rows),
                &pick(&importance, 1, &rows),
            )?;
            self.member.attend(&mut self.model, &self.codec, block, 0)?;
        }
        Ok(())
    }
}

/// The named rows of a matrix whose rows are `width` long.
fn pick(matrix: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    let row = |&row: &usize| matrix.get(row * width..(row + 1) * width);
    rows.iter().filter_map(row).flatten().copied().collect()
}
