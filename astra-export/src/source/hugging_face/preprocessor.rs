//! `preprocessor_config.json`: how a photograph becomes the pixels of the input, and those numbers.
//!
//! Rules and defaults are those of the image processors of `transformers` 5.24, which are the same with Torchvision and with
//! Pillow; a field that is `null` counts as absent. Names of older versions (`ViTFeatureExtractor`, `ViTImageProcessorFast`) mean
//! the same classes.
//!
//! | field | |
//! |---|---|
//! | `image_processor_type`, `feature_extractor_type` | `ViTImageProcessor`, `DeiTImageProcessor`, `BitImageProcessor` or `CLIPImageProcessor`; by default that of the model |
//! | `size` | a number, `{"shortest_edge"}`, or `{"height", "width"}` of a square |
//! | `do_center_crop`, `crop_size` | a square no larger than `size`; needed with `shortest_edge` |
//! | `resample` | 0 to 5, a constant of Pillow |
//! | `do_rescale`, `rescale_factor`, `do_normalize`, `image_mean`, `image_std` | computed |
//! | `do_resize` | refused where it is `false`; `do_pad` with `pad_size` too |
//! | `do_convert_rgb`, `input_data_format`, `data_format`, ... | change nothing: photographs are always RGB |
//! | all others | refused, unless they are `null` or `false` |

use astra_bundle::{Filter, Fit};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::Directory;
use super::object::Object;
use super::vit_config::Architecture;
use crate::family::vit::ImageScale;
use crate::source::sides::MAX_SIDE;
use crate::source::{PictureInput, SourceError};

const FILE: &str = "preprocessor_config.json";
/// Where newer versions keep it for models that also read.
const NESTED: (&str, &str) = ("processor_config.json", "image_processor");
/// Fields that change nothing.
const HARMLESS: [&str; 14] = [
    "_processor_class",
    "_valid_processor_keys",
    "auto_map",
    "data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "do_convert_rgb",
    "image_seq_length",
    "input_data_format",
    "model_input_names",
    "processor_class",
    "return_tensors",
    "transformers_version",
];
/// IMAGENET_STANDARD_MEAN and _STD.
const HALF: ImageScale = ImageScale {
    mean: [0.5; 3],
    std: [0.5; 3],
};
/// OPENAI_CLIP_MEAN and _STD.
const CLIP: ImageScale = ImageScale {
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
};

/// What a class of image processors does where the file says nothing.
#[derive(Clone, Copy)]
struct Defaults {
    /// Whether a `size` that is one number is both sides, rather than the shortest.
    square: bool,
    size: usize,
    /// Side of the square that is cut out, where that is done.
    crop: Option<usize>,
    filter: Filter,
    scale: ImageScale,
}

/// The resized picture.
#[derive(Clone, Copy)]
enum Size {
    Square(usize),
    Shortest(usize),
}

/// How photographs become the input of a model of `architecture`.
pub(super) fn read(
    directory: &Directory<'_>,
    architecture: Architecture,
) -> Result<PictureInput, SourceError> {
    let said = read_file(directory, architecture)?;
    Ok(said.unwrap_or_else(|| without_file(architecture)))
}

/// The same as far as a file says it; what it leaves out is as usual for `architecture`.
pub(super) fn read_file(
    directory: &Directory<'_>,
    architecture: Architecture,
) -> Result<Option<PictureInput>, SourceError> {
    let nested = match Object::read(directory, NESTED.0)? {
        Some(mut outer) => outer.object(NESTED.1)?,
        None => None,
    };
    let mut file = match nested {
        Some(nested) => nested,
        None => match Object::read(directory, FILE)? {
            Some(file) => file,
            None => return Ok(None),
        },
    };
    let defaults = defaults(&mut file, architecture)?;
    file.only("do_resize", &[json!(true)])?;
    if file.take("do_pad", "true or false")? == Some(true) {
        // Without a size it is for batches.
        file.only("pad_size", &[])?;
    }
    file.ignore(&["pad_size"]);
    let (fit, size, resize) = sides(&mut file, &defaults)?;
    let input = PictureInput {
        scale: scale(&mut file, &defaults)?,
        fit,
        filter: filter(&mut file, defaults.filter)?,
        size,
        resize,
    };
    file.ignore(&HARMLESS);
    file.finish()?;
    Ok(Some(input))
}

