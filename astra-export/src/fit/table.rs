//! The rungs of a bundle where nothing else is asked for, and how their bits are spread over the blocks.

use astra_codec::packed_mean_len;
use astra_wire::Layout;

use super::rungs::{BasisKind, BlockSpec, Refinement, RungSpec};

/// Names of the rungs, bits per token per block, with how each spreads them.
///
/// Fewer axes make the receivers' work per remote token smaller; each rung has as few as its bits can serve.
const TABLE: [(u32, Ramp); 7] = [
    (10, ramp(1.0, [0.25, 0.25], 0.0)),
    (20, ramp(3.0, [0.25, 0.5], 1.0)),
    (40, ramp(3.0, [0.25, 0.5], 1.75)),
    (80, ramp(3.75, [0.25, 0.5], 3.0)),
    (160, ramp(3.75, [0.25, 0.75], 4.0)),
    (320, ramp(3.0, [0.5, 1.0], 4.0)),
    (640, ramp(2.5, [1.0, 1.0], 2.0)),
];
/// Bits of a code, of both stages.
const CODE_BITS: u32 = 8;
/// Share of the tokens that are refined, in 1/256: 5 %.
const SHARE: u8 = 13;
/// Groups of the second stage, in groups of the first.
const REFINED_GROUPS: usize = 3;
/// Most that the means of frames take, in the bits of a rung.
const MEAN_SHARE: f64 = 0.125;
/// Members that the tokens are divided among, for the mean bits.
const MEMBERS: usize = 4;

/// How a rung's groups and axes grow from the first block to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ramp {
    /// Groups of the last block, in those of the first.
    groups: f64,
    /// Axes of the first and of the last block, in the width of a token.
    axes: [f64; 2],
    /// Bits of a frame's mean in each axis.
    mean: f64,
}

const fn ramp(groups: f64, axes: [f64; 2], mean: f64) -> Ramp {
    Ramp { groups, axes, mean }
}

impl RungSpec {
    /// The rungs of a model of `blocks` blocks whose tokens are `hidden` wide, by ascending bits: those that it is wide enough for.
    ///
    /// A rung takes at most the bits of its name where `tokens` tokens are divided evenly among four members.
    pub fn table(blocks: usize, hidden: usize, tokens: usize) -> Vec<Self> {
        let rungs = TABLE.iter();
        rungs
            .filter_map(|&(bits, ramp)| Self::of_ramp(bits, (blocks, hidden, tokens), ramp))
            .collect()
    }

    /// The rung of `bits` bits; `None` if tokens are too narrow for it.
    fn of_ramp(
        bits: u32,
        (blocks, hidden, tokens): (usize, usize, usize),
        ramp: Ramp,
    ) -> Option<Self> {
        let refinement = Refinement {
            share: SHARE,
            code_bits: CODE_BITS,
        };
        let mut spec = Self {
            bits,
            code_bits: CODE_BITS,
            basis: BasisKind::Attention,
            predicted: true,
            refinement: Some(refinement),
            blocks: Vec::new(),
        };
        let most_mean = f64::from(bits) * (tokens / MEMBERS) as f64 * MEAN_SHARE;
        // The most groups whose bits are within the name's.
        let most = blocks * bits as usize / CODE_BITS as usize;
        for groups in (blocks..=most).rev() {
            spec.blocks = blocks_of(groups, blocks, hidden, &ramp, most_mean);
            if spec.mean_bits(tokens)? <= f64::from(bits) {
                break;
            }
        }
        spec.check(blocks, hidden).is_ok().then_some(spec)
    }

    /// Mean bits per token per block, positions included, of `tokens` tokens divided evenly; `None` if no frame can carry them.
    fn mean_bits(&self, tokens: usize) -> Option<f64> {
        let name = u16::try_from(self.bits).ok()?;
        let bits = u8::try_from(self.code_bits).ok()?;
        let mut bytes = 0;
        for block in &self.blocks {
            let codes = u16::try_from(block.groups).ok()?;
            let refinement = self.refinement.map(|refinement| {
                Some(astra_wire::Refinement {
                    share: refinement.share,
                    codes: u16::try_from(block.refined_groups).ok()?,
                    bits: u8::try_from(refinement.code_bits).ok()?,
                })
            });
            let refinement = match refinement {
                Some(refinement) => Some(refinement?),
                None => None,
            };
            let mean = (block.frame_mean_bits > 0).then(|| packed_mean_len(block.frame_mean_bits));
            let mean = u16::try_from(mean.unwrap_or_default()).ok()?;
            let layout = Layout::new(name, codes, bits, refinement).ok()?;
            let layout = layout.with_mean(mean).ok()?;
            for member in 0..MEMBERS {
                let own = tokens / MEMBERS + usize::from(member < tokens % MEMBERS);
                bytes += layout.packed_bytes(u16::try_from(own).ok()?);
            }
        }
        let all = tokens * self.blocks.len();
        Some(8.0 * bytes as f64 / all.max(1) as f64)
    }
}

/// Blocks with that many groups in all, fewer where a block is too narrow, and means of at most `most_mean` bits.
fn blocks_of(
    groups: usize,
    blocks: usize,
    hidden: usize,
    ramp: &Ramp,
    most_mean: f64,
) -> Vec<BlockSpec> {
    let spread = spread(groups, blocks, ramp.groups).into_iter();
    let block = |(block, groups): (usize, usize)| {
        let refined_groups = (groups * REFINED_GROUPS).min(hidden);
        let rank = axes(block, blocks, hidden, ramp.axes).max(refined_groups);
        BlockSpec {
            rank,
            groups,
            refined_groups,
            frame_mean_bits: (rank as f64 * ramp.mean).min(most_mean) as usize,
        }
    };
    spread.enumerate().map(block).collect()
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
            for tokens in [256, 508, 1369] {
                let table = RungSpec::table(blocks, hidden, tokens);
                assert_eq!(table.len(), TABLE.len());
                for rung in table {
                    let mean = rung.mean_bits(tokens).unwrap();
                    let name = f64::from(rung.bits);
                    assert!(mean <= name, "{name}: {mean}");
                    assert!(mean > 0.94 * name - 2.0, "{name}: {mean}");
                }
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
        let table = RungSpec::table(2, 32, 16);
        let bits: Vec<u32> = table.iter().map(|rung| rung.bits).collect();
        assert!(bits.starts_with(&[10, 20, 40]), "{bits:?}");
        assert!(table.iter().all(|rung| rung.check(2, 32).is_ok()));
    }
}
