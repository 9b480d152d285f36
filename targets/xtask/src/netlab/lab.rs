//! A network of namespaces on this machine, and processes in it.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::child;
use crate::stop::Stop;

use super::args::NetlabArgs;
use super::cleanup;
use super::link::{Link, Mbps};
use super::preemption_timer::PreemptionTimer;
use super::quota::Hierarchy;
use super::wiring::{self, Line};

/// Locked by the lab and by the process that takes it down: two labs at a time would disturb each other's measurements.
const LOCK: &str = "/run/astra-lab.lock";
const LOCK_POLL: Duration = Duration::from_millis(100);
/// The hidden command of the process that takes the lab down.
pub(crate) const CLEANUP: &str = "netlab-cleanup";
/// Tools that the lab needs, and their Debian packages.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("setpriv", "util-linux"),
    ("chrt", "util-linux"),
];

/// A lab without its link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) devices: u8,
    /// Cores of each device; `None` for all there are.
    pub(crate) cores: Option<f64>,
    /// Percent of packets that are dropped.
    pub(crate) loss: f64,
    pub(crate) shared_medium: bool,
}

impl From<&NetlabArgs> for Shape {
    fn from(args: &NetlabArgs) -> Self {
        Self {
            devices: args.devices,
            cores: args.cpu,
            loss: args.loss,
            shared_medium: args.shared_medium,
        }
    }
}

/// A lab. Dropping it takes it down, and so does any end of this process.
#[derive(Debug)]
pub(crate) struct Lab {
    shape: Shape,
    /// Files of control groups that process IDs are written into, one a device.
    groups: Vec<PathBuf>,
    /// Runs if devices have a CPU quota.
    timer: Option<PreemptionTimer>,
    cleanup: Child,
    /// Closing it starts the cleanup.
    alive: Option<ChildStdin>,
}

impl Lab {
    /// Takes down what an earlier lab may have left and builds a new one.
    pub(crate) fn build(shape: Shape, rate: Mbps, stop: &Stop) -> Result<Self> {
        check(shape.cores)?;
        let hierarchy = shape.cores.map(|_| Hierarchy::find()).transpose()?;
        let lock = lock(stop)?;
        cleanup::remove_all().context("cannot take down an earlier lab")?;
        let mut lab = Self::with_cleanup(shape, lock)?;
        lab.connect(rate)?;
        if let (Some(cores), Some(hierarchy)) = (shape.cores, hierarchy) {
            for number in 1..=shape.devices {
                let group = hierarchy.make(&wiring::device(number), cores)?;
                lab.groups.push(group);
            }
            lab.timer = Some(PreemptionTimer::start()?);
        }
        Ok(lab)
    }

    /// An empty lab, and the process that will take it down.
    fn with_cleanup(shape: Shape, lock: File) -> Result<Self> {
        // This program, even if its file has been replaced.
        let mut cleanup = Command::new("/proc/self/exe");
        cleanup
            .arg(CLEANUP)
            .stdin(Stdio::piped())
            // The lock is free once this process has ended too.
            .stdout(lock)
            // Ctrl-C ends the lab's process, and then this one through its standard input.
            .process_group(0);
        let mut cleanup = cleanup
            .spawn()
            .context("cannot start the process that takes the lab down")?;
        Ok(Self {
            shape,
            groups: Vec::new(),
            timer: None,
            alive: cleanup.stdin.take(),
            cleanup,
        })
    }

    /// Makes namespaces, cables and links.
    fn connect(&self, rate: Mbps) -> Result<()> {
        let Shape { devices, loss, .. } = self.shape;
        run(&wiring::cables(devices))?;
        if self.shape.shared_medium {
            run(&wiring::medium(devices))?;
        }
        self.set_rate(rate)?;
        if loss > 0.0 {
            run(&wiring::losses(devices, loss))?;
        }
        Ok(())
    }

    fn set_rate(&self, rate: Mbps) -> Result<()> {
        run(&wiring::shape(
            self.shape.devices,
            rate,
            self.shape.shared_medium,
        ))
    }

