//! Matrices and codebooks of one rung.
//!
//! - `stages`: codebooks of a block, in both orders
//! - `block`: one block, its matrices as tensors

mod block;
mod stages;

use astra_bundle::{Bundle, Refinement as Share, Shape};
use astra_wire::{Layout, Refinement};

use super::EngineError;
use block::Block;
pub use block::BlockTables;
pub(super) use block::{Linear, Matrices};
pub use stages::Stages;

/// The codec at one rung, or exact mode.
pub struct Codec {
    bits: u16,
    /// Keys and values of remote tokens are computed by graphs before `attend`.
    exact_graphs: bool,
    blocks: Vec<Block>,
}

/// What a rung has for all blocks.
#[derive(Clone, Copy, Debug)]
pub struct RungTables {
    /// Name of the rung.
    pub bits: u16,
    /// Bits of a first-stage code.
    pub code_bits: u8,
    /// Share of a frame's tokens that are refined, in 1/256; 0 without a second stage.
    pub share: u8,
    /// Bits of a second-stage code, read only where there is a second stage.
    pub refined_code_bits: u8,
}

impl RungTables {
    /// How codes of these codebooks are laid out in frames.
    ///
    /// # Errors
    /// A share without a second stage or the reverse, or codes that the wire format refuses.
    pub fn layout(&self, stages: &Stages<'_>) -> Result<Layout, EngineError> {
        let refined = stages.second.map_or(0, |stage| stage.groups());
        let refinement = match (self.share, stages.second) {
            (0, None) => None,
            (1.., Some(_)) => Some(Refinement {
                share: self.share,
                codes: count(refined),
                bits: self.refined_code_bits,
            }),
            (share, _) => {
                return Err(EngineError::Refinement {
                    share,
                    groups: refined,
                });
            }
        };
        let groups = count(stages.first.groups());
        let mean = stages.mean.map_or(0, |mean| count(mean.packed_len()));
        let layout = Layout::new(self.bits, groups, self.code_bits, refinement)?;
        Ok(layout.with_mean(mean)?)
    }
}

/// Groups and channels beyond 65,535 are refused with the manifest.
fn count(codes: usize) -> u16 {
    u16::try_from(codes).unwrap_or(u16::MAX)
}

impl Codec {
    /// Loads the rung of `bits` bits per token per block, 0 for exact mode.
    ///
    /// # Errors
    /// The bundle has no such rung, or its tables contradict each other.
    pub fn load(bundle: &Bundle, bits: u16) -> Result<Self, EngineError> {
        if bits == 0 {
            return Self::exact(bundle);
        }
        let rung = bundle.rung(u32::from(bits))?;
        // The manifest is refused with codes wider than 16 bits.
        let width = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        let share = rung.refinement.as_ref();
        let tables = RungTables {
            bits,
            code_bits: width(rung.code_bits),
            share: share.map_or(0, |share: &Share| share.share),
            refined_code_bits: share.map_or(0, |share| width(share.code_bits)),
        };
        let blocks = (0..bundle.manifest().shape.blocks).map(|block| {
            Ok(BlockTables {
                basis: bundle.basis(&rung.basis, block)?,
                codebook: bundle.codebook(rung, block)?,
                prediction: bundle.prediction(rung, block)?,
            })
        });
        Self::from_tables(&tables, bundle.manifest().shape.hidden, blocks)
    }

