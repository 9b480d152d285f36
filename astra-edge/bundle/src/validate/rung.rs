//! Which rungs are possible.

use crate::checks::{in_range, require};
use crate::error::Invalid;
use crate::layout::ALIGN;
use crate::manifest::Basis;
use crate::quality::Quality;
use crate::rung::{Agreement, Refinement, Rung, RungBlock};
use crate::shape::Shape;

/// A code is at most 16 bits on the wire.
const MAX_CODE_BITS: u32 = 16;
/// Most bits of an axis of a frame's mean.
const MAX_MEAN_BITS: usize = 8;
/// A rung's name is 16 bits on the wire.
const MAX_BITS: u32 = 65_535;

impl Rung {
    pub(super) fn validate(
        &self,
        field: &str,
        bases: &[Basis],
        shape: &Shape,
    ) -> Result<(), Invalid> {
        let at = |name| format!("{field}.{name}");
        require(
            (1..=MAX_BITS).contains(&self.bits),
            at("bits"),
            self.bits,
            format!("1 to {MAX_BITS}"),
        )?;
        let Some(basis) = bases.iter().find(|basis| basis.name == self.basis) else {
            let names: Vec<_> = bases.iter().map(|basis| &basis.name).collect();
            return Err(Invalid::new(
                at("basis"),
                format!("{:?}", self.basis),
                format!("one of {names:?}"),
            ));
        };
        validate_words(field, self.code_bits, self.words)?;
        if let Some(refinement) = &self.refinement {
            refinement.validate(&at("refinement"))?;
        }
        self.validate_blocks(field, basis, shape)?;
        if !self.prediction.is_empty() {
            self.validate_prediction(field, basis, shape)?;
        }
        finite(at("mean_bits"), self.mean_bits.unwrap_or_default())?;
        for (i, agreement) in self.agreement.iter().enumerate() {
            agreement.validate(&format!("{field}.agreement[{i}]"))?;
        }
        Ok(())
    }

    fn validate_blocks(&self, field: &str, basis: &Basis, shape: &Shape) -> Result<(), Invalid> {
        let blocks = self.blocks.len();
        require(
            blocks == shape.blocks,
            format!("{field}.blocks"),
            format!("{blocks} blocks"),
            shape.blocks,
        )?;
        // A basis has as many blocks, or was refused before.
        for (b, (block, axes)) in self.blocks.iter().zip(&basis.blocks).enumerate() {
            block.validate(
                &format!("{field}.blocks[{b}]"),
                axes.rank,
                self.refinement.is_some(),
            )?;
        }
        Ok(())
    }

    fn validate_prediction(
        &self,
        field: &str,
        basis: &Basis,
        shape: &Shape,
    ) -> Result<(), Invalid> {
        for (b, (block, axes)) in self.blocks.iter().zip(&basis.blocks).enumerate() {
            require(
                block.rank == axes.rank,
                format!("{field}.blocks[{b}].rank"),
                block.rank,
                format!(
                    "{}, all axes of the basis of a rung that predicts",
                    axes.rank
                ),
            )?;
        }
        let predicted = self.prediction.len();
        require(
            predicted + 1 == shape.blocks,
            format!("{field}.prediction"),
            format!("{predicted} blocks"),
            format!("{}, every block but the first", shape.blocks - 1),
        )?;
        let ranks = self.blocks.iter().map(|block| block.rank);
        let pairs = ranks.clone().zip(ranks.skip(1));
        for (b, (block, (before, rank))) in self.prediction.iter().zip(pairs).enumerate() {
            let at = |name| format!("{field}.prediction[{b}].{name}");
            block.w.validate(&at("w"), &[before, rank])?;
            block.b.validate(&at("b"), &[rank])?;
        }
        Ok(())
    }
}

fn validate_words(field: &str, code_bits: u32, words: usize) -> Result<(), Invalid> {
    require(
        (1..=MAX_CODE_BITS).contains(&code_bits),
        format!("{field}.code_bits"),
        code_bits,
        format!("1 to {MAX_CODE_BITS}"),
    )?;
    let expected = 1usize << code_bits;
    require(
        words == expected,
        format!("{field}.words"),
        words,
        format!("{expected}, 2 to the code_bits"),
    )
}

impl Refinement {
    fn validate(&self, field: &str) -> Result<(), Invalid> {
        require(
            (1..=Self::MAX_SHARE).contains(&self.share),
            format!("{field}.share"),
            self.share,
            format!("1 to {}", Self::MAX_SHARE),
        )?;
        validate_words(field, self.code_bits, self.words)
    }
}

impl RungBlock {
    fn validate(&self, field: &str, axes: usize, refined: bool) -> Result<(), Invalid> {
        in_range(format!("{field}.rank"), self.rank, 1..=axes)?;
        in_range(format!("{field}.groups"), self.groups, 1..=self.rank)?;
        let second = format!("{field}.refined_groups");
        if refined {
            in_range(second, self.refined_groups, 1..=self.rank)?;
        } else {
            require(
                self.refined_groups == 0,
                second,
                self.refined_groups,
                "0 in a rung without refinement",
            )?;
        }
        let most = self.rank.saturating_mul(MAX_MEAN_BITS);
        in_range(
            format!("{field}.frame_mean_bits"),
            self.frame_mean_bits,
            0..=most,
        )?;
        require(
            self.codebooks.is_multiple_of(ALIGN),
            format!("{field}.codebooks"),
            self.codebooks,
            format!("a multiple of {ALIGN}"),
        )
    }
}

impl Agreement {
    fn validate(&self, field: &str) -> Result<(), Invalid> {
        let measures = [
            ("cls_cosine", self.cls_cosine),
            ("patch_cosine", self.patch_cosine),
            ("map_mae", self.map_mae),
            ("map_max", self.map_max),
            ("top1", self.top1),
            ("perplexity", self.perplexity),
            ("perplexity_exact", self.perplexity_exact),
            ("embedding_cosine", self.embedding_cosine),
        ];
        for (name, value) in measures {
            finite(format!("{field}.{name}"), value.unwrap_or_default())?;
        }
        match &self.quality {
            Some(quality) => quality.validate(&format!("{field}.quality")),
            None => Ok(()),
        }
    }
}

impl Quality {
    fn validate(&self, field: &str) -> Result<(), Invalid> {
        let Self {
            mean, low, high, ..
        } = *self;
        for (name, value) in [("mean", mean), ("low", low), ("high", high)] {
            finite(format!("{field}.{name}"), value)?;
        }
        require(
            low <= high,
            format!("{field}.low"),
            low,
            format!("at most {high}, the upper end of the interval"),
        )?;
        require(
            (low..=high).contains(&mean),
            format!("{field}.mean"),
            mean,
            format!("{low} to {high}, its interval"),
        )
    }
}

fn finite(field: String, value: f64) -> Result<(), Invalid> {
    require(value.is_finite(), field, value, "a finite number")
}
