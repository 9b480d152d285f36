//! Progress of a long computation, reported to the watchdog.

use std::sync::Arc;

/// A callback that runs at each step of a computation; none by default.
#[derive(Clone, Default)]
pub struct Heartbeat(Option<Arc<dyn Fn() + Send + Sync>>);

impl Heartbeat {
    /// A heartbeat that calls `callback`, which must not block.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    /// Runs the callback.
    pub fn beat(&self) {
        if let Some(callback) = &self.0 {
            callback();
        }
    }
}
