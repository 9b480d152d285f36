//! One message to one device and its reply, or replies.

use std::time::{Duration, Instant};

use astra_wire::{DeviceId, Versions};
use tokio::sync::mpsc;
use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Query, QueryTarget, Queryable};

use super::presence::declare;
use super::{Link, LinkError};

/// Messages that may wait to be served. Further ones are dropped and get no reply.
const INBOX: usize = 64;

/// A message of a client or another device, and where to send its replies.
pub struct IncomingRequest {
    query: Query,
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
    replies: mpsc::UnboundedReceiver<Vec<u8>>,
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

    /// Sends a reply; a request can have many. One to a client that is gone is dropped: see [`Link::client_gone`].
    pub fn reply(&self, bytes: Vec<u8>) {
        let key = self.query.key_expr().clone();
        if let Err(error) = self.query.reply(key, bytes).express(true).wait() {
            tracing::debug!(%error, "the client is gone");
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
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| {
                let incoming = IncomingRequest { query };
                let versions = incoming
                    .parameter(VERSIONS)
                    .and_then(Versions::from_text)
                    .unwrap_or(Versions::UNSTATED);
                incoming.reply(hello(versions));
            })
            .await
            .map_err(declare(key))?;
        Ok(Service {
            _queryable: queryable,
        })
    }

    /// Serves a device's control messages: they arrive on the channel.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn serve_control(
        &self,
        device: DeviceId,
    ) -> Result<(Service, mpsc::Receiver<IncomingRequest>), LinkError> {
        let key = self.cluster.control(device);
        let (inbox, messages) = mpsc::channel(INBOX);
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| {
                if inbox.try_send(IncomingRequest { query }).is_err() {
                    tracing::warn!("a control message found no room and was dropped");
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
        self.first_reply(self.cluster.hello(device), &parameters, Vec::new(), within)
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
        self.first_reply(self.cluster.control(device), parameters, message, within)
            .await
    }

    /// Sends a control message to every device that is present, and waits for no reply.
    pub async fn broadcast(&self, message: Vec<u8>) {
        let sent = self
            .session
            .get(self.cluster.controls())
            .target(QueryTarget::All)
            .payload(message)
            .timeout(Duration::from_millis(200))
            .express(true)
            .callback(drop)
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "the broadcast was not sent");
        }
    }

    /// Sends a control message that has many replies. They end when the device ends them, goes away, or after `longest`.
    ///
    /// # Errors
    /// The message cannot be sent.
    pub async fn request_stream(
        &self,
        device: DeviceId,
        parameters: &str,
        message: Vec<u8>,
        longest: Duration,
    ) -> Result<ReplyStream, LinkError> {
        let own = format!("{CLIENT}={}", self.session.zid());
        let parameters = match parameters {
            "" => own,
            given => format!("{given};{own}"),
        };
        let key = self.cluster.control(device);
        let replies = self.get(&key, &parameters, message, longest).await?;
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
        key: String,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let begun = Instant::now();
        let mut replies = self.get(&key, parameters, message, within).await?;
        // Zenoh keeps the time too; this one holds even if it were late.
        let waited = tokio::time::timeout(within, replies.recv()).await;
        let after = begun.elapsed();
        match waited {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) if after < within => Err(LinkError::Unanswered { key, after }),
            _ => Err(LinkError::NoAnswer { key, within }),
        }
    }

    /// Sends a message. The channel of replies closes when Zenoh ends the query, whether there was a reply or not.
    async fn get(
        &self,
        key: &str,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<mpsc::UnboundedReceiver<Vec<u8>>, LinkError> {
        let failed = |error: zenoh::Error| LinkError::Send {
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let expression = KeyExpr::try_from(key.to_owned()).map_err(failed)?;
        let (sender, replies) = mpsc::unbounded_channel();
        self.session
            .get((expression, parameters))
            .payload(message)
            .timeout(within)
            .consolidation(ConsolidationMode::None)
            .congestion_control(CongestionControl::Block)
            .priority(Priority::InteractiveHigh)
            .express(true)
            .callback(move |reply| {
                if let Ok(sample) = reply.into_result() {
                    let _ = sender.send(sample.payload().to_bytes().into_owned());
                }
            })
            .await
            .map_err(failed)?;
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSettings;
    use super::*;

    const DEVICE: DeviceId = DeviceId([7; 16]);
    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    async fn open(listen: Vec<std::net::SocketAddr>, connect: Vec<String>) -> Link {
        let settings = LinkSettings {
            cluster: "control".parse().unwrap(),
            listen,
            connect,
            multicast: None,
        };
        Link::open(settings).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_missing_reply_and_a_late_reply_are_different_errors() {
        let far = open(vec![([127, 0, 0, 1], 0).into()], Vec::new()).await;
        let near = open(Vec::new(), far.addresses().await).await;
        let (_service, mut inbox) = far.serve_control(DEVICE).await.unwrap();
        let request = |within| near.request(DEVICE, "", vec![1], within);
        // Until near knows what far serves, requests go unanswered.
        loop {
            tokio::select! {
                answer = request(LONG) => assert!(matches!(answer, Err(LinkError::Unanswered { .. })), "{answer:?}"),
                Some(_) = inbox.recv() => break,
            }
        }
        let (answer, _kept) = tokio::join!(request(SHORT), inbox.recv());
        assert!(
            matches!(answer, Err(LinkError::NoAnswer { within: SHORT, .. })),
            "{answer:?}"
        );
        let dropped = async { drop(inbox.recv().await) };
        let (answer, ()) = tokio::join!(request(LONG), dropped);
        assert!(
            matches!(answer, Err(LinkError::Unanswered { .. })),
            "{answer:?}"
        );
        let gone = async {
            let kept = inbox.recv().await;
            far.close().await;
            kept
        };
        let (answer, _kept) = tokio::join!(request(LONG), gone);
        let error = answer.unwrap_err();
        assert!(matches!(error, LinkError::Unanswered { .. }), "{error}");
        assert!(error.to_string().contains("was gone"), "{error}");
    }
}
