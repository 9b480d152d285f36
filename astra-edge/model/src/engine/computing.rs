//! The threads that compute, as tools that look at a process see them.

use std::ffi::CString;
use std::time::Duration;

use rustix::thread;
use rustix::time::{ClockId, clock_gettime};

/// Name of the threads that run the model: the worker's, and those that ONNX Runtime has it share its work with.
pub const COMPUTING: &str = "astra-compute";

/// Processor time of the calling thread since it began.
pub fn thread_time() -> Duration {
    // Never negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Runs `build`; threads that it starts are called [`COMPUTING`], as ONNX Runtime gives its own no name, and a thread has that of
/// the one that starts it.
pub(super) fn begetting<T>(build: impl FnOnce() -> T) -> T {
    let (Ok(before), Ok(name)) = (thread::name(), CString::new(COMPUTING)) else {
        return build();
    };
    // A thread by another name computes as well.
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
        let inherited = begetting(|| {
            let thread = std::thread::spawn(own_name);
            thread.join().unwrap()
        });
        assert_eq!(inherited, COMPUTING);
        assert_ne!(before, COMPUTING);
        assert_eq!(own_name(), before);
    }
}
