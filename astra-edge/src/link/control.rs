//! One message to one device and its reply, or replies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use astra_wire::{DeviceId, Versions};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Query, QueryTarget, Queryable};

use super::presence::declare;
use super::{ByteBudget, Link, LinkError, TakenBytes};

/// Messages that may wait to be served. Further ones are dropped and get no reply.
const INBOX: usize = 64;

/// Most bytes of the parameters of a message.
const MAX_PARAMETERS: usize = 1024;
/// Requests for a hello that are answered at a time. Further ones are dropped and get no reply.
const HELLOS: usize = 32;

/// A message of a client or another device, and where to send its replies.
pub struct IncomingRequest {
    query: Query,
    /// Room for the message, as long as anything works on it.
    _taken: Option<TakenBytes>,
}

/// What is taken in before more than the first two bytes of a message are read.
pub struct Intake {
    /// Most bytes of a message with this second byte.
    pub most: fn(u8) -> usize,
    /// Room for all messages together.
    pub budget: ByteBudget,
}

impl Intake {
    /// Takes a message in; `None` where it is too long, or there is no room for it.
    fn admit(&self, query: Query) -> Option<IncomingRequest> {
        if query.parameters().as_str().len() > MAX_PARAMETERS {
            return None;
        }
        let Some(payload) = query.payload() else {
            return Some(IncomingRequest::empty(query));
        };
        let mut first = [0; 2];
        let read = std::io::Read::read_exact(&mut payload.reader(), &mut first);
        let kind = read.ok().map_or(u8::MAX, |()| first[1]);
        if payload.len() > (self.most)(kind) {
            return None;
        }
        let taken = Some(self.budget.take(payload.len())?);
        Some(IncomingRequest {
            query,
            _taken: taken,
        })
    }
}

/// Parameter of a request: the Zenoh id of the session that sent it.
const CLIENT: &str = "client";
/// Parameter of a request for a hello: the wire versions that its sender reads.
const VERSIONS: &str = "versions";
/// How often it is checked whether a client is still connected.
const CLIENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The replies to one message, as they arrive. Dropping the stream stops receiving.
pub struct ReplyStream {
    key: String,
    replies: mpsc::Receiver<Vec<u8>>,
}

/// Serves a key, for as long as it is kept.
pub struct Service {
    _queryable: Queryable<()>,
}

impl IncomingRequest {
    /// Takes the message out, so that its memory is free once the caller drops it, however long the reply takes.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let payload = self.query.payload_mut().map(std::mem::take);
        payload.map_or_else(Vec::new, |payload| payload.to_bytes().into_owned())
    }

    /// A parameter that the message itself has no field for.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.parameters().get(name)
    }

    /// Sends a reply; a request can have many, one after the other. Waits while the link to the client is full, on a thread that may:
    /// Zenoh gives up a link that takes nothing for 1 s. One to a client that is gone is dropped: see [`Link::client_gone`].
    pub async fn reply(&self, bytes: Vec<u8>) {
        let query = self.query.clone();
        let sent = tokio::task::spawn_blocking(move || {
            let key = query.key_expr().clone();
            query.reply(key, bytes).express(true).wait()
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the client is gone"),
            Err(error) => tracing::debug!(%error, "a reply was not sent"),
        }
    }

    /// Without a message.
    fn empty(query: Query) -> Self {
        Self {
            query,
            _taken: None,
        }
    }
}

impl ReplyStream {
    /// The next reply; `None` after the last.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`]: none arrived in time.
    pub async fn next(&mut self, within: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        match tokio::time::timeout(within, self.replies.recv()).await {
            Ok(reply) => Ok(reply),
            Err(_) => Err(LinkError::NoAnswer {
                key: self.key.clone(),
                within,
            }),
        }
    }
}

