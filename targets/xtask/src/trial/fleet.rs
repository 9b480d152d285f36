//! `deploy/install.sh` and `deploy/update.sh` on throw-away roots: folders that a stand-in for ssh enters by `chroot`, with a
//! stand-in for systemctl that starts the real device and waits for its `READY=1`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::Bench;
use super::cluster::{Answer, free_port};
use crate::binaries::workspace;
use crate::child::{self, Captured};
use crate::package::Unpacked;

/// Boards of the fleet. The second is never broken: it shows that the others are left as they are.
const HOSTS: [&str; 2] = ["kitchen", "hall"];
const SSH: &str = include_str!("ssh.sh");
const SYSTEMCTL: &str = include_str!("systemctl.py");

/// What a broken program does: nothing but say its version.
const ENDS_AT_ONCE: &str = r#"[ "$1" = --version ] || { echo "error: broken" >&2; exit 1; }
exec "$0.real" "$@""#;
/// It gets ready, and ends soon after.
const ENDS_LATER: &str = r#"case $1 in run) exec timeout 6 "$0.real" "$@" ;; esac
exec "$0.real" "$@""#;
/// It does not start at all, as on another processor.
const DOES_NOT_RUN: &str = "exit 132";

/// A fleet of roots; dropping it ends its devices.
struct Fleet<'a> {
    bench: &'a Bench<'a>,
    folder: TempDir,
    cluster: String,
    addresses: Vec<String>,
}

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

    let said = fleet.script("install.sh", true)?;
    expect(&said, true, &["kitchen: serves with", "hall: serves with"])?;
    fleet.serves("after install.sh")?;
    let first = fleet.releases()?;

    // The same package is the same release: nothing changes but that the device starts again.
    expect(
        &fleet.script("update.sh", false)?,
        true,
        &["kitchen: serves with"],
    )?;
    same(&first, &fleet.releases()?)?;

    for (what, script, saying) in [
        (
            "a program that does not run",
            DOES_NOT_RUN,
            "does not run here",
        ),
        ("a program that ends at once", ENDS_AT_ONCE, "again: "),
        (
            "a program that ends later",
            ENDS_LATER,
            "the device ended soon after it was ready",
        ),
    ] {
        package.replace_program(script)?;
        package.pack(bench.stop)?;
        let said = fleet.script("update.sh", false)?;
        expect(
            &said,
            false,
            &["kitchen: failed", saying, "the boards after kitchen"],
        )?;
        same(&first, &fleet.releases()?)?;
        fleet.serves(what)?;
    }

    // A package that is damaged on its way never becomes a release.
    package.replace_program("exec \"$0.real\" \"$@\"")?;
    package.pack(bench.stop)?;
    fs::write(fleet.path("roots/kitchen/damaged"), "")?;
    let said = fleet.script("update.sh", false)?;
    expect(&said, false, &["kitchen: failed", "arrived with SHA-256"])?;
    same(&first, &fleet.releases()?)?;
    fs::remove_file(fleet.path("roots/kitchen/damaged"))?;

    // And one that is sound does, on every board.
    expect(
        &fleet.script("update.sh", false)?,
        true,
        &["kitchen: serves with", "hall: serves with"],
    )?;
    let second = fleet.releases()?;
    if second.iter().zip(&first).any(|(new, old)| new == old) {
        bail!("update.sh changed no release: {second:?}");
    }
    fleet.serves("after update.sh")?;
    bench.say("install.sh and update.sh: installs, updates, refuses, rolls back, and the devices serve after each");
    Ok(())
}

