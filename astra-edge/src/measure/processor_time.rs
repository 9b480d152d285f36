//! Processor time of devices, as the kernel counts it.

use std::fs;
use std::path::{Path, PathBuf};

use astra_model::engine::COMPUTE_THREAD;

/// Processor time of some processes, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessorTime {
    /// Of the threads that compute.
    pub computing_ms: f64,
    /// Of all others: those of the network, and those that handle requests.
    pub other_ms: f64,
}

impl ProcessorTime {
    /// The time spent since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            computing_ms: (self.computing_ms - before.computing_ms).max(0.0),
            other_ms: (self.other_ms - before.other_ms).max(0.0),
        }
    }
}

/// The processor time of a process cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: found {found}, expected the processor time of a thread", path.display())]
pub struct ProcessorTimeError {
    path: PathBuf,
    found: String,
}

/// The processes of devices on this machine, by their folders `/proc/PID`.
#[derive(Clone, Debug, Default)]
pub struct Processes(Vec<PathBuf>);

impl Processes {
    /// Processes by their ids.
    pub fn new(pids: &[u32]) -> Self {
        let folder = |pid: &u32| PathBuf::from(format!("/proc/{pid}"));
        Self(pids.iter().map(folder).collect())
    }

    /// Processor time of all of them since their start; `None` without any.
    ///
    /// # Errors
    /// A process has ended, or the kernel keeps no such figures.
    pub fn time(&self) -> Result<Option<ProcessorTime>, ProcessorTimeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut time = ProcessorTime::default();
        for process in &self.0 {
            let tasks = process.join("task");
            let threads = fs::read_dir(&tasks).map_err(|error| ProcessorTimeError {
                path: tasks,
                found: error.to_string(),
            })?;
            for thread in threads.flatten() {
                match time_of(&thread.path())? {
                    Some((true, ms)) => time.computing_ms += ms,
                    Some((false, ms)) => time.other_ms += ms,
                    None => {}
                }
            }
        }
        Ok(Some(time))
    }
}

/// Whether a thread computes, and its milliseconds on a processor; `None` of one that ended meanwhile.
fn time_of(thread: &Path) -> Result<Option<(bool, f64)>, ProcessorTimeError> {
    let path = thread.join("schedstat");
    let Ok(text) = fs::read_to_string(&path) else {
        return if thread.exists() {
            let found = "not there".to_owned();
            Err(ProcessorTimeError { path, found })
        } else {
            Ok(None)
        };
    };
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|first| first.parse::<u64>().ok());
    let Some(nanoseconds) = nanoseconds else {
        return Err(ProcessorTimeError {
            path,
            found: format!("{text:?}"),
        });
    };
    let name = fs::read_to_string(thread.join("comm")).unwrap_or_default();
    Ok(Some((
        name.trim_end() == COMPUTE_THREAD,
        nanoseconds as f64 / 1e6,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computing_thread_is_told_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        for (thread, name, time) in [
            ("1", "astra-edge", "1500000 7 2"),
            ("2", COMPUTE_THREAD, "42000000 1 9\n"),
            ("3", "tx-0", "500000 0 0"),
        ] {
            let thread = folder.path().join("task").join(thread);
            fs::create_dir_all(&thread).unwrap();
            fs::write(thread.join("comm"), format!("{name}\n")).unwrap();
            fs::write(thread.join("schedstat"), time).unwrap();
        }
        let processes = Processes(vec![folder.path().to_owned()]);
        let time = processes.time().unwrap().unwrap();
        assert_eq!((time.computing_ms, time.other_ms), (42.0, 2.0));
        let before = ProcessorTime {
            computing_ms: 40.0,
            other_ms: 5.0,
        };
        let since = time.since(before);
        assert_eq!((since.computing_ms, since.other_ms), (2.0, 0.0));
        fs::write(folder.path().join("task/3/schedstat"), "soon").unwrap();
        let error = processes.time().unwrap_err().to_string();
        assert!(
            error.contains("3/schedstat: found \"soon\", expected"),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_made_up_without_processes() {
        assert_eq!(Processes::new(&[]).time().unwrap(), None);
        assert!(Processes::new(&[u32::MAX]).time().is_err());
    }
}
