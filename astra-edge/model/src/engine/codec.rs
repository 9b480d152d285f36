//! Matrices of one rung as tensors, and its codebooks in both orders.

use astra_bundle::{Bundle, Rung, RungBlock, Shape};
use astra_codec::Codebook;
use astra_wire::{Layout, LayoutError};
use ort::memory::Allocator;
use ort::value::Tensor;

use super::EngineError;

/// The codec at one rung, or exact mode.
///
/// Axes are permuted to the codebooks' order when the codec is loaded, so that the axes of a group are adjacent; the bases on disk serve
/// all rungs.
pub struct Codec {
    bits: u16,
    rank: usize,
    codes: usize,
    code_bits: u8,
    blocks: Vec<Block>,
}

struct Block {
    matrices: Matrices,
    /// Prediction from the block before, where the rung predicts.
    prediction: Option<Linear>,
    codebook: Option<CodebookTables>,
}

/// Inputs of the graphs: `enc_w` [R, D], `enc_b` `[R]`, `dec_w` [R, 2W], `dec_b` [2W]. In exact mode `enc_w` is [0, D] and
/// R of `dec_w` is D.
pub(super) struct Matrices {
    pub(super) enc_w: Tensor<f32>,
    pub(super) enc_b: Tensor<f32>,
    pub(super) dec_w: Tensor<f32>,
    pub(super) dec_b: Tensor<f32>,
}

/// `w` [R, R] and `b` [R]: the prediction of a token is its state times `w`, plus `b`.
pub(super) struct Linear {
    pub(super) w: Tensor<f32>,
    pub(super) b: Tensor<f32>,
}

