//! How rungs code their blocks, in short.

use astra_bundle::Rung;
use serde::Serialize;

/// What a rung does in its blocks, from the least to the most.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct RungSummary {
    /// Its name.
    bits: u32,
    /// Bits per token per block it takes on the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_bits: Option<f64>,
    rank: Span,
    groups: Span,
    words: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    refinement: Option<RefinementSummary>,
}

/// What blocks have, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Span {
    least: usize,
    most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct RefinementSummary {
    /// Share of the tokens that are refined, 0 to 1.
    share: f64,
    groups: Span,
    words: usize,
    /// Groups of the second stage over those of the first, of all blocks.
    groups_factor: f64,
}

impl RungSummary {
    /// Heading of [`columns`](Self::columns).
    pub(super) const HEADING: &str = " bits    real     rank  groups  words  refined";

    pub(super) fn of(rung: &Rung) -> Self {
        let blocks = rung.blocks.iter();
        let groups = blocks.clone().map(|block| block.groups);
        let refined = blocks.clone().map(|block| block.refined_groups);
        Self {
            bits: rung.bits,
            mean_bits: rung.mean_bits,
            rank: Span::of(blocks.map(|block| block.rank)),
            groups: Span::of(groups.clone()),
            words: rung.words,
            refinement: rung.refinement.map(|refinement| RefinementSummary {
                share: f64::from(refinement.share) / 256.0,
                groups: Span::of(refined.clone()),
                words: refinement.words,
                groups_factor: refined.sum::<usize>() as f64 / groups.sum::<usize>().max(1) as f64,
            }),
        }
    }

    /// As columns of a table.
    pub(super) fn columns(&self) -> String {
        let real = self
            .mean_bits
            .map_or("-".to_owned(), |bits| format!("{bits:.1}"));
        let refined = self.refinement.map_or("-".to_owned(), |of| of.text());
        format!(
            "{:>5} {real:>7} {:>8} {:>7} {:>6} {refined:>8}",
            self.bits,
            self.rank.text(),
            self.groups.text(),
            self.words,
        )
    }
}

impl Span {
    fn of(values: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            least: values.clone().min().unwrap_or_default(),
            most: values.max().unwrap_or_default(),
        }
    }

    /// `96..288`, or one number where the blocks are the same.
    fn text(self) -> String {
        match self {
            Self { least, most } if least == most => most.to_string(),
            Self { least, most } => format!("{least}..{most}"),
        }
    }
}

impl RefinementSummary {
    /// `5 % x 3`: that share of the tokens has three times the groups.
    fn text(self) -> String {
        let factor = (self.groups_factor * 10.0).round() / 10.0;
        format!("{:.0} % x {factor}", self.share * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use astra_bundle::{Refinement, RungBlock};
    use serde_json::json;

    use super::*;

    fn rung(blocks: &[[usize; 3]], share: Option<u8>) -> Rung {
        let block = |&[rank, groups, refined_groups]: &[usize; 3]| RungBlock {
            rank,
            groups,
            refined_groups,
            frame_mean_bits: 0,
            codebooks: 0,
        };
        Rung {
            bits: 160,
            basis: String::new(),
            code_bits: 8,
            words: 256,
            refinement: share.map(|share| Refinement {
                share,
                code_bits: 8,
                words: 256,
            }),
            blocks: blocks.iter().map(block).collect(),
            prediction: vec![],
            mean_bits: share.map(|_| 161.75),
            agreement: vec![],
            calibration_note: None,
        }
    }

    #[test]
    fn blocks_that_differ_are_told_by_least_and_most() {
        let summary = RungSummary::of(&rung(
            &[[96, 8, 25], [288, 30, 89], [192, 20, 60]],
            Some(15),
        ));
        let columns = "  160   161.8  96..288   8..30    256  6 % x 3";
        assert_eq!(summary.columns(), columns);
        let places = |text: &str| text.split_whitespace().count();
        assert_eq!(
            places(RungSummary::HEADING),
            places(columns) - 3,
            "6 % x 3 is one column"
        );
        assert_eq!(
            serde_json::to_value(&summary).unwrap(),
            json!({
                "bits": 160,
                "mean_bits": 161.75,
                "rank": {"least": 96, "most": 288},
                "groups": {"least": 8, "most": 30},
                "words": 256,
                "refinement": {
                    "share": 0.05859375,
                    "groups": {"least": 25, "most": 89},
                    "words": 256,
                    "groups_factor": 3.0,
                },
            })
        );
    }

    #[test]
    fn blocks_that_are_the_same_are_told_by_one_number() {
        let summary = RungSummary::of(&rung(&[[96, 20, 0]; 2], None));
        assert_eq!(
            summary.columns(),
            "  160       -       96      20    256        -"
        );
        assert_eq!(
            serde_json::to_value(&summary).unwrap().get("refinement"),
            None
        );
    }
}
