//! Child processes that never outlive their use: awaited with a limit, ended on drop.

use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::stop::Stop;

const POLL: Duration = Duration::from_millis(20);
/// What a process gets to say goodbye in before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// A running child process; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    program: String,
}

/// Exit status and output of a process.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, program })
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.program))
    }

    /// Waits for the end, calling `tick` meanwhile. On an interruption or past `limit` it is an
    /// error, and the process ends when `self` is dropped.
    pub(crate) fn wait(
        &mut self,
        stop: &Stop,
        limit: Option<Duration>,
        mut tick: impl FnMut(),
    ) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                // A signal from the terminal reaches the whole process group, the child first.
                stop.check()?;
                return Ok(status);
            }
            stop.check()?;
            if let Some(limit) = limit.filter(|limit| start.elapsed() > *limit) {
                bail!("{} did not end within {} s", self.program, limit.as_secs());
            }
            tick();
            thread::sleep(POLL);
        }
    }

    /// Signals the process to end, without waiting for it.
    pub(crate) fn terminate(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended; it is reaped on drop either way.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.terminate();
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > GRACE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

/// Runs `command` with its own standard streams to its end.
pub(crate) fn run(command: &mut Command, stop: &Stop) -> Result<ExitStatus> {
    Running::spawn(command)?.wait(stop, None, || ())
}

/// Runs `command` as [`run`] does; any status but success is an error.
pub(crate) fn run_to_success(command: &mut Command, stop: &Stop) -> Result<()> {
    let status = run(command, stop)?;
    if !status.success() {
        bail!(
            "{} failed ({status})",
            command.get_program().to_string_lossy()
        );
    }
    Ok(())
}

/// Runs `command` and keeps what it writes. Standard error is passed through instead of kept
/// when `show_stderr` is set.
pub(crate) fn capture(
    command: &mut Command,
    stop: &Stop,
    limit: Option<Duration>,
    show_stderr: bool,
    tick: impl FnMut(),
) -> Result<Captured> {
    // Files, not pipes: they need not be drained while the process runs.
    let mut stdout = tempfile::tempfile().context("cannot create a temporary file")?;
    let mut stderr = tempfile::tempfile().context("cannot create a temporary file")?;
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?);
    if !show_stderr {
        command.stderr(stderr.try_clone()?);
    }
    let status = Running::spawn(command)?.wait(stop, limit, tick)?;
    Ok(Captured {
        status,
        stdout: read_back(&mut stdout)?,
        stderr: read_back(&mut stderr)?,
    })
}

fn read_back(file: &mut std::fs::File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Interrupted;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: u32) -> bool {
        // A zombie has been killed, only not reaped; `comm` may hold spaces, never a later ')'.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| {
                stat.rsplit_once(')')
                    .map(|(_, rest)| !rest.starts_with(" Z"))
            })
            .unwrap_or(false)
    }

    #[test]
    fn keeps_both_streams_and_the_status() {
        let mut command = shell("echo out; echo err >&2; exit 3");
        let output = capture(&mut command, &Stop::default(), None, false, || ()).unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("out\n", "err\n")
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_limit_ends_the_wait_and_the_process() {
        let mut running = Running::spawn(&mut shell("exec sleep 600")).unwrap();
        let pid = running.child.id();
        let error = running
            .wait(&Stop::default(), Some(Duration::ZERO), || ())
            .unwrap_err()
            .to_string();
        assert_eq!(error, "sh did not end within 0 s");
        drop(running);
        assert!(!alive(pid));
    }

    #[test]
    fn an_interruption_ends_the_wait_and_the_process() {
        let stop = Stop::default();
        let mut running = Running::spawn(&mut shell("exec sleep 600")).unwrap();
        let pid = running.child.id();
        assert!(alive(pid));
        let error = running
            .wait(&stop.clone(), None, || stop.set())
            .unwrap_err();
        assert!(error.is::<Interrupted>());
        drop(running);
        assert!(!alive(pid));
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("no-such-program-here"), &Stop::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program-here");
    }
}
