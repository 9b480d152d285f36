//! Name and processor time of the threads that compute.

use std::ffi::CString;
use std::time::Duration;

use rustix::thread;
use rustix::time::{ClockId, clock_gettime};

/// Name of the threads that run the model: the worker's and those of ONNX Runtime's thread pool.
pub const COMPUTE_THREAD: &str = "astra-compute";

/// Processor time of the calling thread since it started.
pub fn thread_time() -> Duration {
    // Never negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Runs `build` so that threads it spawns are named [`COMPUTE_THREAD`]: ONNX Runtime names none of its own, and Linux gives a thread
/// the name of the thread that spawns it.
pub(super) fn with_compute_name<T>(build: impl FnOnce() -> T) -> T {
    let (Ok(before), Ok(name)) = (thread::name(), CString::new(COMPUTE_THREAD)) else {
        return build();
    };
    // A thread computes under any name.
    let _ = thread::set_name(&name);
    let built = build();
    let _ = thread::set_name(&before);
    built
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_name() -> String {
        thread::name().unwrap().into_string().unwrap()
    }

    #[test]
    fn threads_inherit_the_name_and_the_caller_keeps_its_own() {
        let before = own_name();
        let inherited = with_compute_name(|| {
            let thread = std::thread::spawn(own_name);
            thread.join().unwrap()
        });
        assert_eq!(inherited, COMPUTE_THREAD);
        assert_ne!(before, COMPUTE_THREAD);
        assert_eq!(own_name(), before);
    }
}
