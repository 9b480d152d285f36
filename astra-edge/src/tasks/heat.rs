//! Colours for values from 0 to 1.

/// Entries of the scale.
const STEPS: usize = 256;

/// A scale of colours from deep violet over red and orange to pale yellow. Lightness rises evenly, so that equal steps of
/// value look equal, in print and to the colour-blind too.
pub(crate) struct Heat {
    colours: [[f32; 3]; STEPS],
}

impl Heat {
    pub(crate) fn new() -> Self {
        Self {
            colours: core::array::from_fn(|step| colour(step as f32 / (STEPS - 1) as f32)),
        }
    }

    /// The colour of a value, clamped to 0 to 1, as sRGB from 0 to 255. NaN counts as 0.
    pub(crate) fn at(&self, value: f32) -> [f32; 3] {
        // `as` takes NaN to 0 and saturates.
        let step = (value * (STEPS - 1) as f32 + 0.5) as usize;
        self.colours
            .get(step.min(STEPS - 1))
            .copied()
            .unwrap_or_default()
    }
}

/// An arc through Oklch: lightness climbs, hue turns from violet by way of red to yellow, chroma swells in the middle.
fn colour(value: f32) -> [f32; 3] {
    let lightness = 0.22 + 0.74 * value;
    let hue = (285.0 + 185.0 * value).to_radians();
    let mut chroma = 0.10 + 0.10 * (core::f32::consts::PI * value).sin();
    loop {
        let rgb = srgb(lightness, chroma, hue);
        if chroma < 0.005 || rgb.iter().all(|channel| (0.0..=1.0).contains(channel)) {
            return rgb.map(|channel| channel.clamp(0.0, 1.0) * 255.0);
        }
        chroma *= 0.97;
    }
}

/// Oklch to sRGB from 0 to 1, outside of which a colour cannot be shown (B. Ottosson, "A perceptual color space for image
/// processing", 2020; transfer function of IEC 61966-2-1).
fn srgb(lightness: f32, chroma: f32, hue: f32) -> [f32; 3] {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
    .map(|linear| {
        if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        }
    })
}

/// Brightness as the eye has it (weights of ITU-R BT.709), in the unit of the channels.
pub(crate) fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oklab_of_known_colours() {
        for (lightness, expected) in [(0.0, 0.0), (1.0, 1.0)] {
            for channel in srgb(lightness, 0.0, 1.0) {
                assert!((channel - expected).abs() < 1e-3, "{channel}");
            }
        }
        // Pure red, green and blue of sRGB in Oklch.
        for ((l, c, h), expected) in [
            ((0.627_96_f32, 0.257_68, 29.234_f32), [1.0, 0.0, 0.0]),
            ((0.866_44, 0.294_83, 142.495), [0.0, 1.0, 0.0]),
            ((0.452_01, 0.313_21, 264.052), [0.0, 0.0, 1.0]),
        ] {
            let found = srgb(l, c, h.to_radians());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 5e-3, "{found} {expected}");
            }
        }
    }

    #[test]
    fn brightness_rises_all_the_way() {
        let heat = Heat::new();
        let steps: Vec<f32> = heat.colours.iter().map(|colour| luma(*colour)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn any_value_has_a_colour() {
        let heat = Heat::new();
        assert_eq!(heat.at(f32::NAN), heat.at(0.0));
        assert_eq!(heat.at(-3.0), heat.at(0.0));
        assert_eq!(heat.at(f32::INFINITY), heat.at(1.0));
        assert_eq!(heat.at(0.5), heat.colours[128]);
    }
}
