//! Programs of another board on this machine: qemu's user mode, and a `/proc/cpuinfo` that fits it.
//!
//! ONNX Runtime reads `/proc/cpuinfo` to choose its kernels, and crashes on that of a processor of another architecture; qemu
//! before version 9 shows the machine's own. So every program gets a mount namespace of its own with another file over it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::board::Board;

/// Cores that the emulated machine seems to have.
const CORES: usize = 4;

/// What mounts the file named first over `/proc/cpuinfo`, and becomes the command after it.
const MOUNT: &str = r#"mount --bind "$0" /proc/cpuinfo && exec "$@""#;

/// How a board's programs run here.
#[derive(Clone, Debug)]
pub(crate) struct Emulator {
    /// The script that runs its arguments; none where programs run as they are.
    runner: Option<PathBuf>,
    /// The file that stands for `/proc/cpuinfo`.
    cpuinfo: PathBuf,
    /// The emulated processor.
    cpu: Option<String>,
}

impl Emulator {
    /// Runs programs as they are.
    pub(crate) fn none() -> Self {
        Self {
            runner: None,
            cpuinfo: PathBuf::from("/proc/cpuinfo"),
            cpu: None,
        }
    }

    /// What runs the programs of `board`, written to `folder`.
    ///
    /// # Errors
    /// Something is missing here; the error says how to install it.
    pub(crate) fn find(board: &Board, folder: &Path) -> Result<Self> {
        if board.is_native() {
            return Ok(Self::none());
        }
        let cpuinfo = folder.join("cpuinfo");
        let architecture = board.architecture();
        let qemu = find_qemu(architecture).with_context(|| install(board))?;
        if !loader(architecture).is_some_and(|loader| loader.exists()) {
            bail!(
                "the C library of {architecture} is not here: {}",
                install(board)
            );
        }
        let unshare: &[&str] = match (can_mount(&[]), can_mount(&["--map-root-user"])) {
            (true, _) => &["unshare", "--mount"],
            (false, true) => &["unshare", "--map-root-user", "--mount"],
            (false, false) => bail!(
                "programs of {architecture} need a mount namespace, which this user may not make: run this as root"
            ),
        };
        let cpu = emulated_cpu(&qemu, board.cpu.as_deref());
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&cpuinfo, describe(&cpu)))
            .with_context(|| format!("cannot write {}", cpuinfo.display()))?;
        let mut words: Vec<OsString> = unshare.iter().map(OsString::from).collect();
        words.extend(["sh", "-c", MOUNT].map(OsString::from));
        words.extend([cpuinfo.clone().into(), qemu.into()]);
        words.extend(["-cpu", &cpu].map(OsString::from));
        Ok(Self {
            runner: Some(write_runner(folder, &words)?),
            cpuinfo,
            cpu: Some(cpu),
        })
    }

    /// The command that runs `program`.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(runner) = &self.runner else {
            return Command::new(program);
        };
        let mut command = Command::new(runner);
        command.arg(program);
        command
    }

    /// The script that runs its arguments; none where programs run as they are.
    pub(crate) fn runner(&self) -> Option<&Path> {
        self.runner.as_deref()
    }

    /// The emulated processor, where one is.
    pub(crate) fn cpu(&self) -> Option<&str> {
        self.cpu.as_deref()
    }

    /// The file that says what processor programs run on.
    pub(crate) fn cpuinfo(&self) -> &Path {
        &self.cpuinfo
    }
}

/// A script, because cargo's runners are words without quotes.
fn write_runner(folder: &Path, words: &[OsString]) -> Result<PathBuf> {
    let path = folder.join("run");
    let text = format!("#!/bin/sh\nexec {} \"$@\"\n", quoted(words));
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn find_qemu(architecture: &str) -> Result<PathBuf> {
    let names = [
        format!("qemu-{architecture}-static"),
        format!("qemu-{architecture}"),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places
        .into_iter()
        .find(|place| place.is_file())
        .with_context(|| format!("no {} here", names.join(" or ")))
}

fn install(board: &Board) -> String {
    let debian = board.debian_architecture().unwrap_or("?");
    format!(
        "with Debian's packages (as root): dpkg --add-architecture {debian}; apt-get update; \
         apt-get install qemu-user-static libc6:{debian} libstdc++6:{debian}"
    )
}

/// The dynamic loader that programs of an architecture name.
fn loader(architecture: &str) -> Option<&'static Path> {
    match architecture {
        "aarch64" => Some(Path::new("/lib/ld-linux-aarch64.so.1")),
        "x86_64" => Some(Path::new("/lib64/ld-linux-x86-64.so.2")),
        _ => None,
    }
}

fn can_mount(flags: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    command
        .args(flags)
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind /dev/null /proc/cpuinfo",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The board's processor where qemu knows it, else all that qemu can.
fn emulated_cpu(qemu: &Path, wanted: Option<&str>) -> String {
    let known = Command::new(qemu).args(["-cpu", "help"]).output();
    let known = known.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let wanted = wanted.filter(|wanted| known.split_whitespace().any(|name| name == *wanted));
    wanted.unwrap_or("max").to_owned()
}

/// `/proc/cpuinfo` as Linux writes it on ARM. ONNX Runtime looks at the implementer and the part.
fn describe(cpu: &str) -> String {
    let part = match cpu {
        "cortex-a53" => "0xd03",
        "cortex-a76" => "0xd0b",
        _ => "0xd08",
    };
    let core = |core| {
        format!(
            "processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n\
             CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\n\
             CPU revision\t: 3\n\n"
        )
    };
    (0..CORES).map(core).collect()
}

/// Words as one line of a shell.
fn quoted(words: &[OsString]) -> String {
    let quote = |word: &OsString| {
        let word: &OsStr = word;
        format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_this_machine_run_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let name = match std::env::consts::ARCH {
            "aarch64" => "raspberry-pi-4",
            _ => "x86-64",
        };
        let emulator = Emulator::find(&Board::load(name).unwrap(), folder.path()).unwrap();
        let command = emulator.command(Path::new("/bin/true"));
        assert_eq!(command.get_program(), "/bin/true");
        assert!(emulator.runner().is_none());
    }

    #[test]
    fn a_runner_passes_its_arguments_on() {
        let folder = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", r#"printf '%s|' "$0" "$@""#, "a b"].map(OsString::from);
        let runner = write_runner(folder.path(), &words).unwrap();
        let output = Command::new("sh")
            .arg(runner)
            .args(["it's", ""])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's||");
    }

    #[test]
    fn a_shell_reads_words_back() {
        let words = ["a b", "it's", "$HOME", ""].map(OsString::from);
        let script = format!("printf '%s|' {}", quoted(&words));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$HOME||");
    }

    #[test]
    fn every_core_is_described() {
        let text = describe("cortex-a53");
        assert_eq!(text.matches("CPU part\t: 0xd03\n").count(), CORES);
        assert!(describe("max").contains("0xd08"));
    }
}
