//! What a rung really takes on the network.

use astra_bundle::{Refinement, Rung, RungBlock};
use astra_wire::{MAX_BODY, MAX_HEADER};

/// Members the tokens are divided among, evenly.
pub const MEMBERS: usize = 4;

/// Mean bits per token per block that a rung takes where `tokens` tokens are divided evenly among [`MEMBERS`] members: codes of
/// both stages and positions of the refined tokens, without the headers of frames. 0 without blocks.
pub fn mean_bits(rung: &Rung, tokens: usize) -> f64 {
    let members = parts(tokens, MEMBERS);
    let of_block = |block: &RungBlock| -> usize {
        let frames = Frames { rung, block };
        members.clone().map(|tokens| frames.bits(tokens)).sum()
    };
    let bits: usize = rung.blocks.iter().map(of_block).sum();
    bits as f64 / (tokens * rung.blocks.len()).max(1) as f64
}

/// `tokens` in `count` parts that differ by one at most.
fn parts(tokens: usize, count: usize) -> impl Iterator<Item = usize> + Clone {
    (0..count).map(move |part| tokens / count + usize::from(part < tokens % count))
}

/// The frames of a block, as WIRE.md lays them out.
struct Frames<'a> {
    rung: &'a Rung,
    block: &'a RungBlock,
}

impl Frames<'_> {
    /// Bits of the codes and positions of `tokens` tokens of a member.
    fn bits(&self, tokens: usize) -> usize {
        let most = (1..=tokens).take_while(|&tokens| self.bytes(tokens) <= MAX_BODY - MAX_HEADER);
        match most.last() {
            Some(most) => {
                let frames = parts(tokens, tokens.div_ceil(most));
                frames
                    .map(|tokens| self.parts(tokens).iter().sum::<usize>())
                    .sum()
            }
            // Tokens that are cut into parts have no second stage.
            None => tokens * self.first_bits(),
        }
    }

    fn first_bits(&self) -> usize {
        self.block.groups * self.rung.code_bits as usize
    }

    /// Bits of the parts of a frame: codes, positions, codes of refined tokens.
    fn parts(&self, tokens: usize) -> [usize; 3] {
        let refined = |of: &Refinement| {
            let refined = of.tokens(tokens);
            let position = tokens.next_power_of_two().ilog2() as usize;
            let codes = self.block.refined_groups * of.code_bits as usize;
            [refined * position, refined * codes]
        };
        let [positions, second] = self.rung.refinement.as_ref().map_or([0, 0], refined);
        [tokens * self.first_bits(), positions, second]
    }

    fn bytes(&self, tokens: usize) -> usize {
        let parts = self.parts(tokens).into_iter();
        parts.map(|bits| bits.div_ceil(8)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(groups: &[(usize, usize)], share: u8) -> Rung {
        let block = |&(groups, refined_groups)| RungBlock {
            rank: 384,
            groups,
            refined_groups,
            codebooks: 0,
        };
        Rung {
            bits: 160,
            basis: String::new(),
            code_bits: 8,
            words: 256,
            refinement: (share > 0).then_some(Refinement {
                share,
                code_bits: 8,
                words: 256,
            }),
            blocks: groups.iter().map(block).collect(),
            prediction: vec![],
            mean_bits: None,
            agreement: vec![],
            calibration_note: None,
        }
    }

    #[test]
    fn one_stage_takes_its_codes() {
        for tokens in [1, 4, 49, 256, 1369] {
            assert_eq!(mean_bits(&rung(&[(20, 0)], 0), tokens), 160.0);
            assert_eq!(mean_bits(&rung(&[(10, 0), (20, 0)], 0), tokens), 120.0);
        }
        assert_eq!(mean_bits(&rung(&[], 0), 256), 0.0);
    }

    /// 64 tokens of a member: frames of 32, in each (32 * 13 + 128) / 256 = 2 refined, positions of 5 bits.
    #[test]
    fn a_second_stage_adds_its_codes_and_positions() {
        let found = mean_bits(&rung(&[(20, 60)], 13), 256);
        assert_eq!(found, 160.0 + 2.0 * (5.0 + 480.0) / 32.0);
        // A token that no frame holds is cut into parts.
        assert_eq!(mean_bits(&rung(&[(2000, 2000)], 64), 8), 16_000.0);
    }
}