/// Without a file `transformers` makes no input at all. These are the files that both kinds were published with:
/// `google/vit-base-patch16-224` and `facebook/dinov2-base`.
fn without_file(architecture: Architecture) -> PictureInput {
    match architecture {
        Architecture::Vit => PictureInput {
            scale: HALF,
            fit: Fit::Stretch,
            filter: Filter::Triangle,
            size: 224,
            resize: 224,
        },
        Architecture::Dinov2 => PictureInput {
            scale: ImageScale::IMAGENET,
            fit: Fit::Crop,
            filter: Filter::CatmullRom,
            size: 224,
            resize: 256,
        },
    }
}

fn defaults(file: &mut Object, architecture: Architecture) -> Result<Defaults, SourceError> {
    const NEW: &str = "image_processor_type";
    const OLD: &str = "feature_extractor_type";
    let text = "a string";
    let (new, old) = (
        file.take::<String>(NEW, text)?,
        file.take::<String>(OLD, text)?,
    );
    let field = if new.is_some() { NEW } else { OLD };
    let Some(class) = new.or(old) else {
        return Ok(match architecture {
            Architecture::Vit => Defaults::VIT,
            Architecture::Dinov2 => Defaults::BIT,
        });
    };
    let name = class.replace("FeatureExtractor", "ImageProcessor");
    let name = ["Fast", "Pil"]
        .into_iter()
        .find_map(|backend| name.strip_suffix(backend))
        .unwrap_or(&name);
    match name {
        "ViTImageProcessor" => Ok(Defaults::VIT),
        "DeiTImageProcessor" => Ok(Defaults::DEIT),
        "BitImageProcessor" | "CLIPImageProcessor" => Ok(Defaults::BIT),
        _ => {
            let expected = "ViT-, DeiT-, Bit- or CLIPImageProcessor";
            Err(file.refusal(field, &json!(class), expected))
        }
    }
}

impl Defaults {
    const VIT: Self = Self {
        square: true,
        size: 224,
        crop: None,
        filter: Filter::Triangle,
        scale: HALF,
    };
    const DEIT: Self = Self {
        square: true,
        size: 256,
        crop: Some(224),
        filter: Filter::CatmullRom,
        scale: HALF,
    };
    const BIT: Self = Self {
        square: false,
        size: 224,
        crop: Some(224),
        filter: Filter::CatmullRom,
        scale: CLIP,
    };
}

/// How a photograph is fitted in, the side of the input, and the side before the middle is cut out.
fn sides(file: &mut Object, defaults: &Defaults) -> Result<(Fit, usize, usize), SourceError> {
    let size = size(file, defaults)?;
    let cut = file.take("do_center_crop", "true or false")?;
    let crop = match square_of(file, "crop_size")? {
        Some(crop) => Some(crop),
        None => defaults.crop,
    };
    if !cut.unwrap_or(defaults.crop.is_some()) {
        return match size {
            Size::Square(side) => Ok((Fit::Stretch, side, side)),
            Size::Shortest(_) => {
                let expected = "true: with size.shortest_edge only the crop makes a square";
                Err(file.refusal("do_center_crop", &json!(false), expected))
            }
        };
    }
    let Some(crop) = crop else {
        let expected = "the side of the square that do_center_crop cuts out";
        return Err(file.refusal("crop_size", &Json::Null, expected));
    };
    let (fit, side) = match size {
        Size::Square(side) => (Fit::StretchCrop, side),
        Size::Shortest(side) => (Fit::Crop, side),
    };
    if crop > side {
        let expected = format!("at most size, {side}: there is nothing around a photograph");
        return Err(file.refusal("crop_size", &json!(crop), &expected));
    }
    match fit {
        // Nothing is cut off.
        Fit::StretchCrop if crop == side => Ok((Fit::Stretch, side, side)),
        fit => Ok((fit, crop, side)),
    }
}

