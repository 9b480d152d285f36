//! Loading the ONNX Runtime library.

use std::path::Path;
use std::sync::Arc;

use astra_bundle::Bundle;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::arena::Arena;
use super::computing;
use super::library;
use super::packed::{self, PackedWeights};
use super::provider::usable;
use super::{EngineError, Provider};

/// The loaded library with one thread pool that all sessions share, and what computes. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    path: Arc<Path>,
    threads: usize,
    /// In the order they are asked; never empty.
    providers: Arc<[Provider]>,
    prepacking: bool,
    /// What sessions compute in; each has its own where ONNX Runtime makes none for all.
    arena: Option<Arc<Arena>>,
    packed: Option<Arc<PackedWeights>>,
    cacheless: bool,
}

impl Runtime {
    /// Loads ONNX Runtime from the first of `path`, files and folders with colons between them, that has it; else from
    /// `ORT_DYLIB_PATH`; else from where packages keep it, beside the program; else from the cache folder's `ort/`; else by the name
    /// `libonnxruntime.so` from where the system keeps libraries. `threads` compute, 0 for one a core. Sessions run on the CPU unless
    /// [`Runtime::with_providers`] finds more.
    ///
    /// A process has one ONNX Runtime: clone what this gives instead of loading again.
    ///
    /// # Errors
    /// Nothing was found (the error lists what was tried), what was found does not load, or a runtime is loaded already.
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
        // Waiting threads that spin would take the core from the network and from other devices on it.
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)
            .and_then(|pool| pool.with_inter_threads(1))
            .and_then(|pool| pool.with_spin_control(false))
            .map_err(|error| refuse(error.to_string()))?;
        let build = || {
            let environment = builder.with_name("astra-edge").with_telemetry(false);
            environment.with_global_thread_pool(pool).build()
        };
        let environment = computing::begetting(build).map_err(|error| refuse(error.to_string()))?;
        let arena = Arena::of(&environment)
            .inspect_err(|error| tracing::warn!(%error, "sessions share no memory"));
        Ok(Self {
            arena: arena.ok().map(Arc::new),
            environment,
            path: path.into(),
            threads,
            providers: [Provider::Cpu].into(),
            prepacking: true,
            packed: None,
            cacheless: false,
        })
    }

    /// The same with the execution providers of `wanted` that can be used here, asked in that order. The CPU computes what none
    /// of them can, and nothing after it is asked.
    ///
    /// # Errors
    /// [`EngineError::NoProvider`]: none of them can be used, the CPU not being one of them.
    pub fn with_providers(mut self, wanted: &[Provider]) -> Result<Self, EngineError> {
        let found = usable(wanted, |provider| self.attempt(provider));
        self.providers = found
            .map_err(|tried| EngineError::NoProvider {
                path: self.path.to_path_buf(),
                tried,
            })?
            .into();
        Ok(self)
    }

    /// The same with sessions that keep, or do not keep, their weights in memory a second time in the order in which their kernels
    /// read them. They do unless told otherwise: it is faster.
    #[must_use]
    pub fn with_prepacking(mut self, prepacking: bool) -> Self {
        self.prepacking = prepacking;
        self
    }

    /// The same with sessions of `bundle` that map their weights, in the order in which their kernels read them, from files in
    /// `cache`. They are written the first time a graph is opened, and again when they are damaged, or the bundle, the processor or
    /// ONNX Runtime is another; they take up to four times the room of the weights. Where that cannot be, sessions pack their weights
    /// in memory, and a warning says so once.
    ///
    /// Without prepacking, and with execution providers beyond the CPU, which have an order of their own, nothing changes.
    #[must_use]
    pub fn with_packed_weights(mut self, bundle: &Bundle, cache: &Path) -> Self {
        if !self.prepacking || *self.providers != [Provider::Cpu] {
            return self;
        }
        match PackedWeights::of(bundle, cache) {
            Ok(packed) => self.packed = Some(Arc::new(packed)),
            Err(error) => {
                packed::without(&error);
                self.cacheless = true;
            }
        }
        self
    }

    /// Whether weights were to be mapped from a cache, and are packed in memory because it cannot be used.
    pub fn is_cacheless(&self) -> bool {
        let given_up = |packed: &Arc<PackedWeights>| packed.is_given_up();
        self.cacheless || self.packed.as_ref().is_some_and(given_up)
    }

    /// Whether a session takes the provider: its own libraries may be missing, or the device it drives.
    fn attempt(&self, provider: Provider) -> Result<(), String> {
        let Some(registration) = provider.registration(self.threads)? else {
            return Ok(());
        };
        let builder = Session::builder(&self.environment).map_err(|error| error.to_string())?;
        let registered = builder.with_execution_providers([registration]);
        registered.map(drop).map_err(|error| error.to_string())
    }

    /// What computes, in the order it is asked.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The library in use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Gives the system the memory that sessions computed in and nobody uses now, and all else that is freed but kept for later. Who
    /// computes next takes it anew, which costs time.
    pub fn give_back(&self) {
        if let Some(arena) = &self.arena
            && let Err(error) = arena.shrink()
        {
            tracing::debug!(%error, "the memory of sessions stays");
        }
        #[cfg(target_env = "gnu")]
        // SAFETY: it takes no pointer, and the allocator guards its state itself.
        unsafe {
            libc::malloc_trim(0)
        };
    }

    /// A session of any graph.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn session(&self, path: &Path) -> Result<Session, EngineError> {
        let packed = self.packed.as_ref();
        if let Some(session) = packed.and_then(|packed| packed.session(self, path)) {
            return Ok(session);
        }
        let refuse = EngineError::graph(path);
        let mut builder = self.builder().map_err(&refuse)?;
        builder.commit_from_file(path).map_err(&refuse)
    }

    /// A session of a graph in memory whose weights lie in `dir`.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn session_of(&self, graph: &[u8], dir: &Path) -> Result<Session, EngineError> {
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

    pub(super) fn builder(&self) -> Result<SessionBuilder, ort::Error> {
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

/// Keeps ONNX Runtime from reporting its use to its makers. Since 1.32 it does on Linux, unless this was called before it is loaded;
/// switching it off later does not keep it from starting. For the first line of a program that uses [`Runtime`].
///
/// # Safety
/// No other thread may read or write the environment meanwhile.
pub unsafe fn disable_telemetry() {
    // SAFETY: the caller's promise.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}