struct CodebookTables {
    dims: Vec<u16>,
    words: usize,
    dim_major: Vec<f32>,
    word_major: Vec<f32>,
    half_norms: Vec<f32>,
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
        let RungBlock { rank, groups, .. } = even_blocks(rung)?;
        let hidden = bundle.manifest().shape.hidden;
        let blocks = (0..bundle.manifest().shape.blocks)
            .map(|block| {
                let basis = bundle.basis(&rung.basis, block)?;
                let codebook = bundle.codebook(rung, block)?;
                let kv = basis.dec_b.len();
                let perm = codebook.perm;
                Ok(Block {
                    matrices: Matrices {
                        enc_w: tensor(&rows(&basis.enc_w, hidden, perm), [perm.len(), hidden])?,
                        enc_b: tensor(&rows(&basis.enc_b, 1, perm), [perm.len()])?,
                        dec_w: tensor(&rows(&basis.dec_w, kv, perm), [perm.len(), kv])?,
                        dec_b: tensor(&basis.dec_b, [kv])?,
                    },
                    prediction: bundle
                        .prediction(rung, block)?
                        .map(|view| {
                            Ok::<_, EngineError>(Linear {
                                w: tensor(&view.w, [perm.len(), perm.len()])?,
                                b: tensor(&view.b, [perm.len()])?,
                            })
                        })
                        .transpose()?,
                    codebook: Some(
                        CodebookTables::new(codebook.first.dims, rung.words, &codebook.first.words)
                            .map_err(|source| EngineError::Codebook { block, source })?,
                    ),
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            bits,
            rank,
            codes: groups,
            // The manifest is refused with codes wider than 16 bits.
            code_bits: u8::try_from(rung.code_bits).unwrap_or(u8::MAX),
            blocks,
        })
    }

    fn exact(bundle: &Bundle) -> Result<Self, EngineError> {
        let hidden = bundle.manifest().shape.hidden;
        let blocks = (0..bundle.manifest().shape.blocks)
            .map(|block| {
                let view = bundle.exact(block)?;
                Ok(Block {
                    matrices: Matrices {
                        enc_w: tensor(&[], [0, hidden])?,
                        enc_b: tensor(&[], [0])?,
                        dec_w: tensor(&view.dec_w, [hidden, view.dec_b.len()])?,
                        dec_b: tensor(&view.dec_b, [view.dec_b.len()])?,
                    },
                    prediction: None,
                    codebook: None,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            bits: 0,
            rank: hidden,
            codes: hidden,
            code_bits: 32,
            blocks,
        })
    }

    /// For a member without others, which neither encodes nor decodes: its matrices have no rows.
    ///
    /// # Errors
    /// ONNX Runtime has no memory.
    pub fn single_device(shape: &Shape) -> Result<Self, EngineError> {
        let kv = 2 * shape.kv_width();
        let blocks = (0..shape.blocks)
            .map(|_| {
                Ok(Block {
                    matrices: Matrices {
                        enc_w: tensor(&[], [0, shape.hidden])?,
                        enc_b: tensor(&[], [0])?,
                        dec_w: tensor(&[], [0, kv])?,
                        dec_b: tensor(&vec![0.0; kv], [kv])?,
                    },
                    prediction: None,
                    codebook: None,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            bits: 0,
            rank: 0,
            codes: 0,
            code_bits: 32,
            blocks,
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

    /// Bits per token per block; 0 in exact mode.
    pub fn bits(&self) -> u16 {
        self.bits
    }

    /// Whether values are sent as float32 instead of codes.
    pub fn is_exact(&self) -> bool {
        self.bits == 0
    }

    /// Axes of a decoded token, R; the hidden width in exact mode.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Codes per token; the hidden width in exact mode, where a code is a float32.
    pub fn codes(&self) -> usize {
        self.codes
    }

    /// Bits per code.
    pub fn code_bits(&self) -> u8 {
        self.code_bits
    }

    /// Layout of its codes in frames.
    ///
    /// # Errors
    /// A token's codes do not fit the wire format.
    pub fn layout(&self) -> Result<Layout, LayoutError> {
        // A hidden width or a number of groups beyond 65,535 is refused with the manifest.
        Layout::new(self.bits, self.codes as u16, self.code_bits, None)
    }

    /// Tokens whose codes fill one frame, at least one.
    pub fn frame_tokens(&self) -> usize {
        let layout = self.layout();
        layout.map_or(1, |layout| layout.tokens_per_frame().max(1).into())
    }

    /// The codebook of a block; `None` in exact mode.
    ///
    /// # Errors
    /// There is no such block.
    pub fn codebook(&self, block: usize) -> Result<Option<Codebook<'_>>, EngineError> {
        self.block(block)?
            .codebook
            .as_ref()
            .map(|tables| {
                tables
                    .borrow()
                    .map_err(|source| EngineError::Codebook { block, source })
            })
            .transpose()
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

impl CodebookTables {
    fn new(
        dims: &[u16],
        words: usize,
        dim_major: &[f32],
    ) -> Result<Self, astra_codec::CodebookError> {
        let mut tables = Self {
            dims: dims.to_vec(),
            words,
            dim_major: dim_major.to_vec(),
            word_major: vec![0.0; dim_major.len()],
            half_norms: vec![0.0; dims.len() * words],
        };
        astra_codec::word_major(dims, words, dim_major, &mut tables.word_major)?;
        astra_codec::half_norms(dims, words, dim_major, &mut tables.half_norms)?;
        tables.borrow()?;
        Ok(tables)
    }

    fn borrow(&self) -> Result<Codebook<'_>, astra_codec::CodebookError> {
        Codebook::new(
            &self.dims,
            self.words,
            &self.dim_major,
            &self.word_major,
            &self.half_norms,
        )
    }
}

/// The one way in which a rung codes all its blocks, in one stage.
fn even_blocks(rung: &Rung) -> Result<RungBlock, EngineError> {
    let refused = |found| EngineError::Rung {
        bits: rung.bits,
        found,
    };
    if rung.refinement.is_some() {
        return Err(refused("a second stage"));
    }
    let same =
        |one: &RungBlock, other: &RungBlock| (one.rank, one.groups) == (other.rank, other.groups);
    match rung.blocks.split_first() {
        Some((first, rest)) if rest.iter().all(|block| same(first, block)) => Ok(*first),
        _ => Err(refused("blocks of different ranks or groups")),
    }
}

/// The rows listed in `perm`, in its order; a bundle whose `perm` lists a row that does not exist is refused.
fn rows(matrix: &[f32], width: usize, perm: &[u16]) -> Vec<f32> {
    perm.iter()
        .filter_map(|&row| matrix.chunks_exact(width).nth(usize::from(row)))
        .flatten()
        .copied()
        .collect()
}

/// A tensor in ONNX Runtime's memory, which bindings share without a copy.
pub(super) fn tensor<const N: usize>(
    values: &[f32],
    shape: [usize; N],
) -> Result<Tensor<f32>, EngineError> {
    let mut tensor = Tensor::<f32>::new(&Allocator::default(), shape)
        .map_err(EngineError::run("allocate a tensor"))?;
    let (_, buffer) = tensor.extract_tensor_mut();
    EngineError::length("tensor", values.len(), buffer.len())?;
    buffer.copy_from_slice(values);
    Ok(tensor)
}