fn size(file: &mut Object, defaults: &Defaults) -> Result<Size, SourceError> {
    const NAME: &str = "size";
    let found: Json = file
        .take(NAME, "a number or an object")?
        .unwrap_or(Json::Null);
    let of = |side| match defaults.square {
        true => Size::Square(side),
        false => Size::Shortest(side),
    };
    let found_size = match &found {
        Json::Null => return Ok(of(defaults.size)),
        Json::Object(fields) => {
            let fields = without_nulls(fields);
            match fields.get("shortest_edge") {
                Some(edge) if fields.len() == 1 => side(edge).map(Size::Shortest),
                _ => square(&Json::Object(fields)).map(Size::Square),
            }
        }
        Json::Number(_) => side(&found).map(of),
        other => square(other).map(Size::Square),
    };
    let expected = "a number, {\"shortest_edge\"}, or {\"height\", \"width\"} of a square";
    found_size.ok_or_else(|| file.refusal(NAME, &found, expected))
}

fn square_of(file: &mut Object, name: &str) -> Result<Option<usize>, SourceError> {
    let found: Option<Json> = file.take(name, "a number or an object")?;
    let Some(found) = found else {
        return Ok(None);
    };
    let expected = "a number, or {\"height\", \"width\"} of a square";
    let side = square(&found).ok_or_else(|| file.refusal(name, &found, expected))?;
    Ok(Some(side))
}

/// The side of a square, as a number, an object or a list.
fn square(found: &Json) -> Option<usize> {
    match found {
        Json::Object(fields) => {
            let fields = without_nulls(fields);
            let sides = (fields.get("height")?, fields.get("width")?);
            (fields.len() == 2 && sides.0 == sides.1).then(|| side(sides.0))?
        }
        Json::Array(sides) => match sides.as_slice() {
            [height, width] if height == width => side(height),
            _ => None,
        },
        number => side(number),
    }
}

fn without_nulls(fields: &Map<String, Json>) -> Map<String, Json> {
    let there = fields.iter().filter(|(_, value)| !value.is_null());
    there
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn side(found: &Json) -> Option<usize> {
    let side = found.as_u64().and_then(|side| usize::try_from(side).ok())?;
    (1..=MAX_SIDE).contains(&side).then_some(side)
}

fn filter(file: &mut Object, usual: Filter) -> Result<Filter, SourceError> {
    const NAME: &str = "resample";
    let filters = [
        Filter::Nearest,
        Filter::Lanczos3,
        Filter::Triangle,
        Filter::CatmullRom,
        Filter::Box,
        Filter::Hamming,
    ];
    let expected = "0 to 5: NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX or HAMMING of Pillow";
    match file.take::<usize>(NAME, expected)? {
        None => Ok(usual),
        Some(number) => match filters.get(number) {
            Some(filter) => Ok(*filter),
            None => Err(file.refusal(NAME, &json!(number), expected)),
        },
    }
}

/// One number for all channels, or one each.
#[derive(Deserialize)]
#[serde(untagged)]
enum Channels {
    One(f64),
    Each([f64; 3]),
}

/// `(byte * rescale_factor - image_mean) / image_std`, in the form of [`ImageScale`], which divides by 255 first.
fn scale(file: &mut Object, defaults: &Defaults) -> Result<ImageScale, SourceError> {
    let flag = "true or false";
    let factor: Option<f64> = file.take("rescale_factor", "a number")?;
    let factor = match file.take("do_rescale", flag)? {
        Some(false) => 1.0,
        _ => factor.unwrap_or(1.0 / 255.0),
    };
    let mean = channels(file, "image_mean", defaults.scale.mean)?;
    let std = channels(file, "image_std", defaults.scale.std)?;
    let (mean, std) = match file.take("do_normalize", flag)? {
        Some(false) => ([0.0; 3], [1.0; 3]),
        _ => (mean, std),
    };
    let none = "numbers other than zero";
    if !factor.is_normal() {
        return Err(file.refusal("rescale_factor", &json!(factor), none));
    }
    if !std.iter().all(|std| std.is_normal()) {
        return Err(file.refusal("image_std", &json!(std), none));
    }
    let scaled = |value: f64| (value / (factor * 255.0)) as f32;
    Ok(ImageScale {
        mean: mean.map(scaled),
        std: std.map(scaled),
    })
}

fn channels(file: &mut Object, name: &str, usual: [f32; 3]) -> Result<[f64; 3], SourceError> {
    Ok(match file.take(name, "a number, or three")? {
        None => usual.map(f64::from),
        Some(Channels::One(value)) => [value; 3],
        Some(Channels::Each(values)) => values,
    })
}
