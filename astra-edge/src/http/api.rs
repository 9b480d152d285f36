//! What every handler knows.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use astra_bundle::Manifest;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use super::hosts::AllowedHosts;
use crate::cluster::request::admission::Admission;
use crate::cluster::request::coordinator::Coordinator;
use crate::cluster::request::error::RequestError;
use crate::cluster::request::image::{ImageReply, ImageRequest};
use crate::link::ByteBudget;
use crate::text::TextService;

/// See [`Api::patience`].
const PATIENCE: Duration = Duration::from_secs(30);
/// See [`Api::keep_alive`]. Proxies close connections on which nothing is sent, many after 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers image requests.
pub trait Pictures: Send + Sync + 'static {
    /// See [`Coordinator::answer`].
    fn answer(&self, request: ImageRequest) -> BoxFuture<'_, Result<ImageReply, RequestError>>;
}

impl Pictures for Coordinator {
    fn answer(&self, request: ImageRequest) -> BoxFuture<'_, Result<ImageReply, RequestError>> {
        Box::pin(self.answer(request))
    }
}

/// What the routes answer with.
pub struct Api {
    /// Name of the device.
    pub device: String,
    /// Name of its cluster.
    pub cluster: String,
    /// Hash of its bundle, for people.
    pub bundle: String,
    /// The bundle.
    pub manifest: Manifest,
    /// Answers text requests, for bundles of text.
    pub words: Option<Arc<TextService>>,
    /// Answers image requests, for bundles of images.
    pub pictures: Option<Arc<dyn Pictures>>,
    /// What the head of a request has to come in, and then its body: 30 s.
    pub patience: Duration,
    /// How long a stream sends nothing before it sends a comment: 15 s.
    pub keep_alive: Duration,
    /// Limits the requests in progress, together with those that come from other devices.
    pub admission: Admission,
    /// Names by which browsers may reach it.
    pub hosts: AllowedHosts,
    /// Room for all bodies in work, together with messages of other devices.
    pub bytes: ByteBudget,
    started: u64,
}

/// A request's place among those worked on.
pub(super) type Slot = OwnedSemaphorePermit;

/// `/healthz`.
#[derive(Serialize)]
pub(super) struct Health<'a> {
    status: &'static str,
    device: &'a str,
    cluster: &'a str,
    model: &'a str,
    version: &'static str,
}

impl Api {
    /// For a bundle of neither text nor images; what it can do is to be filled in.
    pub fn new(device: String, cluster: String, bundle: String, manifest: Manifest) -> Self {
        Self {
            device,
            cluster,
            bundle,
            manifest,
            words: None,
            pictures: None,
            patience: PATIENCE,
            keep_alive: KEEP_ALIVE,
            admission: Admission::default(),
            hosts: AllowedHosts::of_machine(&[]),
            bytes: ByteBudget::of_memory(),
            started: now(),
        }
    }

    /// Name of the model.
    pub(super) fn model(&self) -> &str {
        &self.manifest.model
    }

    /// Refuses every model but the one there is.
    pub(super) fn check_model(&self, wanted: Option<&str>) -> Result<(), ApiError> {
        match wanted {
            None | Some("") => Ok(()),
            Some(wanted) if wanted == self.model() => Ok(()),
            Some(wanted) => Err(ApiError::unknown_model(wanted, self.model())),
        }
    }

    /// Answers text requests.
    pub(super) fn words(&self) -> Result<&TextService, ApiError> {
        let found = "it takes pictures";
        self.words
            .as_deref()
            .ok_or_else(|| ApiError::task(self.model(), "take text", found))
    }

    /// Answers image requests.
    pub(super) fn pictures(&self) -> Result<&Arc<dyn Pictures>, ApiError> {
        let found = "it takes text";
        self.pictures
            .as_ref()
            .ok_or_else(|| ApiError::task(self.model(), "take pictures", found))
    }

    pub(super) fn health(&self) -> Health<'_> {
        Health {
            status: "ok",
            device: &self.device,
            cluster: &self.cluster,
            model: self.model(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Seconds since 1970 when the device started.
    pub(super) fn started(&self) -> u64 {
        self.started
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
