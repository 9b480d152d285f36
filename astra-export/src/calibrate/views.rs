//! Photographs as many views.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use astra_bundle::ImageInput;
use astra_model::tasks::image::{ImageError, decode, prepare};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, RgbImage, imageops};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::CalibrateError;
use crate::photographs::{self, PhotographError};

/// Views to come to at least, however few photographs there are.
const VIEWS: usize = 96;
/// Smallest side of a crop, as a share of the photograph's.
const SMALLEST: f64 = 0.5;

/// Photographs that views are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Photographs<'a> {
    paths: &'a [PathBuf],
}

/// One of them.
pub(super) struct Photograph<'a> {
    path: &'a Path,
    index: usize,
    views: usize,
}

impl<'a> Photographs<'a> {
    pub(super) fn new(paths: &'a [PathBuf]) -> Self {
        Self { paths }
    }

    /// Views of all photographs together: each whole, and crops where these are fewer than [`VIEWS`].
    pub(super) fn views(self) -> usize {
        match self.paths.len() {
            0 => 0,
            count => count.max(VIEWS),
        }
    }

    pub(super) fn each(self) -> impl Iterator<Item = Photograph<'a>> {
        let (views, count) = (self.views(), self.paths.len());
        let paths = self.paths.iter().enumerate();
        paths.map(move |(index, path)| Photograph {
            path,
            index,
            views: (index + 1) * views / count - index * views / count,
        })
    }
}

impl Photograph<'_> {
    /// Pixels of each view as the model takes them: the photograph whole, then crops of it.
    pub(super) fn views(
        self,
        image: &ImageInput,
        seed: u64,
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, CalibrateError>>, CalibrateError> {
        let bytes = photographs::read(self.path)?;
        let refuse = PhotographError::of(self.path);
        let original = decode(&bytes).map_err(&refuse)?;
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(self.index as u64));
        Ok((0..self.views).map(move |view| {
            let pixels = match view {
                0 => prepare(&bytes, image).map(|whole| whole.pixels),
                _ => crop(&original, &mut rng).and_then(|png| Ok(prepare(&png, image)?.pixels)),
            };
            Ok(pixels.map_err(&refuse)?)
        }))
    }
}

/// A part of a photograph with its proportions, mirrored as often as not, as a file: views then go through the same door as
/// the photographs of requests.
pub(crate) fn crop(original: &RgbImage, rng: &mut StdRng) -> Result<Vec<u8>, ImageError> {
    let share = rng.random_range(SMALLEST..1.0);
    let part = |side: u32| ((f64::from(side) * share).round() as u32).clamp(1, side);
    let (width, height) = (part(original.width()), part(original.height()));
    let x = rng.random_range(0..=original.width() - width);
    let y = rng.random_range(0..=original.height() - height);
    let mut crop = imageops::crop_imm(original, x, y, width, height).to_image();
    if rng.random() {
        imageops::flip_horizontal_in_place(&mut crop);
    }
    let mut png = Cursor::new(Vec::new());
    let encoder =
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::NoFilter);
    let written = DynamicImage::from(crop).write_with_encoder(encoder);
    written.map_err(|source| ImageError::Decode {
        format: image::ImageFormat::Png,
        bytes: png.get_ref().len(),
        source,
    })?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use astra_bundle::{Filter, Fit};
    use image::Rgb;

    use super::*;

    const INPUT: ImageInput = ImageInput {
        size: 16,
        patch: 4,
        fit: Fit::Stretch,
        filter: Filter::Triangle,
        resize: None,
        map_size: None,
        head_rows: None,
    };

    fn folder(photographs: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for photograph in 0..photographs {
            let shade = |x: u32, y: u32| (photograph as u32 * 40 + x * 3 + y * 2) as u8;
            let picture =
                RgbImage::from_fn(160, 120, |x, y| Rgb([shade(x, y), shade(y, x), x as u8]));
            picture
                .save(dir.path().join(format!("{photograph}.png")))
                .unwrap();
        }
        dir
    }

    fn paths(folder: &tempfile::TempDir) -> Vec<PathBuf> {
        photographs::list(folder.path()).unwrap()
    }

    fn all(paths: &[PathBuf], seed: u64) -> Vec<Vec<u8>> {
        let views = Photographs::new(paths)
            .each()
            .flat_map(|p| p.views(&INPUT, seed).unwrap());
        views.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn few_photographs_make_many_views_and_many_are_seen_whole() {
        let views = |count: usize| {
            let paths = vec![PathBuf::new(); count];
            let photographs = Photographs::new(&paths);
            let each: Vec<usize> = photographs.each().map(|p| p.views).collect();
            assert_eq!(each.iter().sum::<usize>(), photographs.views());
            let range = each.iter().min().zip(each.iter().max());
            (photographs.views(), range.map(|(a, b)| (*a, *b)))
        };
        assert_eq!(views(0), (0, None));
        assert_eq!(views(5), (96, Some((19, 20))));
        assert_eq!(views(59), (96, Some((1, 2))));
        assert_eq!(views(120), (120, Some((1, 1))));
        let few = folder(5);
        assert_eq!(all(&paths(&few), 1).len(), 96);
    }

    #[test]
    fn views_are_all_different_and_a_seed_decides_them() {
        let dir = folder(2);
        let paths = paths(&dir);
        let views = all(&paths, 1);
        assert_eq!(views, all(&paths, 1));
        let mut other = all(&paths, 2);
        // Whole photographs are what they are.
        assert_eq!((&views[0], &views[48]), (&other[0], &other[48]));
        assert_ne!(views, other);
        other.sort();
        other.dedup();
        assert_eq!(other.len(), 96);
    }

    #[test]
    fn a_photograph_that_does_not_decode_is_named() {
        let dir = folder(1);
        std::fs::write(dir.path().join("broken.JPG"), "no picture").unwrap();
        let paths = paths(&dir);
        let error = Photographs::new(&paths)
            .each()
            .find_map(|p| p.views(&INPUT, 1).err())
            .unwrap();
        assert!(
            error.to_string().contains("broken.JPG: not an image"),
            "{error}"
        );
    }
}
