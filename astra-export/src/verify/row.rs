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
}

/// A number of devices to measure at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Devices that the tokens are divided among, evenly.
    pub devices: usize,
    /// Inputs to measure on at most, taken evenly from all.
    pub inputs: usize,
}

impl Division {
    /// Measured on all inputs.
    pub fn of_all_inputs(devices: usize) -> Self {
        Self {
            devices,
            inputs: usize::MAX,
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
        let some = Division {
            devices: 2,
            inputs: 4,
        };
        assert_eq!(some.of(&inputs).copied().collect::<Vec<_>>(), [0, 2, 5, 7]);
        let all = Division::of_all_inputs(4);
        assert!(all.of(&inputs).eq(&inputs));
        assert_eq!(all.of::<usize>(&[]).count(), 0);
    }
}
