//! The module `Pooling`.

use astra_bundle::TextPooling;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::object::Object;
use super::super::{CONFIG, Directory};
use crate::source::{Mismatch, SourceError};

/// Modes, as version 5.4 and later name them, and the flags of versions before.
const MODES: [(&str, &str, TextPooling); 6] = [
    ("cls", "pooling_mode_cls_token", TextPooling::Cls),
    ("max", "pooling_mode_max_tokens", TextPooling::Max),
    ("mean", "pooling_mode_mean_tokens", TextPooling::Mean),
    (
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        TextPooling::MeanSqrtLenTokens,
    ),
    (
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
        TextPooling::Weightedmean,
    ),
    (
        "lasttoken",
        "pooling_mode_lasttoken",
        TextPooling::Lasttoken,
    ),
];

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Modes {
    One(String),
    Several(Vec<String>),
}

/// How tokens are pooled, and whether those of the prompt are.
pub(super) fn read(
    directory: &Directory<'_>,
    path: &str,
) -> Result<(TextPooling, bool), SourceError> {
    let name = format!("{path}/{CONFIG}");
    let Some(mut config) = Object::read(directory, &name)? else {
        // The library does not load it without either.
        let missing = Mismatch::missing("the pooling's configuration", "a file with pooling_mode");
        return Err(missing.at(&directory.dir.join(name)));
    };
    let mut modes = Vec::new();
    for (mode, flag, _) in MODES {
        if config.take(flag, "true or false")?.unwrap_or(false) {
            modes.push(mode.to_owned());
        }
    }
    // As in the library, the newer field counts where both are there, and nothing at all is the mean.
    match config.take("pooling_mode", "a string, or a list of strings")? {
        Some(Modes::One(mode)) => modes = vec![mode],
        Some(Modes::Several(several)) => modes = several,
        None if modes.is_empty() => modes.push("mean".to_owned()),
        None => {}
    }
    let include_prompt = config.take("include_prompt", "true or false")?;
    config.ignore(&["embedding_dimension", "word_embedding_dimension"]);
    let known = MODES.map(|(mode, _, _)| mode);
    let found = match modes.as_slice() {
        [mode] => MODES.iter().find(|(known, _, _)| known == mode),
        _ => None,
    };
    let Some((_, _, pooling)) = found else {
        let found: Json = match modes.as_slice() {
            [mode] => json!(mode),
            modes => json!(modes),
        };
        let expected = format!("one of {known:?}");
        return Err(config.refusal("pooling_mode", &found, &expected));
    };
    config.finish()?;
    Ok((*pooling, include_prompt.unwrap_or(true)))
}
