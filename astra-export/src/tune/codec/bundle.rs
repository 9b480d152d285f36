//! A rung read from a bundle, and back in the form that a bundle and a device take.

use std::borrow::Cow;

use astra_bundle::{
    BasisView, Bundle, CodebookView, MeanView, PredictionView, Rung, StageView, round_to_f16,
};
use astra_model::engine::{BlockTables, RungTables};

use super::tensors::{BlockFrame, BlockTensors, RungFrame, Values};
use crate::tune::TuneError;

impl RungFrame {
    /// A rung of a bundle, and its tensors.
    ///
    /// # Errors
    /// There is no such rung, or training it would change others.
    pub(in crate::tune) fn read(bundle: &Bundle, bits: u32) -> Result<(Self, Values), TuneError> {
        let rung = bundle.rung(bits)?;
        check_alone(bundle, rung)?;
        // The manifest is refused with wider codes and names.
        let narrow = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        let refinement = rung.refinement;
        let mut frame = Self {
            tables: RungTables {
                bits: u16::try_from(bits).unwrap_or(u16::MAX),
                code_bits: narrow(rung.code_bits),
                share: refinement.map_or(0, |refinement| refinement.share),
                refined_code_bits: refinement.map_or(0, |refinement| narrow(refinement.code_bits)),
            },
            words: [
                rung.words,
                refinement.map_or(0, |refinement| refinement.words),
            ],
            blocks: Vec::new(),
        };
        let mut tensors = Vec::new();
        let shape = bundle.manifest().shape;
        for block in 0..shape.blocks {
            let basis = bundle.basis(&rung.basis, block)?;
            let codebook = bundle.codebook(rung, block)?;
            let prediction = bundle.prediction(rung, block)?;
            let perm = codebook.perm;
            tensors.push(BlockTensors {
                enc_w: rows(&basis.enc_w, shape.hidden, perm),
                enc_b: rows(&basis.enc_b, 1, perm),
                dec_w: rows(&basis.dec_w, 2 * shape.kv_width(), perm),
                dec_b: basis.dec_b.to_vec(),
                words: codebook.first.words.to_vec(),
                second: codebook.second.as_ref().map(|stage| stage.words.to_vec()),
                prediction: prediction.map(|view| [view.w.to_vec(), view.b.to_vec()]),
            });
            frame.blocks.push(BlockFrame {
                perm: perm.to_vec(),
                dims: codebook.first.dims.to_vec(),
                second_dims: codebook
                    .second
                    .map_or(Vec::new(), |stage| stage.dims.to_vec()),
                mean: codebook
                    .mean
                    .map(|mean| (mean.bits.to_vec(), mean.steps.to_vec())),
            });
        }
        Ok((frame, tensors))
    }
}

/// Another rung may use the same basis or codebooks; changing them would change it without being measured.
fn check_alone(bundle: &Bundle, rung: &Rung) -> Result<(), TuneError> {
    let path = bundle.dir().join("manifest.json");
    for block in 0..rung.blocks.len() {
        let axes = bundle.basis(&rung.basis, block)?.rank;
        let coded = rung.blocks.get(block).map_or(0, |block| block.rank);
        if coded != axes {
            let what = format!("rung {} block {block} rank", rung.bits);
            let expected = format!("{axes}, all axes of its basis");
            return Err(TuneError::mismatch(&path, what, coded, expected));
        }
    }
    let others = bundle.manifest().rungs.iter();
    let shares = |other: &&Rung| {
        let books = other.blocks.iter().zip(&rung.blocks);
        other.bits != rung.bits
            && (other.basis == rung.basis
                || books.into_iter().any(|(a, b)| a.codebooks == b.codebooks))
    };
    let other = others.into_iter().find(shares);
    other.map_or(Ok(()), |other| {
        Err(TuneError::mismatch(
            &path,
            format!("rung {}", rung.bits),
            format!("basis or codebooks that rung {} uses too", other.bits),
            "its own; export the model again",
        ))
    })
}

/// The rows listed in `perm`, in its order.
fn rows(matrix: &[f32], width: usize, perm: &[u16]) -> Vec<f32> {
    let row = |&axis: &u16| {
        let first = usize::from(axis) * width;
        matrix.get(first..first + width).unwrap_or_default()
    };
    perm.iter().flat_map(row).copied().collect()
}

/// A block as a bundle stores it, in the order of the basis again.
#[derive(Clone, Debug)]
pub(in crate::tune) struct RoundedBlock {
    perm: Vec<u16>,
    dims: Vec<u16>,
    second_dims: Vec<u16>,
    mean: Option<(Vec<u8>, Vec<f32>)>,
    /// Values that float16 holds; rows of the basis in its order.
    pub(in crate::tune) tensors: BlockTensors<Vec<f32>>,
}

/// Of blocks that code every axis of their basis.
pub(in crate::tune) fn rounded(
    frame: &RungFrame,
    tensors: &[BlockTensors<Vec<f32>>],
) -> Vec<RoundedBlock> {
    let blocks = frame.blocks.iter().zip(tensors);
    let blocks = blocks.map(|(frame, tensors)| {
        let mut tensors = tensors.clone();
        let mut order = vec![0_u16; frame.perm.len()];
        for (place, &axis) in (0..).zip(&frame.perm) {
            if let Some(entry) = order.get_mut(usize::from(axis)) {
                *entry = place;
            }
        }
        let rank = frame.perm.len().max(1);
        for matrix in [&mut tensors.enc_w, &mut tensors.enc_b, &mut tensors.dec_w] {
            *matrix = rows(matrix, matrix.len() / rank, &order);
        }
        tensors.each_mut().for_each(|values| round_to_f16(values));
        RoundedBlock {
            perm: frame.perm.clone(),
            dims: frame.dims.clone(),
            second_dims: frame.second_dims.clone(),
            mean: frame.mean.clone(),
            tensors,
        }
    });
    blocks.collect()
}

impl RoundedBlock {
    /// As the engine takes them.
    pub(in crate::tune) fn tables(&self) -> BlockTables<'_> {
        let tensors = &self.tensors;
        BlockTables {
            basis: BasisView {
                rank: self.perm.len(),
                enc_w: Cow::Borrowed(&tensors.enc_w),
                enc_b: Cow::Borrowed(&tensors.enc_b),
                dec_w: Cow::Borrowed(&tensors.dec_w),
                dec_b: Cow::Borrowed(&tensors.dec_b),
            },
            codebook: self.codebook(),
            prediction: tensors.prediction.as_ref().map(|[w, b]| PredictionView {
                w: Cow::Borrowed(w),
                b: Cow::Borrowed(b),
            }),
        }
    }

    /// As a bundle stores them.
    pub(in crate::tune) fn codebook(&self) -> CodebookView<'_> {
        let second = self.tensors.second.as_ref();
        CodebookView {
            perm: &self.perm,
            first: StageView {
                dims: &self.dims,
                words: Cow::Borrowed(&self.tensors.words),
            },
            second: second.map(|words| StageView {
                dims: &self.second_dims,
                words: Cow::Borrowed(words),
            }),
            mean: self.mean.as_ref().map(|(bits, steps)| MeanView {
                bits: Cow::Borrowed(bits),
                steps: Cow::Borrowed(steps),
            }),
        }
    }
}
