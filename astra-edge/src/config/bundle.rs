//! The bundle to use where none need be named.

use std::path::PathBuf;

use super::ConfigError;
use astra_model::paths;

/// The bundle named, else the only one in the cache.
///
/// # Errors
/// None was named, and there is none, or more than one.
pub fn find_bundle(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    if let Some(bundle) = given {
        return Ok(bundle);
    }
    let folder = paths::cache_dir().map(|cache| cache.join("bundles"));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(astra_bundle::MANIFEST_FILE).is_file())
        .collect();
    found.sort_unstable();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(ConfigError::NoBundle(found)),
    }
}
