//! One memory arena for all sessions of a process.
//!
//! By default each session keeps its own arena, which never shrinks. A model has dozens of sessions that run one after another: a shared
//! arena is only as large as the largest session needs, and its pages are in the processor's cache when the next session runs.

use std::ptr;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::Tensor;
use ort::{AsPointer, sys};

/// A graph that copies one number from `x` to `y`: ONNX Runtime shrinks an arena only at the end of a run. Fields are tag, length and
/// content in the protocol buffer encoding of ONNX.
const COPY: &str = concat!(
    "\x08\x08",         // IR version 8
    "\x42\x02\x10\x0d", // opset 13
    "\x3a\x37",         // the graph
    "\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity",
    "\x12\x01g",
    "\x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01", // x: float32, [1]
    "\x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01", // y: float32, [1]
);
/// Extend the arena by the requested size, not by a power of two (`kSameAsRequested`).
const AS_REQUESTED: i32 = 1;
/// ONNX Runtime's default.
const DEFAULT: i32 = -1;

/// The shared arena of an environment.
pub(super) struct Arena {
    copy: Mutex<CopyGraph>,
    shrink_options: RunOptions<NoSelectedOutputs>,
}

struct CopyGraph {
    session: Session,
    /// To buffers outside the arena.
    binding: IoBinding,
}

impl Arena {
    /// Creates the arena for sessions of `environment` that are built
    /// [with its allocators](ort::session::builder::SessionBuilder::with_env_allocators).
    pub(super) fn new(environment: &Environment) -> Result<Self, ort::Error> {
        register(environment)?;
        let session = Session::builder(environment)?
            .with_env_allocators()?
            .commit_from_memory(COPY.as_bytes())?;
        let outside = Allocator::default();
        let mut binding = session.create_binding()?;
        binding.bind_input("x", &Tensor::<f32>::new(&outside, [1_usize])?)?;
        binding.bind_output("y", Tensor::<f32>::new(&outside, [1_usize])?)?;
        let mut shrink_options = RunOptions::new()?;
        shrink_options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        Ok(Self {
            copy: Mutex::new(CopyGraph { session, binding }),
            shrink_options,
        })
    }

    /// Returns memory that no session uses to the system.
    pub(super) fn shrink(&self) -> Result<(), ort::Error> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let CopyGraph { session, binding } = &mut *copy;
        let ran = session.run_binding_with_options(binding, &self.shrink_options);
        ran.map(drop)
    }
}

/// Registers an arena with the environment, for sessions to share.
fn register(environment: &Environment) -> Result<(), ort::Error> {
    let api = ort::api();
    let memory = MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Arena,
        MemoryType::Default,
    )?;
    let mut settings: *mut sys::OrtArenaCfg = ptr::null_mut();
    // SAFETY: ONNX Runtime writes a pointer to `settings` or returns an error status, whose ownership is taken once.
    unsafe {
        let status = (api.CreateArenaCfg)(0, AS_REQUESTED, DEFAULT, DEFAULT, &mut settings);
        ort::Error::result_from_status(status)?;
    }
    // SAFETY: the environment and the memory info outlive the call, ONNX Runtime guards the environment with a lock, and `settings` is
    // read only by the first call and released once.
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
