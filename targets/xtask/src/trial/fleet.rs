//! `deploy/install.sh` and `deploy/update.sh` on throw-away boards.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Bench;
use super::boards::Fleet;
use crate::child::Captured;
use crate::folder;
use crate::package::Unpacked;

/// What a broken program does: nothing but say its version.
const ENDS_AT_ONCE: &str = r#"[ "$1" = --version ] || { echo "error: broken" >&2; exit 1; }
exec "$0.real" "$@""#;
/// It gets ready, and ends soon after.
const ENDS_LATER: &str = r#"case $1 in run) exec timeout 6 "$0.real" "$@" ;; esac
exec "$0.real" "$@""#;
/// It does not start at all, as on another processor.
const DOES_NOT_RUN: &str = "exit 132";
/// It was never written to the disk, and ends well.
const EMPTY: &str = "";
/// It works by itself, and has no device to work with: the others have another bundle.
const ALONE: &str = r#"if [ "$1" = run ]; then
    cp -rL /var/lib/astra-edge/bundle /tmp/other && echo >>/tmp/other/manifest.json && shift
    exec "$0.real" run --bundle /tmp/other "$@"
fi
exec "$0.real" "$@""#;
const SOUND: &str = r#"exec "$0.real" "$@""#;

/// What dpkg writes down of a package that is installed.
const INSTALLED: &str = "Package: astra-edge
Status: install ok installed
Maintainer: nobody <nobody@example.org>
Architecture: amd64
Version: 1
Description: a device
";

/// Tries the scripts.
///
/// # Errors
/// A check fails.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let fleet = Fleet::new(bench)?;
    let package = Unpacked::of(
        bench.board,
        &bench.there.edge,
        fleet.path("package"),
        bench.stop,
    )?;
    package.pack(bench.stop)?;
    strangers(&fleet)?;

    let output = fleet.script("install.sh", true)?;
    expect(
        &output,
        true,
        &["kitchen: serves with", "hall: serves with"],
    )?;
    fleet.serves("after install.sh")?;
    let first = fleet.releases()?;
    again(&fleet)?;
    bench.say("install.sh: installs on boards that are its own, and the devices serve");

    broken(&fleet, &package)?;
    bench.say("update.sh: refuses and goes back from what does not run, serve or find others");

    // A package that is sound becomes the release of every board.
    package.replace_program(SOUND)?;
    package.pack(bench.stop)?;
    on_its_way(&fleet)?;
    same(&first, &fleet.releases()?)?;
    let output = fleet.script("update.sh", false)?;
    expect(
        &output,
        true,
        &["kitchen: serves with", "hall: serves with"],
    )?;
    let second = fleet.releases()?;
    if second.iter().zip(&first).any(|(new, old)| new == old) {
        bail!("update.sh changed no release: {second:?}");
    }
    fleet.serves("after update.sh")?;
    again(&fleet)?;
    missed(&fleet)?;
    mended(&fleet)?;
    bench.say("update.sh: updates, keeps what was before, and mends what is damaged");
    Ok(())
}

/// Boards that are not the scripts' own are left as they are.
fn strangers(fleet: &Fleet<'_>) -> Result<()> {
    let output = fleet.script("update.sh", false)?;
    expect(
        &output,
        false,
        &["kitchen: failed: install.sh has never been here"],
    )?;
    let status = fleet.kitchen("var/lib/dpkg/status");
    fs::write(&status, INSTALLED)?;
    for script in ["install.sh", "update.sh"] {
        let output = fleet.script(script, false)?;
        let refused = "kitchen: failed: the Debian package astra-edge is installed here";
        expect(&output, false, &[refused])?;
    }
    fs::remove_file(status)?;
    if fleet.kitchen("opt/astra-edge").exists() {
        bail!("something was put on a board that is not the scripts' own");
    }
    Ok(())
}

/// The same package is the same release: nothing changes but that the device starts again, and what was before stays, too.
fn again(fleet: &Fleet<'_>) -> Result<()> {
    let (before, kept) = (fleet.releases()?, kept(fleet)?);
    let output = fleet.script("update.sh", false)?;
    expect(&output, true, &["kitchen: serves with"])?;
    same(&before, &fleet.releases()?)?;
    same(&kept, &self::kept(fleet)?)
}

