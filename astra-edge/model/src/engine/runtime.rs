//! The loaded ONNX Runtime library, and the options of its sessions.

use std::path::Path;
use std::sync::Arc;

use astra_bundle::Bundle;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::arena::Arena;
use super::compute_thread;
use super::library;
use super::packed_weights::{PackedWeights, warn_not_cached};
use super::provider::usable;
use super::{EngineError, Provider};

/// The loaded library, its execution providers, and one thread pool for all sessions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    path: Arc<Path>,
    threads: usize,
    /// In order of preference; never empty.
    providers: Arc<[Provider]>,
    prepacking: bool,
    /// Memory of all sessions; each has its own where ONNX Runtime creates no shared arena.
    arena: Option<Arc<Arena>>,
    packed: Option<Arc<PackedWeights>>,
    lacks_weights_cache: bool,
}

impl Runtime {
    /// Loads ONNX Runtime from the first of these that has it: `path`, files and folders separated by colons; `ORT_DYLIB_PATH`; the
    /// folder where packages install it, next to the program; `ort/` in the cache folder; the system's library folders. The thread pool
    /// has `threads` threads, 0 for one per core. Sessions run on the CPU unless [`Runtime::with_providers`] selects others.
    ///
    /// A process has one ONNX Runtime: clone the returned value instead of loading again.
    ///
    /// # Errors
    /// No library was found (the error lists the paths tried), it does not load, or a runtime is loaded already.
    pub fn load(path: Option<&Path>, threads: usize) -> Result<Self, EngineError> {
        let path = library::find(path)?;
        let refuse = |reason: String| EngineError::RuntimeLoad {
            path: path.clone(),
            reason,
        };
        let builder = ort::init_from(&path).map_err(|error| refuse(error.to_string()))?;
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        // Waiting threads that spin would take processor time from the network and from other devices on the same core.
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)
            .and_then(|pool| pool.with_inter_threads(1))
            .and_then(|pool| pool.with_spin_control(false))
            .map_err(|error| refuse(error.to_string()))?;
        let build = || {
            let environment = builder.with_name("astra-edge").with_telemetry(false);
            environment.with_global_thread_pool(pool).build()
        };
        let environment =
            compute_thread::with_compute_name(build).map_err(|error| refuse(error.to_string()))?;
        let arena = Arena::new(&environment)
            .inspect_err(|error| tracing::warn!(%error, "sessions do not share an arena"));
        Ok(Self {
            arena: arena.ok().map(Arc::new),
            environment,
            path: path.into(),
            threads,
            providers: [Provider::Cpu].into(),
            prepacking: true,
            packed: None,
            lacks_weights_cache: false,
        })
    }

    /// Selects the execution providers of `wanted` that can be used on this device, in order of preference up to the CPU, which computes
    /// the nodes that no other provider supports.
    ///
    /// # Errors
    /// [`EngineError::NoProvider`]: none of them can be used, and the CPU is not among them.
    pub fn with_providers(mut self, wanted: &[Provider]) -> Result<Self, EngineError> {
        let found = usable(wanted, |provider| self.try_register(provider));
        self.providers = found
            .map_err(|tried| EngineError::NoProvider {
                path: self.path.to_path_buf(),
                tried,
            })?
            .into();
        Ok(self)
    }

    /// Sets whether sessions keep a second copy of their weights in the order in which their kernels read them, which is faster. They do
    /// by default.
    #[must_use]
    pub fn with_prepacking(mut self, prepacking: bool) -> Self {
        self.prepacking = prepacking;
        self
    }

    /// Has sessions of `bundle` map their packed weights from files in `cache`. The files are written the first time a graph is opened,
    /// and again when they are damaged, or the bundle, the processor or ONNX Runtime has changed; they take up to four times the size of
    /// the weights. If they cannot be written, sessions pack their weights in memory, which is logged once.
    ///
    /// Has no effect without prepacking, with execution providers beyond the CPU, which pack weights in their own way, and for bundles
    /// with matrices in blocks of integers, which ONNX Runtime packs but cannot store packed.
    #[must_use]
    pub fn with_packed_weights(mut self, bundle: &Bundle, cache: &Path) -> Self {
        if !self.prepacking || *self.providers != [Provider::Cpu] || has_blocks(bundle) {
            return self;
        }
        match PackedWeights::of(bundle, cache) {
            Ok(packed) => self.packed = Some(Arc::new(packed)),
            Err(error) => {
                warn_not_cached(&error);
                self.lacks_weights_cache = true;
            }
        }
        self
    }

    /// Turns prepacking on for a bundle with matrices in blocks of integers: without, ONNX Runtime would compute their float32 values
    /// again for every product.
    #[must_use]
    pub fn with_prepacking_for(self, bundle: &Bundle) -> Self {
        if self.prepacking || !has_blocks(bundle) {
            return self;
        }
        tracing::warn!("prepacking is on, as the bundle has matrices in blocks of integers");
        self.with_prepacking(true)
    }

    /// Whether weights are packed in memory because the weights cache cannot be used.
    pub fn lacks_weights_cache(&self) -> bool {
        let disabled = |packed: &Arc<PackedWeights>| packed.is_disabled();
        self.lacks_weights_cache || self.packed.as_ref().is_some_and(disabled)
    }

    /// Registers a provider with a session: its libraries or its hardware may be missing.
    fn try_register(&self, provider: Provider) -> Result<(), String> {
        let Some(registration) = provider.registration(self.threads)? else {
            return Ok(());
        };
        let builder = Session::builder(&self.environment).map_err(|error| error.to_string())?;
        let registered = builder.with_execution_providers([registration]);
        registered.map(drop).map_err(|error| error.to_string())
    }

    /// Execution providers in order of preference.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Path of the loaded library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Threads of the pool.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns unused memory of the arena and of the allocator to the system. The next run allocates it again, which costs time.
    pub fn release_memory(&self) {
        if let Some(arena) = &self.arena
            && let Err(error) = arena.shrink()
        {
            tracing::debug!(%error, "the arena keeps its memory");
        }
        #[cfg(target_env = "gnu")]
        // SAFETY: the function takes no pointer, and glibc guards the allocator's state with a lock.
        unsafe {
            libc::malloc_trim(0)
        };
    }

    /// Opens a session of a graph.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn session(&self, path: &Path) -> Result<Session, EngineError> {
        let packed = self.packed.as_ref();
        if let Some(session) = packed.and_then(|packed| packed.session(|| self.builder(), path)) {
            return Ok(session);
        }
        let refuse = EngineError::graph(path);
        let mut builder = self.builder().map_err(&refuse)?;
        builder.commit_from_file(path).map_err(&refuse)
    }

    /// Opens a session of a graph in memory whose external weights are files in `dir`.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn session_from_memory(&self, graph: &[u8], dir: &Path) -> Result<Session, EngineError> {
        let refuse = EngineError::graph(dir);
        let folder = dir.to_string_lossy();
        let builder = self.builder().map_err(&refuse)?;
        builder
            .with_config_entry(
                "session.model_external_initializers_file_folder_path",
                folder,
            )
            .map_err(|error| refuse(error.into()))?
            .commit_from_memory(graph)
            .map_err(&refuse)
    }

    fn builder(&self) -> Result<SessionBuilder, ort::Error> {
        let registrations: Vec<_> = self
            .providers
            .iter()
            .filter_map(|provider| provider.registration(self.threads).ok().flatten())
            .collect();
        let builder = Session::builder(&self.environment)?
            .with_execution_providers(registrations)?
            .with_optimization_level(GraphOptimizationLevel::All)?;
        let builder = match self.arena {
            Some(_) => builder.with_env_allocators()?,
            None => builder,
        };
        if self.prepacking {
            return Ok(builder);
        }
        Ok(builder.with_config_entry("session.disable_prepacking", "1")?)
    }
}

/// Whether a matrix of the bundle is in blocks of integers.
fn has_blocks(bundle: &Bundle) -> bool {
    !bundle.manifest().matrices.is_empty()
}

/// Disables ONNX Runtime's telemetry, which version 1.32 starts on Linux when it is loaded; switching it off afterwards does not stop it
/// from starting. Call it first in a program that uses [`Runtime`].
///
/// # Safety
/// No other thread may read or write the environment at the same time.
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller's promise.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
