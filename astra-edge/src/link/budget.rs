//! Room for bytes that others send, shared by all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one unit of a budget.
const UNIT: usize = 1024;
/// Share of the machine's memory that a budget takes.
const SHARE: u64 = 8;
/// Least of a budget: the largest picture fits.
const LEAST: u64 = 64 << 20;
/// Most of a budget.
const MOST: u64 = 512 << 20;
/// Memory of a machine that does not say.
const UNKNOWN: u64 = 1 << 30;

/// Bytes that may be in work at a time. Clones share them.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    units: Arc<Semaphore>,
}

/// Bytes taken from a budget until this is dropped.
#[derive(Debug)]
pub struct TakenBytes {
    _units: OwnedSemaphorePermit,
}

impl ByteBudget {
    /// A budget of this number of bytes.
    pub fn new(bytes: u64) -> Self {
        let units = bytes / UNIT as u64;
        let units = usize::try_from(units).unwrap_or(usize::MAX);
        Self {
            units: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// An eighth of the memory that there is for this process, at least 64 and at most 512 MiB.
    pub fn of_memory() -> Self {
        Self::new((memory() / SHARE).clamp(LEAST, MOST))
    }

    /// Takes bytes, or nothing where there are not as many left. Never waits.
    pub fn take(&self, bytes: usize) -> Option<TakenBytes> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        let taken = Arc::clone(&self.units).try_acquire_many_owned(units);
        taken.ok().map(|units| TakenBytes { _units: units })
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        (self.units.available_permits() * UNIT) as u64
    }
}

/// Bytes of memory of the machine, or of the control group where that has less.
fn memory() -> u64 {
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    let limit = limit.ok().and_then(|text| text.trim().parse().ok());
    let all = std::fs::read_to_string("/proc/meminfo");
    let all = all.ok().and_then(|text| total(&text)).unwrap_or(UNKNOWN);
    all.min(limit.unwrap_or(u64::MAX))
}

/// Bytes in the line `MemTotal` of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_until_none_are_left() {
        let budget = ByteBudget::new(10 << 10);
        let first = budget.take(6 << 10).unwrap();
        assert!(budget.take(5 << 10).is_none());
        let rest = budget.take((4 << 10) - 1).unwrap();
        assert_eq!(budget.left(), 0);
        assert!(budget.take(1).is_none());
        assert!(budget.take(0).is_some());
        drop((first, rest));
        assert_eq!(budget.left(), 10 << 10);
        assert!(budget.take(usize::MAX).is_none());
    }

    #[test]
    fn the_memory_of_this_machine_is_read() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  2048 kB\n"), Some(2 << 20));
        assert_eq!(total("MemTotal: many"), None);
        let left = ByteBudget::of_memory().left();
        assert!((LEAST..=MOST).contains(&left), "{left}");
    }
}
