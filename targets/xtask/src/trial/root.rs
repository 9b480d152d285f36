//! The Debian package in a system of the board's architecture: installed, started as its service is, in a cluster with a device of
//! this machine, and removed.
//!
//! The system is Debian's smallest, by `debootstrap`; its programs run by qemu where the architecture is another. It is kept in the
//! cache as a tarball, as making it takes minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;

use super::Bench;
use super::cluster::Cluster;
use crate::provision::Cache;
use crate::stop::Stop;
use crate::{child, package};

/// The release of Debian that boards have.
const SUITE: &str = "bookworm";
const SETTINGS: &str = "etc/astra-edge/device.toml";
const UNIT: &str = "usr/lib/systemd/system/astra-edge.service";
/// Mounts what a system has, a processor of its own and the bundle, and becomes a command in it.
const ENTER: &str = r#"
root=$1 cpuinfo=$2 bundle=$3 && shift 3
mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount --bind "$cpuinfo" "$root/proc/cpuinfo"
[ -z "$bundle" ] || { mkdir -p "$root/var/lib/astra-edge/bundle" && mount --bind "$bundle" "$root/var/lib/astra-edge/bundle"; }
exec chroot "$@"
"#;

/// A system in a folder.
struct System<'a> {
    bench: &'a Bench<'a>,
    folder: TempDir,
}

/// Tries the package.
///
/// # Errors
/// Something is missing here (the error says what), or a check fails.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a system in a folder is made by root alone: run this as root");
    }
    let architecture = bench.board.debian_architecture().unwrap_or_default();
    let packed = package::run(bench.board, bench.stop)?;
    let cache = Cache::locate()?;
    let tarball = cache.path(&format!("roots/{SUITE}-{architecture}.tar"));
    if !bench.board.is_native() {
        register(bench.board.architecture(), bench.stop)?;
    }
    if !tarball.exists() {
        bootstrap(&tarball, architecture, bench.stop)?;
    }
    let system = System::unpack(bench, &tarball)?;
    let deb = packed.deb.file_name().unwrap_or_default();
    fs::copy(&packed.deb, system.path("tmp").join(deb))?;
    let inside = Path::new("/tmp").join(deb);
    system.dpkg(&["--install", &inside.to_string_lossy()])?;
    bench.say(&format!("{} installs", deb.to_string_lossy()));
    system.serves()?;
    system.dpkg(&["--purge", "astra-edge"])?;
    for left in ["usr/bin/astra-edge", SETTINGS, "usr/lib/astra-edge"] {
        if system.path(left).exists() {
            bail!("{left} is left when the package is purged");
        }
    }
    bench.say("the package is removed without a trace");
    Ok(())
}

