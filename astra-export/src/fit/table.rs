//! The rungs of a bundle where nothing else is asked for, and how their bits are spread over the blocks.

use super::rungs::{BasisKind, BlockSpec, Refinement, RungSpec};

/// Names of the rungs, bits per token per block, with how each spreads them.
///
/// Fewer axes make the receivers' work per remote token smaller; each rung has as few as its bits can serve.
const TABLE: [(u32, Ramp); 7] = [
    (10, ramp(1.0, [0.25, 0.25])),
    (20, ramp(3.0, [0.25, 0.5])),
    (40, ramp(3.0, [0.25, 0.5])),
    (80, ramp(3.75, [0.25, 0.5])),
    (160, ramp(3.75, [0.25, 0.75])),
    (320, ramp(3.0, [0.5, 1.0])),
    (640, ramp(2.5, [1.0, 1.0])),
];
/// Bits of a code, of both stages.
const CODE_BITS: u32 = 8;
/// Share of the tokens that are refined, in 1/256: 5 %.
const SHARE: u8 = 13;
/// Groups of the second stage, in groups of the first.
const REFINED_GROUPS: usize = 3;
/// Tokens of a frame, for the mean bits.
const FRAME: usize = 64;
/// Bits of a position in such a frame.
const POSITION_BITS: usize = 6;

/// How a rung's groups and axes grow from the first block to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ramp {
    /// Groups of the last block, in those of the first.
    groups: f64,
    /// Axes of the first and of the last block, in the width of a token.
    axes: [f64; 2],
}

const fn ramp(groups: f64, axes: [f64; 2]) -> Ramp {
    Ramp { groups, axes }
}

impl RungSpec {
    /// The rungs of a model of `blocks` blocks whose tokens are `hidden` wide, by ascending bits: those that it is wide enough for.
    pub fn table(blocks: usize, hidden: usize) -> Vec<Self> {
        let rungs = TABLE.iter();
        rungs
            .filter_map(|&(bits, ramp)| Self::of_ramp(bits, blocks, hidden, ramp))
            .collect()
    }

    /// The rung of `bits` bits; `None` if tokens are too narrow for it.
    fn of_ramp(bits: u32, blocks: usize, hidden: usize, ramp: Ramp) -> Option<Self> {
        let refinement = Refinement {
            share: SHARE,
            code_bits: CODE_BITS,
        };
        let total = blocks * bits as usize;
        let mut spec = Self {
            bits,
            code_bits: CODE_BITS,
            basis: BasisKind::Attention,
            predicted: true,
            refinement: Some(refinement),
            blocks: Vec::new(),
        };
        // The most groups whose bits are within the name's.
        let mut groups = total / CODE_BITS as usize;
        while groups >= blocks {
            spec.blocks = spread(groups, blocks, ramp.groups)
                .into_iter()
                .enumerate()
                .map(|(block, groups)| BlockSpec {
                    rank: axes(block, blocks, hidden, ramp.axes),
                    groups,
                    refined_groups: groups * REFINED_GROUPS,
                })
                .collect();
            if spec.total_bits() <= total as f64 {
                break;
            }
            groups -= 1;
        }
        for block in &mut spec.blocks {
            block.refined_groups = block.refined_groups.min(hidden);
            block.rank = block.rank.max(block.refined_groups);
        }
        spec.check(blocks, hidden).is_ok().then_some(spec)
    }

    /// Bits of a token in all blocks, mean over the tokens of a frame.
    fn total_bits(&self) -> f64 {
        let bits = |block: &BlockSpec| {
            let first = block.groups * self.code_bits as usize;
            let refined = self.refinement.map_or(0, |refinement| {
                let each = block.refined_groups * refinement.code_bits as usize + POSITION_BITS;
                refinement.tokens(FRAME) * each
            });
            first as f64 + refined as f64 / FRAME as f64
        };
        self.blocks.iter().map(bits).sum()
    }
}

/// `total` groups over blocks, each with at least one, growing geometrically to `ratio` times those of the first block.
fn spread(total: usize, blocks: usize, ratio: f64) -> Vec<usize> {
    let share = |block: usize| ratio.powf(block as f64 / (blocks.max(2) - 1) as f64);
    let all: f64 = (0..blocks).map(share).sum();
    let exact = |block: usize| total as f64 * share(block) / all;
    let mut groups: Vec<usize> = (0..blocks).map(|b| (exact(b) as usize).max(1)).collect();
    // What rounding left over goes to those that lost most by it.
    let left = total.saturating_sub(groups.iter().sum());
    let mut order: Vec<usize> = (0..blocks).collect();
    order.sort_by(|&a, &b| exact(b).fract().total_cmp(&exact(a).fract()));
    for block in order.into_iter().take(left) {
        if let Some(groups) = groups.get_mut(block) {
            *groups += 1;
        }
    }
    groups
}

/// Axes of a block, a multiple of 16.
fn axes(block: usize, blocks: usize, hidden: usize, [first, last]: [f64; 2]) -> usize {
    let at = block as f64 / (blocks.max(2) - 1) as f64;
    let axes = hidden as f64 * (first + (last - first) * at);
    ((axes / 16.0).round() as usize * 16).clamp(1, hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_at_most_those_of_the_name_and_nearly_all_of_them() {
        for (blocks, hidden) in [(12, 384), (30, 576), (6, 384), (24, 2048)] {
            let table = RungSpec::table(blocks, hidden);
            assert_eq!(table.len(), TABLE.len());
            for rung in table {
                let mean = rung.total_bits() / blocks as f64;
                let name = f64::from(rung.bits);
                assert!(mean <= name, "{name}: {mean}");
                assert!(mean > 0.95 * name - 2.0, "{name}: {mean}");
            }
        }
    }

    #[test]
    fn groups_grow_with_the_blocks() {
        let groups = spread(210, 12, 3.75);
        assert_eq!(groups.iter().sum::<usize>(), 210);
        assert!(groups.is_sorted());
        let ratio = groups[11] as f64 / groups[0] as f64;
        assert!((3.3..4.2).contains(&ratio), "{groups:?}");
    }

    #[test]
    fn a_narrow_model_keeps_the_rungs_it_can_fill() {
        let table = RungSpec::table(2, 32);
        let bits: Vec<u32> = table.iter().map(|rung| rung.bits).collect();
        assert!(bits.starts_with(&[10, 20, 40]), "{bits:?}");
        assert!(table.iter().all(|rung| rung.check(2, 32).is_ok()));
    }
}
