//! The memory that sessions compute in: one arena for all sessions of a process.
//!
//! By themselves sessions keep an arena each, as large as the most they ever needed. A model has dozens of them, which run one after
//! another, so one arena is as large as the largest needs, and its pages are warm when the next begins.

use std::ptr;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::Tensor;
use ort::{AsPointer, sys};

/// A graph that copies one number from `x` to `y`: ONNX Runtime gives memory back only at the end of a run. Fields are tag, length and
/// content, as ONNX's protocol buffers have them.
const COPY: &str = concat!(
    "\x08\x08",         // IR version 8
    "\x42\x02\x10\x0d", // operators of version 13
    "\x3a\x37",         // the graph
    "\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity",
    "\x12\x01g",
    "\x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01", // x: float32, [1]
    "\x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01", // y: likewise
);
/// Regions as large as what is asked for, not rounded up to a power of two.
const AS_REQUESTED: i32 = 1;
/// What ONNX Runtime chooses itself.
const DEFAULT: i32 = -1;

/// The arena of an environment.
pub(super) struct Arena {
    copy: Mutex<Copying>,
    shrinking: RunOptions<NoSelectedOutputs>,
}

struct Copying {
    session: Session,
    /// Of buffers outside the arena.
    binding: IoBinding,
}

impl Arena {
    /// Makes the arena that sessions of `environment` use which are [told to](ort::session::builder::SessionBuilder::with_env_allocators).
    pub(super) fn of(environment: &Environment) -> Result<Self, ort::Error> {
        register(environment)?;
        let session = Session::builder(environment)?
            .with_env_allocators()?
            .commit_from_memory(COPY.as_bytes())?;
        let outside = Allocator::default();
        let mut binding = session.create_binding()?;
        binding.bind_input("x", &Tensor::<f32>::new(&outside, [1_usize])?)?;
        binding.bind_output("y", Tensor::<f32>::new(&outside, [1_usize])?)?;
        let mut shrinking = RunOptions::new()?;
        shrinking.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        Ok(Self {
            copy: Mutex::new(Copying { session, binding }),
            shrinking,
        })
    }

    /// Gives the system what no session uses now.
    pub(super) fn shrink(&self) -> Result<(), ort::Error> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let Copying { session, binding } = &mut *copy;
        let ran = session.run_binding_with_options(binding, &self.shrinking);
        ran.map(drop)
    }
}

/// Adds an arena to what sessions of an environment can share.
fn register(environment: &Environment) -> Result<(), ort::Error> {
    let api = ort::api();
    let memory = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Arena,
        MemoryType::Default,
    )?;
    let mut settings: *mut sys::OrtArenaCfg = ptr::null_mut();
    // SAFETY: ONNX Runtime writes a pointer to `settings` or gives an error, which is taken over once.
    unsafe {
        let status = (api.CreateArenaCfg)(0, AS_REQUESTED, DEFAULT, DEFAULT, &mut settings);
        ort::Error::result_from_status(status)?;
    }
    // SAFETY: the environment and the description of memory outlive the call, a lock of ONNX Runtime's guards the former, and
    // `settings`, made above, is read by the first call alone and released once.
    unsafe {
        let environment = environment.ptr().cast_mut();
        let status = (api.CreateAndRegisterAllocator)(environment, memory.ptr(), settings);
        (api.ReleaseArenaCfg)(settings);
        ort::Error::result_from_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_the_graph_fit() {
        let graph = COPY.as_bytes();
        assert_eq!(graph.len() - 8, usize::from(graph[7]));
        assert_eq!(graph.len() - 8, 18 + 3 + 17 + 17);
    }
}