    /// The same from tables that need not be in a bundle. Words of codebooks are used as they are, not rounded to float16 as on disk.
    ///
    /// # Errors
    /// The tables contradict each other, or one of `blocks` is an error.
    pub fn from_tables<'a>(
        rung: &RungTables,
        hidden: usize,
        blocks: impl IntoIterator<Item = Result<BlockTables<'a>, EngineError>>,
    ) -> Result<Self, EngineError> {
        let mut codec = Self {
            bits: rung.bits,
            exact_graphs: false,
            blocks: Vec::new(),
        };
        for (number, tables) in blocks.into_iter().enumerate() {
            let before = codec.blocks.last().map(|block| block.rank);
            let block = Block::new(rung, hidden, number, before, &tables?)?;
            codec.blocks.push(block);
        }
        Ok(codec)
    }

    fn exact(bundle: &Bundle) -> Result<Self, EngineError> {
        let shape = &bundle.manifest().shape;
        let hidden = shape.hidden;
        let exact_graphs = bundle.manifest().exact.is_empty();
        let blocks = (0..shape.blocks).map(|block| {
            let matrices = if exact_graphs {
                Matrices::identity(hidden, 2 * shape.kv_width())?
            } else {
                let view = bundle.exact(block)?;
                Matrices::decoding(hidden, hidden, &view.dec_w, &view.dec_b)?
            };
            Ok(Block::uncoded(hidden, exact_layout(hidden)?, matrices))
        });
        Ok(Self {
            bits: 0,
            exact_graphs,
            blocks: blocks.collect::<Result<_, EngineError>>()?,
        })
    }

    /// For a member without others, which neither encodes nor decodes: its matrices have no rows.
    ///
    /// # Errors
    /// ONNX Runtime has no memory.
    pub fn single_device(shape: &Shape) -> Result<Self, EngineError> {
        let bias = vec![0.0; 2 * shape.kv_width()];
        let blocks = (0..shape.blocks).map(|_| {
            let matrices = Matrices::decoding(shape.hidden, 0, &[], &bias)?;
            Ok(Block::uncoded(0, exact_layout(shape.hidden)?, matrices))
        });
        Ok(Self {
            bits: 0,
            exact_graphs: false,
            blocks: blocks.collect::<Result<_, EngineError>>()?,
        })
    }

    /// Whether codes are those of residuals to a prediction from the block before.
    pub fn predicts(&self) -> bool {
        self.blocks.iter().any(|block| block.prediction.is_some())
    }

    pub(super) fn prediction(&self, block: usize) -> Option<&Linear> {
        self.blocks.get(block)?.prediction.as_ref()
    }

    /// Blocks of the model.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Name of the rung: bits per token per block; 0 in exact mode.
    pub fn bits(&self) -> u16 {
        self.bits
    }

    /// Mean over the blocks of the bits that a token takes in frames of the most tokens, positions of refined tokens included,
    /// headers not.
    pub fn mean_bits(&self) -> f64 {
        let bits = self.blocks.iter().map(|block| {
            let tokens = block.layout.tokens_per_frame();
            8.0 * block.layout.packed_bytes(tokens) as f64 / f64::from(tokens)
        });
        bits.sum::<f64>() / self.blocks.len().max(1) as f64
    }

    /// Whether values are sent as float32 instead of codes.
    pub fn is_exact(&self) -> bool {
        self.bits == 0
    }

    /// Whether graphs compute keys and values of remote tokens, which `attend` then takes as they are.
    pub(super) fn has_exact_graphs(&self) -> bool {
        self.exact_graphs
    }

    /// Axes of a decoded token in a block, R; the hidden width in exact mode.
    ///
    /// # Errors
    /// There is no such block.
    pub fn rank(&self, block: usize) -> Result<usize, EngineError> {
        Ok(self.block(block)?.rank)
    }

    /// R of every block.
    pub fn ranks(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.blocks.iter().map(|block| block.rank)
    }

    /// Mean over the blocks of R, rounded up.
    pub fn mean_rank(&self) -> usize {
        self.ranks()
            .sum::<usize>()
            .div_ceil(self.blocks.len().max(1))
    }

    /// Layout of a block's codes in frames.
    ///
    /// # Errors
    /// There is no such block.
    pub fn layout(&self, block: usize) -> Result<Layout, EngineError> {
        Ok(self.block(block)?.layout)
    }

    /// The same of every block.
    pub fn layouts(&self) -> impl ExactSizeIterator<Item = Layout> + Clone {
        self.blocks.iter().map(|block| block.layout)
    }

    /// Tokens whose codes fill one frame in most blocks, at least one: the median.
    pub fn frame_tokens(&self) -> usize {
        let layouts = self.layouts();
        let mut tokens: Vec<u16> = layouts.map(|layout| layout.tokens_per_frame()).collect();
        tokens.sort_unstable();
        tokens
            .get(tokens.len() / 2)
            .map_or(1, |&tokens| tokens.into())
    }

    /// The codebooks of a block; `None` in exact mode.
    ///
    /// # Errors
    /// There is no such block.
    pub fn stages(&self, block: usize) -> Result<Option<Stages<'_>>, EngineError> {
        self.block(block)?.stages(block)
    }

    pub(super) fn matrices(&self, block: usize) -> Result<&Matrices, EngineError> {
        Ok(&self.block(block)?.matrices)
    }

    fn block(&self, block: usize) -> Result<&Block, EngineError> {
        self.blocks.get(block).ok_or(EngineError::NoSuchBlock {
            found: block,
            blocks: self.blocks.len(),
        })
    }
}

fn exact_layout(hidden: usize) -> Result<Layout, EngineError> {
    Ok(Layout::new(0, count(hidden), 32, None)?)
}
