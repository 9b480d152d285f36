//! A codec for tests, with everything that a rung can have.

use std::borrow::Cow;

use astra_bundle::{Bundle, CodebookView, MeanView, PredictionView, StageView};

use crate::engine::{BlockTables, Codec, EngineError, RungTables, slice};

/// Name of the rung of [`ragged_codec`].
pub const RAGGED: u16 = 33;

/// Refined tokens in 1/256.
const SHARE: u8 = 20;
/// Groups of the first stage in successive blocks: some equal to those before, some more, some fewer.
const GROUPS: [usize; 6] = [5, 5, 12, 8, 20, 12];
/// Bits of a second-stage code.
const REFINED_BITS: u8 = 4;
/// Axes of a group of the second stage.
const REFINED_DIM: u16 = 3;

/// Codebooks of one block that the bundle does not have.
struct Refined {
    dims: Vec<u16>,
    words: Vec<f32>,
    mean_bits: Vec<u8>,
    mean_steps: Vec<f32>,
}

/// A rung of a bundle with another rank and other groups in each block, and a second stage: of every block the first groups of `bits`,
/// predicted where that is.
///
/// # Errors
/// The bundle has no such rung, or one of fewer than 20 groups in a block.
pub fn ragged_codec(bundle: &Bundle, bits: u16) -> Result<Codec, EngineError> {
    let rung = bundle.rung(bits.into())?;
    let shape = bundle.manifest().shape;
    let books = (0..shape.blocks).map(|block| bundle.codebook(rung, block));
    let books = books.collect::<Result<Vec<_>, _>>()?;
    let groups = GROUPS.iter().cycle();
    let cut = books.iter().zip(groups).map(|(book, &groups)| {
        let dims = slice("groups", book.first.dims, 0..groups)?;
        let rank = dims.iter().copied().map(usize::from).sum::<usize>();
        Ok((groups, rank))
    });
    let cut = cut.collect::<Result<Vec<_>, EngineError>>()?;
    let refined = books
        .iter()
        .zip(&cut)
        .map(|(book, &(_, rank))| Refined::new(rank, &book.first.words));
    let refined = refined.collect::<Vec<_>>();
    let before = [0].into_iter().chain(cut.iter().map(|&(_, rank)| rank));
    let parts = books.iter().zip(&refined).zip(cut.iter().zip(before));
    let blocks = parts
        .enumerate()
        .map(|(block, ((book, refined), (&(groups, rank), before)))| {
            let all = book.perm.len();
            let prediction = bundle.prediction(rung, block)?.map(|view| {
                let rows = view.w.chunks_exact(all).take(before);
                PredictionView {
                    w: rows
                        .flat_map(|row| row.iter().take(rank))
                        .copied()
                        .collect(),
                    b: view.b.iter().take(rank).copied().collect(),
                }
            });
            Ok(BlockTables {
                basis: bundle.basis(&rung.basis, block)?,
                codebook: CodebookView {
                    perm: slice("axes", book.perm, 0..rank)?,
                    first: StageView {
                        dims: slice("groups", book.first.dims, 0..groups)?,
                        words: slice("words", &book.first.words, 0..rank * rung.words)?.into(),
                    },
                    second: Some(StageView {
                        dims: &refined.dims,
                        words: Cow::Borrowed(&refined.words),
                    }),
                    mean: Some(refined.mean()),
                },
                prediction,
            })
        });
    let tables = RungTables {
        bits: RAGGED,
        code_bits: rung.words.trailing_zeros() as u8,
        share: SHARE,
        refined_code_bits: REFINED_BITS,
    };
    Codec::from_tables(&tables, shape.hidden, blocks)
}

impl Refined {
    fn mean(&self) -> MeanView<'_> {
        MeanView {
            bits: Cow::Borrowed(&self.mean_bits),
            steps: Cow::Borrowed(&self.mean_steps),
        }
    }

    /// Words of about the size of a residual: half of some of the first stage's.
    fn new(rank: usize, first: &[f32]) -> Self {
        let mut dims = vec![REFINED_DIM; rank / usize::from(REFINED_DIM)];
        let rest = rank % usize::from(REFINED_DIM);
        dims.extend((rest > 0).then_some(rest as u16));
        let words = first.iter().step_by(7).cycle().take(rank << REFINED_BITS);
        Self {
            dims,
            words: words.map(|word| word / 2.0).collect(),
            // Axes of every width, and some that are not sent.
            mean_bits: (0..rank)
                .map(|axis| (axis % 10).saturating_sub(1) as u8)
                .collect(),
            mean_steps: first
                .iter()
                .step_by(5)
                .cycle()
                .take(rank)
                .map(|word| word.abs() + 0.01)
                .collect(),
        }
    }
}
