//! Sends requests to the coordinator on the current link: a device that joins again has another one.

use std::sync::{Arc, PoisonError, RwLock};

use astra_wire::RequestOptions;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::cluster::request::client_handle::ClientHandle;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::generate::{Generate, Generated};
use crate::cluster::request::image::{ImageReply, ImageRequest};
use crate::http::Pictures;
use crate::text::Model;

/// The coordinator in use. Requests that the one before received end there, if need be on this device alone.
pub(super) struct CurrentCoordinator {
    coordinator: RwLock<Arc<Coordinator>>,
}

impl CurrentCoordinator {
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

impl Model for CurrentCoordinator {
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
        options: RequestOptions,
        shares: Option<Vec<u16>>,
        ids: Vec<u32>,
        asker: ClientHandle,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.embed(options, shares, ids, &asker).await })
    }
}

impl Pictures for CurrentCoordinator {
    fn answer(&self, question: ImageRequest) -> BoxFuture<'_, Result<ImageReply, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.answer(question).await })
    }
}
