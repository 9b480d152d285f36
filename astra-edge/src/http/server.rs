//! The listening socket, from its opening to its end, and the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::api::Api;
use super::embeddings::MAX_INPUTS;
use super::error::{ApiError, json_response};
use super::listener::Limited;
use super::{embeddings, generation, models, saliency};
use astra_model::tasks::image::MAX_FILE;

/// Largest body of text, in bytes.
const MAX_TEXT: usize = 4 << 20;
/// Largest body of texts to embed: all there may be, of 4 KiB each.
const MAX_TEXTS: usize = MAX_INPUTS * 4096;
/// What clients have to be done in when the device stops.
const GRACE: Duration = Duration::from_secs(1);

/// Why HTTP is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is in use, is not this machine's, or may not be used.
    #[error("cannot serve HTTP at {address}: {error}; choose another address with --http")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// An address that is taken and not served yet: clients wait.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// HTTP being served.
pub struct Server {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Listening {
    /// Takes an address; port 0 for any free one.
    ///
    /// # Errors
    /// [`HttpError::Listen`].
    pub async fn at(address: SocketAddr) -> Result<Self, HttpError> {
        let failed = |error| HttpError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "HTTP has no authentication: whoever reaches this address may ask");
        }
        Ok(Self { listener, address })
    }

    /// Serves it.
    pub fn serve(self, api: Arc<Api>) -> Server {
        let (end, ending) = oneshot::channel();
        let serving = tokio::spawn(serve(Limited::new(self.listener), api, ending));
        Server {
            address: self.address,
            end: Some(end),
            serving,
        }
    }
}

impl Server {
    /// The address, with its port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and gives those there are a moment.
    pub async fn stop(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if tokio::time::timeout(GRACE, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
    }
}

/// Serves every connection until the end, and then those there are until they are done.
async fn serve(mut listener: Limited, api: Arc<Api>, mut end: oneshot::Receiver<()>) {
    let mut http = http1::Builder::new();
    // A connection that nothing is asked on for so long is closed, and its place free for others.
    http.timer(TokioTimer::new())
        .header_read_timeout(api.patience);
    let service = TowerToHyperService::new(routes(api));
    let connections = GracefulShutdown::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = listener.accept() => accepted,
            // An end that was dropped is one too.
            _ = &mut end => break,
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone());
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

fn routes(api: Arc<Api>) -> Router {
    let text = Router::new()
        .route("/v1/completions", post(generation::completions))
        .route("/v1/chat/completions", post(generation::chat))
        .layer(DefaultBodyLimit::max(MAX_TEXT));
    let texts = Router::new()
        .route("/v1/embeddings", post(embeddings::embeddings))
        .layer(DefaultBodyLimit::max(MAX_TEXTS));
    let pictures = Router::new()
        .route("/v1/saliency", post(saliency::saliency))
        .layer(DefaultBodyLimit::max(MAX_FILE));
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::one))
        .merge(text)
        .merge(texts)
        .merge(pictures)
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    let health = serde_json::to_value(api.health()).unwrap_or_default();
    json_response(StatusCode::OK, &health)
}

async fn nowhere(uri: Uri) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", None, message).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    ApiError::new(status, "method_not_allowed", None, message).into_response()
}
