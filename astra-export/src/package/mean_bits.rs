//! What a rung really takes on the network.

use astra_bundle::{Rung, RungBlock};
use astra_codec::packed_mean_len;
use astra_wire::{Layout, LayoutError, Refinement};

/// Members the tokens are divided among, evenly.
pub const MEMBERS: u16 = 4;

/// Mean bits per token per block that a rung takes where `tokens` tokens are divided evenly among [`MEMBERS`] members: codes of
/// both stages and positions of refined tokens, each packed to whole bytes in a frame, without the headers. 0 without blocks.
///
/// # Errors
/// No frame can carry the codes of a block.
pub fn mean_bits(rung: &Rung, tokens: u16) -> Result<f64, LayoutError> {
    let member = |i| tokens / MEMBERS + u16::from(i < tokens % MEMBERS);
    let mut bytes = 0;
    for block in &rung.blocks {
        let layout = layout(rung, block)?;
        bytes += (0..MEMBERS)
            .map(member)
            .map(|t| layout.packed_bytes(t))
            .sum::<u64>();
    }
    let tokens = usize::from(tokens) * rung.blocks.len();
    Ok(8.0 * bytes as f64 / tokens.max(1) as f64)
}

/// How codes of a block lie in frames.
fn layout(rung: &Rung, block: &RungBlock) -> Result<Layout, LayoutError> {
    let refinement = rung.refinement.map(|refinement| Refinement {
        share: refinement.share,
        codes: clamp(block.refined_groups),
        bits: narrow(refinement.code_bits),
    });
    let name = u16::try_from(rung.bits).unwrap_or(u16::MAX);
    let groups = clamp(block.groups);
    let layout = Layout::new(name, groups, narrow(rung.code_bits), refinement)?;
    let mean = (block.frame_mean_bits > 0).then(|| packed_mean_len(block.frame_mean_bits));
    layout.with_mean(clamp(mean.unwrap_or_default()))
}

/// A number of groups; the manifest is refused with more than a `u16` holds.
fn clamp(groups: usize) -> u16 {
    u16::try_from(groups).unwrap_or(u16::MAX)
}

/// Bits of a code; what no code has is refused by the layout.
fn narrow(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(groups: &[(usize, usize)], share: u8) -> Rung {
        let block = |&(groups, refined_groups)| RungBlock {
            rank: 384,
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
            refinement: (share > 0).then_some(astra_bundle::Refinement {
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
            assert_eq!(mean_bits(&rung(&[(20, 0)], 0), tokens), Ok(160.0));
            assert_eq!(mean_bits(&rung(&[(10, 0), (20, 0)], 0), tokens), Ok(120.0));
        }
        assert_eq!(mean_bits(&rung(&[], 0), 256), Ok(0.0));
    }

    /// 64 tokens of a member are two frames of 32; in each (32 * 13 + 128) / 256 = 2 are refined, their positions of 5 bits
    /// packed to 2 bytes.
    #[test]
    fn a_second_stage_adds_its_codes_and_positions() {
        let found = mean_bits(&rung(&[(20, 60)], 13), 256);
        assert_eq!(found, Ok(160.0 + 8.0 * (2.0 + 2.0 * 60.0) / 32.0));
        // A token that no frame holds is cut into parts, without a second stage.
        assert_eq!(mean_bits(&rung(&[(2000, 2000)], 64), 8), Ok(16_000.0));
    }

    #[test]
    fn what_no_frame_carries_is_an_error() {
        let wide = Rung {
            code_bits: 17,
            ..rung(&[(20, 0)], 0)
        };
        assert!(mean_bits(&wide, 256).is_err());
    }
}
