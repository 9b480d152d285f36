//! How long work tells how far it is.

/// Called from any thread with the work done and all there is; done never shrinks from one thread's view and ends at all.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Adds up work that several threads do and reports the sum.
pub(crate) struct Meter<'a> {
    done: std::sync::atomic::AtomicU64,
    all: u64,
    report: Progress<'a>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(all: u64, report: Progress<'a>) -> Self {
        report(0, all);
        Self {
            done: 0.into(),
            all,
            report,
        }
    }

    pub(crate) fn add(&self, work: u64) {
        let before = self
            .done
            .fetch_add(work, std::sync::atomic::Ordering::Relaxed);
        (self.report)(before + work, self.all);
    }
}