    /// Changes the link while processes run.
    pub(crate) fn set_link(&self, link: &Link) -> Result<()> {
        self.set_rate(link.rate)
            .with_context(|| format!("link {}", link.name))
    }

    /// `command` on device `number`: in its network namespace, with its share of the processor.
    pub(crate) fn on_device(&self, number: u8, command: &Command) -> Command {
        let index = usize::from(number).wrapping_sub(1);
        let group = self
            .groups
            .get(index)
            .map(|file| file.as_os_str().to_owned());
        inside(number, group, command)
    }

    /// `command` in the network namespace of device `number`, with all of the machine's processor.
    pub(crate) fn beside_device(&self, number: u8, command: &Command) -> Command {
        inside(number, None, command)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.alive.take());
        match self.cleanup.wait() {
            Ok(status) if status.success() => {}
            // It has printed why.
            Ok(_) => eprintln!("the lab was not taken down; the next one tries again"),
            Err(error) => eprintln!("cannot wait for the cleanup of the lab: {error}"),
        }
    }
}

/// The script enters a control group, if one is named, and becomes the command, which is killed when the lab's process ends.
fn inside(number: u8, group: Option<OsString>, command: &Command) -> Command {
    const SCRIPT: &str = r#"[ -z "$1" ] || echo $$ > "$1" || exit 1
namespace=$2; shift 2
exec ip netns exec "$namespace" setpriv --pdeathsig KILL "$@""#;
    let mut inside = Command::new("sh");
    inside
        .args(["-c", SCRIPT, "sh"])
        .arg(group.unwrap_or_default())
        .arg(wiring::device(number))
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside
}

/// Whether a lab with devices of `cores` cores can be built here.
///
/// # Errors
/// This user is not root, tools are missing, or CPU quotas do not work here.
pub(crate) fn check(cores: Option<f64>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "user: found one that is not root, expected root: the lab makes network namespaces and control groups"
        );
    }
    if cores.is_some() {
        Hierarchy::find()?;
    }
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, _)| !is_there(tool)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(anyhow!(
        "missing tools of the lab: {} (on Debian: apt-get install {})",
        tools.join(", "),
        packages.join(" ")
    ))
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

fn lock(stop: &Stop) -> Result<File> {
    let file = File::create(LOCK).with_context(|| format!("cannot create {LOCK}"))?;
    let mut printed = false;
    loop {
        stop.check()?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if !printed => {
                eprintln!("another lab is running; waiting for its end");
                printed = true;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {LOCK}"));
            }
        }
        thread::sleep(LOCK_POLL);
    }
}

/// Runs command lines in order, up to the first that fails.
fn run(lines: &[Line]) -> Result<()> {
    for line in lines {
        let Some((program, arguments)) = line.split_first() else {
            continue;
        };
        let mut command = Command::new(program);
        command.args(arguments);
        // Not to be interrupted: it is short.
        let output = child::capture(&mut command, &Stop::default(), None, false, || ())?;
        if !output.status.success() {
            bail!("{} failed: {}", line.join(" "), output.stderr.trim());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_arguments_and_environment() {
        let mut command = Command::new("/bin/tool");
        command
            .args(["run", "a b"])
            .env("KEY", "value")
            .env_remove("OTHER");
        let inside = inside(3, Some("/groups/3".into()), &command);
        let arguments: Vec<_> = inside.get_args().skip(2).collect();
        assert_eq!(
            arguments,
            ["sh", "/groups/3", "astra-lab-3", "/bin/tool", "run", "a b"]
        );
        let variables: Vec<_> = inside.get_envs().collect();
        assert_eq!(
            variables,
            [
                ("KEY".as_ref(), Some("value".as_ref())),
                ("OTHER".as_ref(), None)
            ]
        );
    }

    #[test]
    fn tools_are_looked_for_where_the_shell_would() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-tool-here"));
    }
}
