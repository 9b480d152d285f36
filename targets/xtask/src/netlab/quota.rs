//! Shares of a core, by the CPU quota of control groups, version 1 or 2.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::wiring::PREFIX;

/// Smallest share of a core: with less, the kernel's minimum quota would make a device run and stop in larger steps than a slow
/// processor does.
pub(crate) const LEAST_CORES: f64 = 0.1;
/// Microseconds of a quota's period, longer where the quota would be below [`LEAST_QUOTA`]. Of four busy devices with 0.45 core each,
/// work of 3.3 ms took 7.35 ms, standard deviation 3.1 ms, with 10 ms and the kernel's own tick; with 4 ms and the preemption timer
/// 7.36 ms and 0.9 ms (400 pieces of work a device on two cores).
const PERIOD: f64 = 4_000.0;
/// Microseconds: the kernel refuses smaller quotas.
const LEAST_QUOTA: f64 = 1_000.0;
const PROCESSES: &str = "cgroup.procs";

/// Where control groups of processor time are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    V1(PathBuf),
    V2(PathBuf),
}

impl Hierarchy {
    /// This system's; version 1 where there are both, since version 2 then lacks its controllers.
    pub(crate) fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("/proc/mounts")?;
        match Self::among(&mounts) {
            Some(found) => found.checked(),
            None => bail!("no control groups for processor time are mounted: --cpu has no effect"),
        }
    }

    /// Version 2 may lack the controller: in a container, or where version 1 has it.
    fn checked(self) -> Result<Self> {
        let Self::V2(root) = &self else {
            return Ok(self);
        };
        let path = root.join("cgroup.controllers");
        let found = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if found.split_whitespace().any(|name| name == "cpu") {
            return Ok(self);
        }
        bail!(
            "{}: found {:?}, expected the controller cpu: --cpu has no effect here",
            path.display(),
            found.trim()
        )
    }

    fn among(mounts: &str) -> Option<Self> {
        let fields = mounts.lines().filter_map(|mount| {
            let mut fields = mount.split(' ').skip(1);
            Some((fields.next()?, fields.next()?, fields.next()?))
        });
        let mut found = None;
        for (path, kind, options) in fields {
            match kind {
                "cgroup" if options.split(',').any(|option| option == "cpu") => {
                    return Some(Self::V1(path.into()));
                }
                "cgroup2" => found = Some(Self::V2(path.into())),
                _ => {}
            }
        }
        found
    }

    fn root(&self) -> &Path {
        match self {
            Self::V1(root) | Self::V2(root) => root,
        }
    }

    /// Makes the group `name` with a share of a core, or several cores; returns the file that processes are entered into.
    pub(crate) fn make(&self, name: &str, cores: f64) -> Result<PathBuf> {
        let folder = self.root().join(name);
        if let Self::V2(root) = self {
            write(&root.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let period = period(cores).as_micros() as f64;
        let quota = (cores * period).round();
        match self {
            Self::V1(_) => {
                write(&folder.join("cpu.cfs_period_us"), &period.to_string())?;
                write(&folder.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
            Self::V2(_) => write(&folder.join("cpu.max"), &format!("{quota} {period}"))?,
        }
        Ok(folder.join(PROCESSES))
    }

    /// Groups of a lab, this one or an earlier one.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .map(|entry| entry.path())
            .collect()
    }
}

/// The period of the quota for a share of `cores`.
pub(crate) fn period(cores: f64) -> Duration {
    Duration::from_micros(PERIOD.max((LEAST_QUOTA / cores).ceil()) as u64)
}

/// Process IDs of a group.
pub(crate) fn processes(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Removes a group without processes; one that is gone is no error.
pub(crate) fn remove(group: &Path) -> std::io::Result<()> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {text:?} to {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
";
    const V2: &str = "\
proc /proc proc rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0
";

    #[test]
    fn both_versions_are_found() {
        let v1 = Hierarchy::V1("/sys/fs/cgroup/cpu,cpuacct".into());
        assert_eq!(Hierarchy::among(V1), Some(v1));
        assert_eq!(
            Hierarchy::among(V2),
            Some(Hierarchy::V2("/sys/fs/cgroup".into()))
        );
        assert_eq!(Hierarchy::among("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn version_2_needs_its_controller() {
        let root = tempfile::tempdir().unwrap();
        let found = Hierarchy::V2(root.path().to_owned());
        fs::write(root.path().join("cgroup.controllers"), "cpuset cpu io\n").unwrap();
        assert_eq!(found.clone().checked().unwrap(), found);
        fs::write(root.path().join("cgroup.controllers"), "hugetlb\n").unwrap();
        let error = found.checked().unwrap_err().to_string();
        assert!(
            error.contains("found \"hugetlb\", expected the controller cpu"),
            "{error}"
        );
    }

    #[test]
    fn quotas_are_written_as_each_version_wants_them() {
        let root = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
        let v1 = Hierarchy::V1(root.path().to_owned());
        let processes = v1.make("astra-lab-1", 0.45).unwrap();
        assert_eq!(processes, root.path().join("astra-lab-1/cgroup.procs"));
        assert_eq!(read("astra-lab-1/cpu.cfs_period_us"), "4000");
        assert_eq!(read("astra-lab-1/cpu.cfs_quota_us"), "1800");
        let v2 = Hierarchy::V2(root.path().to_owned());
        v2.make("astra-lab-2", 1.5).unwrap();
        assert_eq!(read("astra-lab-2/cpu.max"), "6000 4000");
        v2.make("astra-lab-3", 0.1).unwrap();
        assert_eq!(read("astra-lab-3/cpu.max"), "1000 10000");
        assert_eq!(read("cgroup.subtree_control"), "+cpu");
        let mut leftovers = v2.leftovers();
        leftovers.sort();
        assert_eq!(
            leftovers,
            [
                root.path().join("astra-lab-1"),
                root.path().join("astra-lab-2"),
                root.path().join("astra-lab-3")
            ]
        );
        assert!(
            v1.make("astra-lab-1", 0.45).is_err(),
            "a group that was there was used"
        );
    }

    #[test]
    fn a_group_that_is_gone_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("astra-lab-1");
        fs::create_dir(&group).unwrap();
        fs::write(group.join(PROCESSES), "12\n345\n").unwrap();
        assert_eq!(processes(&group), [12, 345]);
        fs::remove_file(group.join(PROCESSES)).unwrap();
        remove(&group).unwrap();
        remove(&group).unwrap();
    }
}
