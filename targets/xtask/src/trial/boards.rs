//! Throw-away boards: folders that a stand-in for ssh enters by `chroot`, with a stand-in for systemctl that starts the real device
//! and waits for its `READY=1`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::Bench;
use super::cluster::{Answer, free_port};
use crate::binaries::workspace;
use crate::child::{self, Captured};

/// Boards of the fleet. The second is never broken: it shows that the others are left as they are.
pub(super) const HOSTS: [&str; 2] = ["kitchen", "hall"];
const SSH: &str = include_str!("ssh.sh");
const SYSTEMCTL: &str = include_str!("systemctl.py");
/// For devices that are ready to find each other.
const FOUND_LIMIT: Duration = Duration::from_secs(120);

/// A fleet of roots; dropping it ends its devices.
pub(super) struct Fleet<'a> {
    pub(super) bench: &'a Bench<'a>,
    folder: TempDir,
    cluster: String,
    addresses: Vec<String>,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(bench: &'a Bench<'a>) -> Result<Self> {
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
            lines.push_str(&format!("\n{host} {}", bench.board.name));
        }
        // Editors may leave the last line without its end.
        fs::write(fleet.path("fleet.conf"), format!("# two boards\n{lines}"))?;
        Ok(fleet)
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
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
            "var/lib/dpkg",
            "run",
            "tmp",
            "local",
        ] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
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

    /// A file of the first board.
    pub(super) fn kitchen(&self, relative: &str) -> PathBuf {
        self.path("roots/kitchen").join(relative)
    }

    /// Runs a script of deploy/ for the fleet.
    pub(super) fn script(&self, name: &str, bundle: bool) -> Result<Captured> {
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
    pub(super) fn releases(&self) -> Result<Vec<PathBuf>> {
        let links = HOSTS.map(|host| self.path("roots").join(host).join("opt/astra-edge/current"));
        let targets = links.iter().map(|link| {
            fs::read_link(link).with_context(|| format!("cannot read {}", link.display()))
        });
        targets.collect()
    }

    /// Both devices answer together, and answer right.
    pub(super) fn serves(&self, when: &str) -> Result<()> {
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
            let output = child::capture(&mut command, self.bench.stop, None, false, || ())?;
            if output.status.success() {
                break;
            }
            if attempt == 10 {
                bail!(
                    "{when}, the fleet does not answer: {}",
                    output.stderr.trim()
                );
            }
        }
        let worst = self.bench.wanted.worst(&Answer::read(&file)?)?;
        if worst > super::EXACT {
            bail!("{when}, the answer differs by {worst:e}");
        }
        self.found(when)
    }

    /// The status of each device says that it can use the other.
    fn found(&self, when: &str) -> Result<()> {
        let begun = Instant::now();
        let status =
            |host| fs::read_to_string(self.path("roots").join(host).join("run/astra-edge.status"));
        loop {
            let statuses = HOSTS.map(|host| status(host).unwrap_or_default());
            if statuses
                .iter()
                .all(|status| status.ends_with("; others it can use: 1"))
            {
                return Ok(());
            }
            if begun.elapsed() > FOUND_LIMIT {
                bail!("{when}, the devices do not find each other: {statuses:?}");
            }
            thread::sleep(Duration::from_millis(100));
        }
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
