//! What a text service runs on: a cluster, or one machine.

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::cluster::request::context::RequestContext;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::embedding::Embedded;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::response::GenerationResponse;
use crate::generation::GenerationRequest;

/// Generates from token ids, or embeds them.
pub trait TokenModel: Send + Sync + 'static {
    /// See [`Coordinator::generate`].
    fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>>;

    /// See [`Coordinator::embed`].
    fn embed(
        &self,
        context: RequestContext,
        ids: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>>;
}

impl TokenModel for Coordinator {
    fn generate(
        &self,
        context: RequestContext,
        request: GenerationRequest,
        tokens: mpsc::Sender<u32>,
    ) -> BoxFuture<'_, Result<GenerationResponse, RequestError>> {
        Box::pin(self.generate(context, request, tokens))
    }

    fn embed(
        &self,
        context: RequestContext,
        ids: Vec<u32>,
    ) -> BoxFuture<'_, Result<Embedded, RequestError>> {
        Box::pin(self.embed(context, ids))
    }
}
