//! Where things lie on a device.

use std::path::PathBuf;

/// The folder that the service manager gives a service for what can be made again.
pub fn service_cache_dir() -> Option<PathBuf> {
    let folders = std::env::var_os("CACHE_DIRECTORY")?;
    std::env::split_paths(&folders).next()
}

/// The folder of what was downloaded or made and can be had again: `$ASTRA_EDGE_CACHE`, else
/// `$XDG_CACHE_HOME/astra-edge`, else `~/.cache/astra-edge`. `None` where there is no home folder either.
pub fn cache_dir() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("ASTRA_EDGE_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("astra-edge")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/astra-edge")))
}