/// Programs that do not serve: every board keeps the version it had.
fn broken(fleet: &Fleet<'_>, package: &Unpacked<'_>) -> Result<()> {
    let (before, kept) = (fleet.releases()?, kept(fleet)?);
    for (what, script, saying) in [
        (
            "a program that does not run",
            DOES_NOT_RUN,
            "does not run here",
        ),
        ("a program that is empty", EMPTY, "does not run here"),
        ("a program that ends at once", ENDS_AT_ONCE, "again: "),
        (
            "a program that ends later",
            ENDS_LATER,
            "the device ended soon after it was ready",
        ),
        (
            "a program that is alone",
            ALONE,
            "the device finds no other",
        ),
    ] {
        package.replace_program(script)?;
        package.pack(fleet.bench.stop)?;
        let output = fleet.script("update.sh", false)?;
        expect(
            &output,
            false,
            &["kitchen: failed", saying, "the boards after kitchen"],
        )?;
        same(&before, &fleet.releases()?)?;
        same(&kept, &self::kept(fleet)?)?;
        fleet.serves(what)?;
    }
    Ok(())
}

/// A package that is damaged on its way never becomes a release, and nothing of it stays.
fn on_its_way(fleet: &Fleet<'_>) -> Result<()> {
    let damaged = fleet.kitchen("damaged");
    for (damage, saying) in [
        ("head -c 100000", "did not arrive whole"),
        ("tr a b", "arrived with SHA-256"),
    ] {
        fs::write(&damaged, damage)?;
        let output = fleet.script("update.sh", false)?;
        expect(&output, false, &["kitchen: failed", saying])?;
        let left = names(&fleet.kitchen("opt/astra-edge/incoming"))?;
        if !left.is_empty() {
            bail!("{left:?} of a transfer is left after {damage}");
        }
    }
    Ok(fs::remove_file(&damaged)?)
}

/// A device that did not seem to work with the version it had keeps it.
fn missed(fleet: &Fleet<'_>) -> Result<()> {
    let (before, kept) = (fleet.releases()?, kept(fleet)?);
    if kept.len() != 2 {
        bail!("the releases in use and before it are {kept:?}");
    }
    let missed = fleet.kitchen("run/missed");
    fs::write(&missed, "")?;
    let output = fleet.script("update.sh", false)?;
    expect(
        &output,
        false,
        &["kitchen: failed", "which was in use already"],
    )?;
    fs::remove_file(&missed)?;
    same(&before, &fleet.releases()?)?;
    same(&kept, &self::kept(fleet)?)?;
    fleet.serves("after a check that was missed")
}

/// What is damaged on the board is replaced, in folders that are never gone.
fn mended(fleet: &Fleet<'_>) -> Result<()> {
    for (script, folder, file) in [
        ("update.sh", "opt/astra-edge/current", "bin/astra-edge"),
        ("install.sh", "var/lib/astra-edge/bundle", "local_00.onnx"),
    ] {
        let folder = fs::canonicalize(fleet.kitchen(folder))?;
        let inode = fs::metadata(&folder)?.ino();
        let whole = fs::read(folder.join(file))?;
        fs::write(folder.join(file), "")?;
        let output = fleet.script(script, script == "install.sh")?;
        expect(&output, true, &["kitchen: serves with"])?;
        if fs::read(folder.join(file))? != whole || fs::metadata(&folder)?.ino() != inode {
            bail!("{file} was damaged, and {script} did not replace it in its place");
        }
        let staged = format!("{}.new", folder.display());
        if Path::new(&staged).exists() {
            bail!("{script} leaves {staged}");
        }
        fleet.serves("after what was damaged was replaced")?;
    }
    Ok(())
}

/// Releases that the first board keeps.
fn kept(fleet: &Fleet<'_>) -> Result<Vec<PathBuf>> {
    names(&fleet.kitchen("opt/astra-edge/releases"))
}

/// What lies in a folder; nothing if it is not there.
fn names(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    folder::entries(folder)
}

/// Fails on another exit status of a script, or words that are not in its output.
fn expect(output: &Captured, success: bool, words: &[&str]) -> Result<()> {
    let text = format!("{}{}", output.stdout, output.stderr);
    if output.status.success() != success {
        bail!("a script ended with {}; its output:\n{text}", output.status);
    }
    match words.iter().find(|words| !text.contains(**words)) {
        Some(words) => bail!("a script did not print {words:?}; its output:\n{text}"),
        None => Ok(()),
    }
}

fn same(before: &[PathBuf], after: &[PathBuf]) -> Result<()> {
    if before != after {
        bail!("releases changed from {before:?} to {after:?}");
    }
    Ok(())
}