impl<'a> System<'a> {
    fn unpack(bench: &'a Bench<'a>, tarball: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut command = Command::new("tar");
        command
            .args(["--extract", "--numeric-owner", "--directory"])
            .arg(folder.path())
            .arg("--file")
            .arg(tarball);
        child::run_to_success(&mut command, bench.stop)?;
        Ok(Self { bench, folder })
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// A command in the system; `words` are those of `chroot`, without its folder.
    fn command(&self, bundle: Option<&Path>, flags: &[&str], words: &[String]) -> Command {
        let emulator = &self.bench.there.emulator;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", ENTER, "sh"])
            .arg(self.folder.path())
            .arg(emulator.cpuinfo())
            .arg(bundle.unwrap_or(Path::new("")))
            .args(flags)
            .arg(self.folder.path())
            .args(words)
            // Nothing of this machine's own settings.
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        if let Some(cpu) = emulator.cpu() {
            command.env("QEMU_CPU", cpu);
        }
        command
    }

    fn dpkg(&self, arguments: &[&str]) -> Result<()> {
        let words: Vec<String> = ["dpkg"]
            .iter()
            .chain(arguments)
            .map(|&word| word.to_owned())
            .collect();
        let mut command = self.command(None, &[], &words);
        let output = child::capture(&mut command, self.bench.stop, None, false, || ())?;
        if !output.status.success() {
            bail!(
                "{} failed ({}): {}",
                words.join(" "),
                output.status,
                output.stderr.trim()
            );
        }
        Ok(())
    }

    /// The service's own command, as its own user, in a cluster with a device of this machine.
    fn serves(&self) -> Result<()> {
        let bench = self.bench;
        let mut cluster = Cluster::new(&bench.here, bench.photo, bench.stop)?;
        cluster.start("here", &bench.here, bench.bundle)?;
        let settings = self.path(SETTINGS);
        let shipped = fs::read_to_string(&settings)?;
        let ours = format!(
            "\nname = \"there\"\ncluster = {:?}\nlisten = [\"127.0.0.1\"]\nmulticast = false\n",
            cluster.name()
        );
        fs::write(&settings, shipped + &ours)?;
        let words = service_command(&fs::read_to_string(self.path(UNIT))?)?;
        let user = ["--userspec=astra-edge:astra-edge"];
        let mut command = self.command(Some(bench.bundle), &user, &words);
        cluster.start_by("there", &mut command)?;
        let took = cluster.wait()?.as_secs_f64();
        let (report, answer) = cluster.infer(Some("exact"), "156,100", &[])?;
        super::members(&report, &[("here", 156), ("there", 100)])?;
        bench.say(&format!("the packaged service is seen after {took:.0} s"));
        bench.exact("this machine and the packaged service", &report, &answer)
    }
}

/// The words of the unit's `ExecStart`.
fn service_command(unit: &str) -> Result<Vec<String>> {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let line = line.ok_or_else(|| anyhow!("the unit has no ExecStart"))?;
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

/// Lets the kernel start programs of another architecture, as Debian's packages of qemu do where they may.
fn register(architecture: &str, stop: &Stop) -> Result<()> {
    let folder = Path::new("/proc/sys/fs/binfmt_misc");
    if !folder.join("register").exists() {
        let mut mount = Command::new("mount");
        mount.args(["-t", "binfmt_misc", "binfmt_misc"]).arg(folder);
        child::run_to_success(&mut mount, stop)?;
    }
    let name = format!("qemu-{architecture}");
    if folder.join(&name).exists() {
        return Ok(());
    }
    let rule = format!("/usr/lib/binfmt.d/{name}.conf");
    let rule = fs::read(&rule)
        .with_context(|| format!("cannot read {rule}: apt-get install qemu-user-static"))?;
    fs::write(folder.join("register"), rule).context("cannot register qemu with the kernel")
}

/// Debian's smallest system as a tarball.
fn bootstrap(tarball: &Path, architecture: &str, stop: &Stop) -> Result<()> {
    eprintln!("making a Debian system for {architecture}: some minutes, once");
    let found = Command::new("debootstrap")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    found.context("debootstrap is not here: as root, apt-get install debootstrap")?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut command = Command::new("debootstrap");
    command
        .args([
            "--variant=minbase",
            // A mirror is believed for its signature alone.
            "--force-check-gpg",
            "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
            &format!("--arch={architecture}"),
            SUITE,
        ])
        .arg(folder.path())
        .stdout(Stdio::null());
    child::run_to_success(&mut command, stop)?;
    if let Some(parent) = tarball.parent() {
        fs::create_dir_all(parent)?;
    }
    // Whole or absent.
    let part = tarball.with_extension("part");
    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--numeric-owner",
            "--exclude=./var/cache/apt/archives/*.deb",
        ])
        .arg("--file")
        .arg(&part)
        .arg("--directory")
        .arg(folder.path())
        .arg(".");
    child::run_to_success(&mut command, stop)?;
    Ok(fs::rename(&part, tarball)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_command_is_the_services() {
        let unit =
            fs::read_to_string(crate::binaries::workspace().join("deploy/astra-edge.service"));
        let words = service_command(&unit.unwrap()).unwrap();
        assert_eq!(
            words.join(" "),
            format!("/usr/bin/astra-edge run --config /{SETTINGS}")
        );
        assert!(service_command("[Service]\n").is_err());
    }
}
