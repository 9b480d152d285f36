//! Inputs to rows.

use astra_bundle::Family;
use astra_model::engine::Input;
use candle_core::{DType, Device, Tensor};

use super::Transformer;
use super::division::Division;
use super::reader::GraphWeights;
use crate::tune::TuneError;
use crate::tune::ops::Norm;

/// The first step of a model.
#[derive(Debug)]
pub(super) enum Embedding {
    Pixels {
        /// `[pixels, D]`
        projection: Tensor,
        /// `[T, D]`
        positions: Tensor,
        /// `[1, D]`
        class: Tensor,
    },
    Ids {
        /// `[vocab, D]`
        table: Tensor,
        /// `[positions, D]`, where positions are learned.
        places: Option<Tensor>,
        norm: Option<Norm>,
    },
}

impl Embedding {
    pub(super) fn read(embed: &GraphWeights<'_>, family: Family) -> Result<Self, TuneError> {
        if family == Family::Vit {
            return Ok(Self::Pixels {
                projection: embed.tensor("projection.weight")?,
                positions: embed.tensor("positions")?,
                class: embed.tensor("class_token")?,
            });
        }
        let places = embed.has("places").then(|| embed.tensor("places"));
        let norm = (family == Family::Bert).then(|| embed.norm("norm"));
        Ok(Self::Ids {
            table: embed.tensor("embedding")?,
            places: places.transpose()?,
            norm: norm.transpose()?,
        })
    }
}

impl Transformer {
    /// Rows of the first block, `[class rows + tokens, D]`.
    ///
    /// # Errors
    /// The input is of another kind or length.
    pub(in crate::tune) fn embed(
        &self,
        input: Input<'_>,
        division: &Division,
    ) -> candle_core::Result<Tensor> {
        match (&self.embedding, input) {
            (
                Embedding::Pixels {
                    projection,
                    positions,
                    class,
                },
                Input::Pixels(pixels),
            ) => {
                let (width, tokens) = (projection.dim(0)?, division.tokens());
                let pixels = Tensor::from_slice(pixels, (tokens, width), &Device::Cpu)?;
                let tokens = pixels.to_dtype(DType::F32)?.matmul(projection)?;
                let tokens = (tokens + positions)?;
                let class = class.repeat((division.copies(), 1))?;
                Tensor::cat(&[class, tokens], 0)
            }
            (
                Embedding::Ids {
                    table,
                    places,
                    norm,
                },
                Input::Ids(ids),
            ) => {
                let ids = Tensor::from_slice(ids, ids.len(), &Device::Cpu)?;
                let mut rows = table.index_select(&ids, 0)?;
                if let Some(places) = places {
                    rows = (rows + places.narrow(0, 0, ids.dim(0)?)?)?;
                }
                match norm {
                    Some(norm) => norm.apply(&rows),
                    None => Ok(rows),
                }
            }
            _ => candle_core::bail!("input: found another kind than the model takes"),
        }
    }
}
