//! What is measured: rungs at numbers of devices.

use astra_bundle::{Agreement, Bundle};
use serde::Serialize;

/// One rung at one number of devices, means over the inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Bits per token per block; 0 is exact mode.
    pub bits: u16,
    /// Axes coded, mean over the blocks, rounded up; the hidden width in exact mode.
    pub rank: usize,
    /// Agreement, with the number of devices.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// What [`Agreement::quality`] is of, one an input: cosines, or differences of the mean negative logarithm of a token's
    /// probability.
    #[serde(skip)]
    pub scores: Vec<f64>,
    /// Tokens that members missed because frames were lost, summed over members, blocks and inputs.
    #[serde(skip_serializing_if = "is_zero")]
    pub masked_tokens: u64,
}

/// Frames that do not arrive: each of a block is lost for each receiver with the same probability, independently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LostFrames {
    /// The probability.
    pub share: f64,
    /// Decides which.
    pub seed: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A number of devices to measure at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Division {
    /// Devices that the tokens are divided among, evenly.
    pub devices: usize,
    /// Inputs to measure on at most, taken evenly from all.
    pub inputs: usize,
    /// Frames that are lost between them.
    pub lost: LostFrames,
}

impl Division {
    /// Measured on all inputs, with no frame lost.
    pub fn of_all_inputs(devices: usize) -> Self {
        Self::of_some(devices, usize::MAX)
    }

    /// Measured on that number of inputs at most, with no frame lost.
    pub fn of_some(devices: usize, inputs: usize) -> Self {
        Self {
            devices,
            inputs,
            lost: LostFrames::default(),
        }
    }

    /// How many of `inputs` are measured on.
    pub(super) fn count(self, inputs: usize) -> usize {
        self.inputs.min(inputs)
    }

    /// Those of `inputs` that are measured on.
    pub(super) fn of<T>(self, inputs: &[T]) -> impl Iterator<Item = &T> {
        let count = self.count(inputs.len());
        (0..count).filter_map(move |place| inputs.get(place * inputs.len() / count))
    }
}

/// Every rung of a bundle.
pub fn rungs(bundle: &Bundle) -> Vec<u16> {
    let rungs = bundle.manifest().rungs.iter();
    // Bits are 16 bits wide on the wire, and refused beyond with the manifest.
    rungs
        .filter_map(|rung| u16::try_from(rung.bits).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_inputs_are_taken_from_everywhere() {
        let inputs: Vec<usize> = (0..10).collect();
        let some = Division::of_some(2, 4);
        assert_eq!(some.of(&inputs).copied().collect::<Vec<_>>(), [0, 2, 5, 7]);
        let all = Division::of_all_inputs(4);
        assert!(all.of(&inputs).eq(&inputs));
        assert_eq!(all.of::<usize>(&[]).count(), 0);
    }
}
