//! The Inferno colour map, for values from 0 to 1.

/// Entries of the map.
const STEPS: usize = 256;

/// From black over purple, red and orange to pale yellow (N. Smith and S. van der Walt, matplotlib). Perceptually uniform: lightness
/// rises evenly, also in print and for colour-blind readers.
pub(crate) struct Inferno {
    colours: [[f32; 3]; STEPS],
}

impl Inferno {
    pub(crate) fn new() -> Self {
        Self {
            colours: core::array::from_fn(|step| {
                let colour = colorous::INFERNO.eval_rational(step, STEPS);
                colour.as_array().map(f32::from)
            }),
        }
    }

    /// The colour of a value, clamped to 0 to 1, as sRGB from 0 to 255. NaN counts as 0.
    pub(crate) fn at(&self, value: f32) -> [f32; 3] {
        // `as` converts NaN to 0 and saturates.
        let step = (value * (STEPS - 1) as f32 + 0.5) as usize;
        self.colours
            .get(step.min(STEPS - 1))
            .copied()
            .unwrap_or_default()
    }
}

/// Perceived brightness (weights of ITU-R BT.709), in the unit of the channels.
pub(crate) fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle_are_those_of_matplotlib() {
        let inferno = Inferno::new();
        for (value, expected) in [
            (0.0, [0, 0, 4]),
            (0.5, [188, 55, 84]),
            (1.0, [252, 255, 164]),
        ] {
            // The tables of the two libraries differ by rounding.
            for (found, expected) in inferno.at(value).into_iter().zip(expected) {
                assert!((found - expected as f32).abs() <= 1.0, "{found} {expected}");
            }
        }
    }

    #[test]
    fn brightness_rises_all_the_way() {
        let inferno = Inferno::new();
        // Luminance: channels are rounded to 8 bits, which is more than a step of `luma` where they are small.
        let linear = |channel: f32| match channel / 255.0 {
            dark @ ..=0.040_45 => dark / 12.92,
            bright => ((bright + 0.055) / 1.055).powf(2.4),
        };
        let steps = inferno.colours.map(|colour| luma(colour.map(linear)));
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn any_value_has_a_colour() {
        let inferno = Inferno::new();
        assert_eq!(inferno.at(f32::NAN), inferno.at(0.0));
        assert_eq!(inferno.at(-3.0), inferno.at(0.0));
        assert_eq!(inferno.at(f32::INFINITY), inferno.at(1.0));
        assert_eq!(inferno.at(0.5), inferno.colours[128]);
    }
}
