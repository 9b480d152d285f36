//! Folders on a device.

use std::path::PathBuf;

/// The cache folder that the service manager assigns to a service (`CacheDirectory=` of systemd).
pub fn service_cache_dir() -> Option<PathBuf> {
    let folders = std::env::var_os("CACHE_DIRECTORY")?;
    std::env::split_paths(&folders).next()
}

/// The cache folder: `$ASTRA_EDGE_CACHE`, else `$XDG_CACHE_HOME/astra-edge`, else `~/.cache/astra-edge`. `None` if none of these
/// variables is set.
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
