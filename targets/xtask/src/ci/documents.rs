//! Checks of what is no Rust: scripts, the unit of the service, licences.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::command::call;
use super::{CiArgs, Outcome};
use crate::binaries::{cargo, workspace};
use crate::folder;
use crate::stop::Stop;

/// The most that `systemd-analyze security` may find exposed, of 100.
const EXPOSURE: &str = "--threshold=30";
const DEBIAN: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn shellcheck(_: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let deploy = folder::entries(&workspace().join("deploy"))?;
    let deploy = deploy
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sh"));
    let deploy = deploy.filter_map(|path| path.file_name());
    let deploy = deploy.map(|name| PathBuf::from("deploy").join(name));
    let mut command = Command::new("shellcheck");
    command
        .args(["--external-sources", ".ci/run"])
        .args(deploy)
        .args(DEBIAN.map(|name| format!("deploy/debian/{name}")))
        .arg("targets/xtask/src/trial/ssh.sh")
        .current_dir(workspace());
    call(&mut command, stop)?;
    Ok(Outcome::Passed)
}

pub(super) fn unit(_: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let mut command = Command::new("systemd-analyze");
    command
        .args(["security", "--no-pager", "--offline=true", EXPOSURE])
        .arg("deploy/astra-edge.service")
        .stdout(Stdio::null())
        .current_dir(workspace());
    call(&mut command, stop)?;
    Ok(Outcome::Passed)
}

/// Licences and bans of `targets/xtask/deny.toml`, where cargo-deny is installed.
pub(super) fn deny(_: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let there = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    call(
        cargo().args([
            "deny",
            "check",
            "--config",
            "targets/xtask/deny.toml",
            "licenses",
            "bans",
        ]),
        stop,
    )?;
    Ok(Outcome::Passed)
}