impl Link {
    /// Serves a device's hello; `hello` writes it for a device that reads the given versions.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn serve_hello(
        &self,
        device: DeviceId,
        hello: impl Fn(Versions) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Service, LinkError> {
        let key = self.cluster.hello(device);
        let (runtime, places) = (Handle::current(), Arc::new(Semaphore::new(HELLOS)));
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::debug!("a request for the hello found no room and was dropped");
                    return;
                };
                let incoming = IncomingRequest::empty(query);
                let versions = incoming
                    .parameter(VERSIONS)
                    .and_then(Versions::from_text)
                    .unwrap_or(Versions::UNSTATED);
                let bytes = hello(versions);
                runtime.spawn(async move {
                    incoming.reply(bytes).await;
                    drop(place);
                });
            })
            .await
            .map_err(declare(key))?;
        Ok(Service {
            _queryable: queryable,
        })
    }

    /// Serves a device's control messages: those that `intake` admits arrive on the channel.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn serve_control(
        &self,
        device: DeviceId,
        intake: Intake,
    ) -> Result<(Service, mpsc::Receiver<IncomingRequest>), LinkError> {
        let key = self.cluster.control(device);
        let (inbox, messages) = mpsc::channel(INBOX);
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| {
                let incoming = intake.admit(query);
                let taken = incoming.is_some_and(|incoming| inbox.try_send(incoming).is_ok());
                if !taken {
                    tracing::debug!(
                        "a control message was too long or found no room, and was dropped"
                    );
                }
            })
            .await
            .map_err(declare(key))?;
        let service = Service {
            _queryable: queryable,
        };
        Ok((service, messages))
    }

    /// Requests the hello of a device, in one of `versions` if it has one of them.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], or [`LinkError::Unanswered`] when the device goes away.
    pub async fn request_hello(
        &self,
        device: DeviceId,
        versions: Versions,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let parameters = format!("{VERSIONS}={versions}");
        let key = self.cluster.hello(device);
        self.first_reply((device, key), &parameters, Vec::new(), within)
            .await
    }

    /// Sends a control message to a device and waits for its reply; `parameters` as in a URL, `name=value;name=value`.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], or [`LinkError::Unanswered`] when the device goes away.
    pub async fn request(
        &self,
        device: DeviceId,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let key = self.cluster.control(device);
        self.first_reply((device, key), parameters, message, within)
            .await
    }

    /// Sends a control message to every device that is present, and waits for no reply.
    pub async fn broadcast(&self, message: Vec<u8>) {
        let (session, key) = (self.session.clone(), self.cluster.controls());
        let sending = tokio::task::spawn_blocking(move || {
            session
                .get(key)
                .target(QueryTarget::All)
                .payload(message)
                .timeout(Duration::from_millis(200))
                .express(true)
                .callback(drop)
                .wait()
        });
        if !matches!(sending.await, Ok(Ok(()))) {
            tracing::debug!("the broadcast was not sent");
        }
    }

    /// Sends a control message that has many replies, of which at most `most` wait to be read. They end when the device ends them,
    /// goes away, or after `longest`.
    ///
    /// # Errors
    /// The message cannot be sent.
    pub async fn request_stream(
        &self,
        device: DeviceId,
        parameters: &str,
        message: Vec<u8>,
        (longest, most): (Duration, usize),
    ) -> Result<ReplyStream, LinkError> {
        let own = format!("{CLIENT}={}", self.session.zid());
        let parameters = match parameters {
            "" => own,
            given => format!("{given};{own}"),
        };
        let key = self.cluster.control(device);
        let of = (device, key.clone());
        let replies = self.get(of, parameters, message, (longest, most)).await?;
        Ok(ReplyStream { key, replies })
    }

    /// Returns once the client that sent a request has left the network; never, where the request does not name its session.
    pub async fn client_gone(&self, incoming: &IncomingRequest) {
        let Some(client) = incoming.parameter(CLIENT) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(CLIENT_CHECK_INTERVAL).await;
            let own = self.session.zid().to_string() == client;
            let mut peers = self.session.info().peers_zid().await;
            if !own && !peers.any(|peer| peer.to_string() == client) {
                return;
            }
        }
    }

    async fn first_reply(
        &self,
        (device, key): (DeviceId, String),
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let begun = Instant::now();
        let of = (device, key.clone());
        let sent = self.get(of, parameters.to_owned(), message, (within, 1));
        // Zenoh keeps the time too; this one holds even if it were late.
        let waited = tokio::time::timeout(within, async { Ok(sent.await?.recv().await) }).await;
        let after = begun.elapsed();
        match waited.unwrap_or(Ok(None))? {
            Some(reply) => Ok(reply),
            None if after < within => Err(LinkError::Unanswered { key, after }),
            None => Err(LinkError::NoAnswer { key, within }),
        }
    }

    /// Sends a message to the session of a device, and keeps up to `most` unread replies of that session: others that serve its key
    /// are asked too, but what they say does not count. The channel of replies closes when Zenoh ends the query, whether there was a
    /// reply or not. Sending waits for room in the link's queue, on a thread that may.
    async fn get(
        &self,
        (device, key): (DeviceId, String),
        parameters: String,
        message: Vec<u8>,
        (within, most): (Duration, usize),
    ) -> Result<mpsc::Receiver<Vec<u8>>, LinkError> {
        let failed = |reason: String| LinkError::Send {
            key: key.clone(),
            reason,
        };
        let expression =
            KeyExpr::try_from(key.clone()).map_err(|error| failed(error.to_string()))?;
        let (sender, replies) = mpsc::channel(most);
        let session = self.session.clone();
        let sending = tokio::task::spawn_blocking(move || {
            session
                .get((expression, parameters))
                .target(QueryTarget::All)
                .payload(message)
                .timeout(within)
                .consolidation(ConsolidationMode::None)
                .congestion_control(CongestionControl::Block)
                .priority(Priority::InteractiveHigh)
                .express(true)
                .callback(move |reply| {
                    let replier = reply.replier_id().map(|id| id.zid().to_le_bytes());
                    if replier != Some(device.0) {
                        tracing::debug!(%device, "a reply of another session was dropped");
                        return;
                    }
                    if let Ok(sample) = reply.into_result() {
                        // Beyond the room there is, it is missing: its reader notices.
                        let _ = sender.try_send(sample.payload().to_bytes().into_owned());
                    }
                })
                .wait()
        });
        let sent = sending.await.map_err(|error| failed(error.to_string()))?;
        sent.map_err(|error| failed(error.to_string()))?;
        Ok(replies)
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
