//! The listening socket and the routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

use super::addresses::Peer;
use super::api::Api;
use super::body::BodyLimit;
use super::embeddings::MAX_INPUTS;
use super::error::{ApiError, json_response};
use super::listener::Limited;
use super::{embeddings, generation, hosts, models, saliency};
use astra_model::tasks::image::MAX_FILE;

/// Largest body of text, in bytes.
const MAX_TEXT: usize = 4 << 20;
/// Largest body of texts to embed, in bytes: as many texts as there may be, of 4 KiB each.
const MAX_TEXTS: usize = MAX_INPUTS * 4096;
/// Time for clients to finish when the device stops.
const GRACE: Duration = Duration::from_secs(1);

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is in use, or is not of this machine.
    #[error(
        "http: found {address}, expected a free port and an address of this machine: {error}; choose another with --http"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
}

/// An address that is bound and not served yet: clients wait.
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
    /// Binds an address; port 0 for any free one.
    ///
    /// # Errors
    /// [`HttpError::Listen`].
    pub async fn at(address: SocketAddr) -> Result<Self, HttpError> {
        let failed = |error| HttpError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "HTTP has no authentication: every program that reaches this address may send requests");
        }
        Ok(Self { listener, address })
    }

    /// Starts to serve.
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

    /// Accepts no more connections, and gives those there are 1 s.
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

/// Accepts connections until `end`, and then waits for those there are.
async fn serve(mut listener: Limited, api: Arc<Api>, mut end: oneshot::Receiver<()>) {
    let mut http = http1::Builder::new();
    // Idle connections are closed, and their places free for others.
    http.timer(TokioTimer::new())
        .header_read_timeout(api.patience);
    let patience = api.patience;
    let routes = routes(api);
    let connections = GracefulShutdown::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            accepted = listener.accept() => accepted,
            // A dropped sender is an end too.
            _ = &mut end => break,
        };
        // A client that does not read is given up, and what it takes is free for others.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience));
        let service = TowerToHyperService::new(routes.clone().layer(Extension(Peer(peer.ip()))));
        let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
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
        .layer(Extension(BodyLimit(MAX_TEXT)));
    let texts = Router::new()
        .route("/v1/embeddings", post(embeddings::embeddings))
        .layer(Extension(BodyLimit(MAX_TEXTS)));
    let pictures = Router::new()
        .route("/v1/saliency", post(saliency::saliency))
        .layer(Extension(BodyLimit(MAX_FILE)));
    Router::new()
        .route("/healthz", get(health))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::one))
        .merge(text)
        .merge(texts)
        .merge(pictures)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            Arc::new(api.hosts.clone()),
            hosts::check,
        ))
        .with_state(api)
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    let health = serde_json::to_value(api.health()).unwrap_or_default();
    json_response(StatusCode::OK, &health)
}

async fn not_found(uri: Uri) -> Response {
    let message = format!("path: found {}, expected one of this API", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", None, message).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let message = format!("method: found {method}, which {} does not take", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    ApiError::new(status, "method_not_allowed", None, message).into_response()
}
