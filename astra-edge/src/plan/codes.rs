//! How a rung codes each block, as a profile keeps it.

use astra_wire::{Layout, LayoutError, Refinement};
use serde::{Deserialize, Serialize};

/// What the layouts of a rung's blocks are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RungCodes {
    /// Bits of a first-stage code; 32 in exact mode.
    pub code_bits: u8,
    /// Share of a frame's tokens that are refined, in 1/256; 0 without a second stage.
    pub share: u8,
    /// Bits of a second-stage code; 0 without a second stage.
    pub refined_code_bits: u8,
    /// Codes of each block.
    pub blocks: Vec<BlockCodes>,
}

/// Codes of a token in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCodes {
    /// First-stage codes; in exact mode the channels.
    pub codes: u16,
    /// Second-stage codes of a refined token; 0 without a second stage.
    pub refined: u16,
    /// Bytes of a frame's mean; 0 where frames have none.
    #[serde(default)]
    pub mean: u16,
}

impl RungCodes {
    /// Those of a rung's layouts, of which all have the same bits and share.
    pub fn of(layouts: &[Layout]) -> Self {
        let first = layouts.first();
        let second = layouts.iter().find_map(Layout::refinement);
        Self {
            code_bits: first.map_or(0, Layout::bits),
            share: second.map_or(0, |second| second.share),
            refined_code_bits: second.map_or(0, |second| second.bits),
            blocks: layouts
                .iter()
                .map(|layout| BlockCodes {
                    codes: layout.codes_per_token(),
                    refined: layout.refinement().map_or(0, |second| second.codes),
                    mean: layout.mean(),
                })
                .collect(),
        }
    }

    /// The layouts of the rung of that name, by block.
    ///
    /// # Errors
    /// The codes do not fit the wire format.
    pub fn layouts(&self, rung: u16) -> Result<Vec<Layout>, LayoutError> {
        let layout = |block: &BlockCodes| {
            let refinement = Refinement {
                share: self.share,
                codes: block.refined,
                bits: self.refined_code_bits,
            };
            let refinement = Some(refinement).filter(|second| second.codes > 0);
            Layout::new(rung, block.codes, self.code_bits, refinement)?.with_mean(block.mean)
        };
        self.blocks.iter().map(layout).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_come_back_as_they_were() {
        let refinement = |codes| Refinement {
            share: 13,
            codes,
            bits: 9,
        };
        let layouts = [(8, Some(24)), (30, Some(90)), (5, None)]
            .map(|(codes, second)| Layout::new(160, codes, 8, second.map(refinement)).unwrap());
        let codes = RungCodes::of(&layouts);
        assert_eq!(codes.layouts(160).unwrap(), layouts);
        let text = serde_json::to_string(&codes).unwrap();
        assert_eq!(serde_json::from_str::<RungCodes>(&text).unwrap(), codes);
        let exact = [Layout::new(0, 384, 32, None).unwrap(); 2];
        assert_eq!(RungCodes::of(&exact).layouts(0).unwrap(), exact);
    }
}
