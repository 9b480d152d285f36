//! Questions of this machine's own programs go to the device as it is now, whichever link it is on.

use std::sync::{Arc, PoisonError, RwLock};

use astra_wire::AskOptions;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::cluster::words::Model;
use crate::cluster::{
    Asker, Coordinator, Embedded, Generate, Generated, Question, Reply, RequestError,
};
use crate::http::Pictures;

/// The coordinator in use. A question that came to the one before is finished there, by the device alone if need be.
pub(super) struct Current {
    coordinator: RwLock<Arc<Coordinator>>,
}

impl Current {
    pub(super) fn new(coordinator: Coordinator) -> Self {
        Self {
            coordinator: RwLock::new(Arc::new(coordinator)),
        }
    }

    pub(super) fn get(&self) -> Arc<Coordinator> {
        let coordinator = self.coordinator.read();
        Arc::clone(&coordinator.unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, coordinator: Arc<Coordinator>) {
        let current = self.coordinator.write();
        *current.unwrap_or_else(PoisonError::into_inner) = coordinator;
    }
}

impl Model for Current {
    fn generate(
        &self,
        question: Generate,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<Generated, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.generate(question, tokens).await })
    }

    fn embed(
        &self,
        options: AskOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: Asker,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.embed(options, shares, ids, &asker).await })
    }
}

impl Pictures for Current {
    fn answer(&self, question: Question) -> BoxFuture<'_, Result<Reply, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.answer(question).await })
    }
}
