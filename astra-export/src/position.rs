//! Position tables at another grid than the one a model was trained with.
//!
//! All sources resize alike: Hugging Face models call PyTorch's bicubic `interpolate` with `align_corners=False`, and ONNX
//! exports contain the same as `Resize` with mode `cubic`, `cubic_coeff_a` -0.75 and `half_pixel` coordinates. The kernel is
//! that of Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), equation 15 with a = -0.75; it is not
//! widened when the grid shrinks, and the border is repeated.

/// Sharpness of the kernel.
const A: f64 = -0.75;

/// How a table is brought to another grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resizing {
    /// By the ratio of the new side, plus this, to the old one: 0 for Hugging Face models, 0.1 in DINOv2's own code
    /// (`interpolate_offset` of `facebookresearch/dinov2`).
    Offset(f64),
    /// Not at all: it may have been resized before, from a table that is lost.
    None,
}

/// A learned vector for every place of a square grid of patches.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionTable {
    side: usize,
    channels: usize,
    /// `[side * side, channels]`
    values: Vec<f32>,
    resizing: Resizing,
}

impl PositionTable {
    /// A table of `values` `[side * side, channels]`, or `None` if they are not square or not whole rows.
    pub fn new(values: Vec<f32>, channels: usize) -> Option<Self> {
        let rows = values.len().checked_div(channels)?;
        let side = rows.isqrt();
        let whole = side > 0 && side * side == rows && rows * channels == values.len();
        whole.then_some(Self {
            side,
            channels,
            values,
            resizing: Resizing::Offset(0.0),
        })
    }

    /// The same table, resized in another way.
    pub fn with_resizing(self, resizing: Resizing) -> Self {
        Self { resizing, ..self }
    }

    /// Whether there is a table for a grid of `side` times `side`.
    pub fn reaches(&self, side: usize) -> bool {
        side == self.side || self.resizing != Resizing::None
    }

    /// Rows and columns of the grid.
    pub fn side(&self) -> usize {
        self.side
    }

    /// `[side * side, channels]`
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The table at a grid of `side` times `side`; the same one if that is its own.
    pub fn resized(&self, side: usize) -> Self {
        if side == self.side {
            return self.clone();
        }
        let offset = match self.resizing {
            Resizing::Offset(offset) => offset,
            Resizing::None => 0.0,
        };
        let factor = (side as f64 + offset) / self.side as f64;
        let taps: Vec<[Tap; 4]> = (0..side).map(|to| taps(to, factor, self.side)).collect();
        let mut values = Vec::with_capacity(side * side * self.channels);
        let mut sum = vec![0f64; self.channels];
        for vertical in &taps {
            for horizontal in &taps {
                sum.fill(0.0);
                for y in vertical {
                    for x in horizontal {
                        self.accumulate(&mut sum, y.from * self.side + x.from, y.weight * x.weight);
                    }
                }
                values.extend(sum.iter().map(|&value| value as f32));
            }
        }
        Self {
            side,
            channels: self.channels,
            values,
            resizing: self.resizing,
        }
    }

    fn accumulate(&self, sum: &mut [f64], row: usize, weight: f64) {
        let row = self.values.chunks_exact(self.channels).nth(row);
        for (sum, value) in sum.iter_mut().zip(row.unwrap_or_default()) {
            *sum += weight * f64::from(*value);
        }
    }
}

/// One of the four places a new place is mixed from.
#[derive(Debug, Clone, Copy)]
struct Tap {
    from: usize,
    weight: f64,
}

/// Where place `to` of a grid `factor` times as fine looks among `old` places.
fn taps(to: usize, factor: f64, old: usize) -> [Tap; 4] {
    let at = (to as f64 + 0.5) / factor - 0.5;
    let below = at.floor();
    let last = old.saturating_sub(1) as f64;
    [-1.0, 0.0, 1.0, 2.0].map(|step| Tap {
        from: (below + step).clamp(0.0, last) as usize,
        weight: kernel((at - below - step).abs()),
    })
}

fn kernel(distance: f64) -> f64 {
    let d = distance;
    if d <= 1.0 {
        ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
    } else {
        ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_square_grid() {
        assert!(PositionTable::new(vec![0.0; 12], 3).is_some());
        for (values, channels) in [(0, 3), (9, 3), (13, 3), (12, 0), (24, 3)] {
            assert_eq!(PositionTable::new(vec![0.0; values], channels), None);
        }
    }

    #[test]
    fn its_own_grid_is_untouched() {
        let table = PositionTable::new((0..18).map(|v| v as f32).collect(), 2).unwrap();
        assert_eq!(table.resized(3), table);
    }

    /// From 2 places to 4, the second new place lies at 0.25 between the old ones. The kernel at 1.25, 0.25, 0.75, 1.75 is
    /// -27/256, 225/256, 67/256, -9/256 (Keys' polynomial by hand), and the border is repeated.
    #[test]
    fn weights_by_hand() {
        let table = PositionTable::new(vec![0.0, 1.0, 0.0, 1.0], 1).unwrap();
        let wide = table.resized(4);
        let towards_one = (67.0 - 9.0) / 256.0;
        assert!((wide.values()[1] - towards_one).abs() < 1e-7, "{wide:?}");
        for row in wide.values().chunks(4) {
            assert!((row[0] + row[3] - 1.0).abs() < 1e-6, "symmetric: {row:?}");
            assert!((row[1] + row[2] - 1.0).abs() < 1e-6, "symmetric: {row:?}");
        }
    }

    #[test]
    fn a_constant_stays_constant() {
        let table = PositionTable::new(vec![2.5; 25], 1).unwrap();
        for side in [1, 2, 4, 7, 16] {
            let resized = table.resized(side);
            assert_eq!(resized.values().len(), side * side);
            assert!(resized.values().iter().all(|v| (v - 2.5).abs() < 1e-6));
        }
    }
}
