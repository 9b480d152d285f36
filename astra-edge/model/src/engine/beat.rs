//! Steps of a long computation, as whoever watches over it is told.

use std::sync::Arc;

/// Called at each step; nothing by default.
#[derive(Clone, Default)]
pub struct Beat(Option<Arc<dyn Fn() + Send + Sync>>);

impl Beat {
    /// Calls `told`, which must not wait.
    pub fn new(told: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    /// Says that a step is done.
    pub fn beat(&self) {
        if let Some(told) = &self.0 {
            told();
        }
    }
}