impl<'a> Fleet<'a> {
    fn new(bench: &'a Bench<'a>) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut fleet = Self {
            bench,
            folder,
            cluster: format!("fleet-{}", std::process::id()),
            addresses: Vec::new(),
        };
        fs::create_dir(fleet.path("bin"))?;
        program(&fleet.path("bin/ssh"), SSH)?;
        let mut lines = String::new();
        for host in HOSTS {
            fleet.root(host)?;
            lines.push_str(&format!("{host} {}\n", bench.board.name));
        }
        fs::write(fleet.path("fleet.conf"), format!("# two boards\n\n{lines}"))?;
        Ok(fleet)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// A root that has what a fresh board has, and settings for a network without multicast.
    fn root(&mut self, host: &str) -> Result<()> {
        let root = self.path("roots").join(host);
        for folder in [
            "dev",
            "proc",
            "etc/systemd/system",
            "etc/astra-edge",
            "opt",
            "var/lib",
            "run",
            "tmp",
            "local",
        ] {
            fs::create_dir_all(root.join(folder))?;
        }
        for folder in ["usr", "bin", "sbin", "lib", "lib64"] {
            match fs::read_link(Path::new("/").join(folder)) {
                Ok(target) => symlink(target, root.join(folder))?,
                Err(_) => fs::create_dir(root.join(folder))?,
            }
        }
        for (file, text) in [
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
        ] {
            fs::write(root.join(file), text)?;
        }
        program(&root.join("systemctl"), SYSTEMCTL)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let first = self.addresses.first().cloned();
        let settings = format!(
            "name = {host:?}\ncluster = {:?}\nthreads = 1\nmulticast = false\nlisten = [{address:?}]\nconnect = {:?}\n\
             bundle = \"/var/lib/astra-edge/bundle\"\n",
            self.cluster,
            first.into_iter().collect::<Vec<_>>(),
        );
        fs::write(root.join("etc/astra-edge/device.toml"), settings)?;
        self.addresses.push(address);
        Ok(())
    }

    /// Runs a script of deploy/ for the fleet.
    fn script(&self, name: &str, bundle: bool) -> Result<Captured> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(workspace().join("deploy").join(name));
        command
            .arg(self.path("fleet.conf"))
            .arg("--packages")
            .arg(self.path("package"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()));
        if bundle {
            command.arg("--bundle").arg(self.bench.bundle);
        }
        child::capture(&mut command, self.bench.stop, None, false, || ())
    }

    /// The release in use on each board.
    fn releases(&self) -> Result<Vec<PathBuf>> {
        let links = HOSTS.map(|host| self.path("roots").join(host).join("opt/astra-edge/current"));
        let targets = links.iter().map(|link| {
            fs::read_link(link).with_context(|| format!("cannot read {}", link.display()))
        });
        targets.collect()
    }

    /// Both devices answer together, and answer right.
    fn serves(&self, when: &str) -> Result<()> {
        let file = self.path("answer.json");
        let address = self.addresses.first().context("no device")?;
        let mut command = self.bench.here.command();
        command
            .arg("infer")
            .arg(self.bench.photo)
            .args([
                "--json",
                "--rung",
                "exact",
                "--ranges",
                "128,128",
                "--deadline",
                "60s",
            ])
            .args([
                "--no-multicast",
                "--connect",
                address,
                "--cluster",
                &self.cluster,
            ])
            .arg("--answer")
            .arg(&file);
        // A device that has just started again is known to the other a moment later.
        for attempt in 1.. {
            let said = child::capture(&mut command, self.bench.stop, None, false, || ())?;
            if said.status.success() {
                break;
            }
            if attempt == 10 {
                bail!("{when}, the fleet does not answer: {}", said.stderr.trim());
            }
        }
        let worst = self.bench.wanted.worst(&Answer::read(&file)?)?;
        if worst > super::EXACT {
            bail!("{when}, the answer differs by {worst:e}");
        }
        Ok(())
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for host in HOSTS {
            let mut stop = Command::new(self.path("bin/ssh"));
            stop.args([host, "systemctl stop astra-edge"])
                .stdin(Stdio::null());
            // What has ended already need not be stopped.
            let _ = stop.status();
        }
    }
}

fn program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses another end of a script, or words it did not say.
fn expect(said: &Captured, success: bool, words: &[&str]) -> Result<()> {
    let text = format!("{}{}", said.stdout, said.stderr);
    if said.status.success() != success {
        bail!("a script ended with {}; it said:\n{text}", said.status);
    }
    match words.iter().find(|words| !text.contains(**words)) {
        Some(words) => bail!("a script did not say {words:?}; it said:\n{text}"),
        None => Ok(()),
    }
}

fn same(before: &[PathBuf], after: &[PathBuf]) -> Result<()> {
    if before != after {
        bail!("releases changed from {before:?} to {after:?}");
    }
    Ok(())
}
