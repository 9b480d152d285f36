//! Sends requests to the coordinator on the current link: a device that joins again has another one.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::cluster::request::context::RequestContext;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::image::{ImageReply, ImageRequest};
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;
use crate::http::Pictures;
use crate::text::TokenModel;

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

impl TokenModel for CurrentCoordinator {
    fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.generate(context, request, tokens).await })
    }

    fn embed(
        &self,
        context: RequestContext,
        ids: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.embed(context, ids).await })
    }
}

impl Pictures for CurrentCoordinator {
    fn answer(&self, request: ImageRequest) -> BoxFuture<'_, Result<ImageReply, RequestError>> {
        let coordinator = self.get();
        Box::pin(async move { coordinator.answer(request).await })
    }
}
