//! The tree as a Debian package, by `dpkg-deb`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::{Tree, homepage, source, version};
use crate::board::Board;
use crate::child;
use crate::stop::Stop;

/// Scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
/// What the owner changes, and an update leaves alone.
const SETTINGS: &str = "/etc/astra-edge/device.toml\n";
/// Libraries whose versions decide whether the programs start: the C library of the machine that built them is often newer
/// than they need.
const SYMBOLS: &[u8] = b"GLIBC_2.";

/// Packs `tree` into `folder`; the path of the package.
pub(super) fn pack(board: &Board, tree: &Tree, folder: &Path, stop: &Stop) -> Result<PathBuf> {
    let architecture = board
        .debian_architecture()
        .ok_or_else(|| anyhow!("Debian has no name for {}", board.triple))?;
    // A program is built for one board's processor: the version says for which.
    let version = format!("{}-1+{}", version(), board.name.replace('-', ""));
    let control = control(board, tree, architecture, &version)?;
    let debian = tree.root().join("DEBIAN");
    fs::create_dir(&debian).with_context(|| format!("cannot create {}", debian.display()))?;
    fs::write(debian.join("control"), control)?;
    fs::write(debian.join("conffiles"), SETTINGS)?;
    for name in SCRIPTS {
        let place = debian.join(name);
        fs::copy(source("deploy/debian").join(name), &place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    }
    sums(tree, &debian, stop)?;
    let path = folder.join(format!("astra-edge_{version}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--build", "--root-owner-group", "-Zxz"])
        .arg(tree.root())
        .arg(&path)
        // It names the file; people read that below.
        .stdout(std::process::Stdio::null());
    child::run_to_success(&mut command, stop)?;
    Ok(path)
}

fn control(board: &Board, tree: &Tree, architecture: &str, version: &str) -> Result<String> {
    let text = fs::read_to_string(source("deploy/debian/control"))?;
    let programs = [
        tree.root().join("usr/bin"),
        tree.root().join("usr/lib/astra-edge"),
    ];
    let glibc = programs
        .iter()
        .filter_map(|folder| newest_glibc(folder).transpose());
    let glibc = glibc.collect::<Result<Vec<_>>>()?.into_iter().max();
    let glibc = glibc.context("the program names no version of the C library")?;
    let values = [
        ("{version}", version.to_owned()),
        ("{architecture}", architecture.to_owned()),
        ("{installed_kib}", (size(tree.root())? / 1024).to_string()),
        (
            "{depends}",
            format!("libc6 (>= 2.{glibc}), libgcc-s1, libstdc++6, passwd"),
        ),
        ("{homepage}", homepage().to_owned()),
        ("{board}", board.description.clone()),
    ];
    Ok(values
        .iter()
        .fold(text, |text, (name, value)| text.replace(name, value)))
}

/// SHA-256 would be better, but these are for dpkg, which knows MD5 alone.
fn sums(tree: &Tree, debian: &Path, stop: &Stop) -> Result<()> {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "find usr etc -type f ! -path etc/astra-edge/device.toml -print0 | sort -z | xargs -0 md5sum",
        ])
        .current_dir(tree.root());
    let output = child::capture(&mut command, stop, None, true, || ())?;
    if !output.status.success() {
        bail!("md5sum failed ({})", output.status);
    }
    Ok(fs::write(debian.join("md5sums"), output.stdout)?)
}

/// The newest minor version of glibc 2 that a program of the folder needs.
fn newest_glibc(folder: &Path) -> Result<Option<u32>> {
    let mut newest = None;
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(None);
    };
    for entry in entries {
        newest = newest.max(newest_of(&fs::read(entry?.path())?));
    }
    Ok(newest)
}

fn newest_of(program: &[u8]) -> Option<u32> {
    let places = program.windows(SYMBOLS.len()).enumerate();
    let versions = places.filter(|(_, window)| *window == SYMBOLS);
    let minor = versions.filter_map(|(place, _)| {
        let digits = program.get(place + SYMBOLS.len()..)?;
        let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect())
            .ok()?
            .parse()
            .ok()
    });
    minor.max()
}

/// Bytes of all files.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() {
            size(&entry.path())?
        } else {
            data.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_c_library_counts() {
        let program = b"..GLIBC_2.17\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(newest_of(program), Some(34));
        assert_eq!(newest_of(b"GLIBC_PRIVATE"), None);
    }

    #[test]
    fn this_programs_own_need_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(
            std::env::current_exe().unwrap(),
            folder.path().join("program"),
        )
        .unwrap();
        assert!(newest_glibc(folder.path()).unwrap().unwrap() >= 17);
        assert_eq!(newest_glibc(&folder.path().join("none")).unwrap(), None);
    }
}
