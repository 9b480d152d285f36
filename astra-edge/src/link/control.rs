//! One message to one device and its answer.

use std::borrow::Cow;
use std::time::Duration;

use astra_wire::DeviceId;
use tokio::sync::mpsc;
use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{ConsolidationMode, Query, QueryTarget, Queryable};

use super::presence::declare;
use super::{Link, LinkError};

/// Messages that may wait to be served. A sender whose message finds no room gets no answer.
const INBOX: usize = 64;

/// A message and the way back.
pub struct Incoming {
    query: Query,
}

/// Serves a key, for as long as it is kept.
pub struct Service {
    _queryable: Queryable<()>,
}

impl Incoming {
    /// The message.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        self.query
            .payload()
            .map_or(Cow::Borrowed(&[]), |payload| payload.to_bytes())
    }

    /// A parameter of the question that the message itself has no place for.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.parameters().get(name)
    }

    /// Answers. An asker that has gone is nobody's concern.
    pub fn answer(&self, bytes: Vec<u8>) {
        let key = self.query.key_expr().clone();
        if let Err(error) = self.query.reply(key, bytes).express(true).wait() {
            tracing::debug!(%error, "the asker is gone");
        }
    }
}

impl Link {
    /// Serves a device's hello: the same bytes to whoever asks.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn serve_hello(
        &self,
        device: DeviceId,
        hello: Vec<u8>,
    ) -> Result<Service, LinkError> {
        let key = self.cluster.hello(device);
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| Incoming { query }.answer(hello.clone()))
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
    ) -> Result<(Service, mpsc::Receiver<Incoming>), LinkError> {
        let key = self.cluster.control(device);
        let (inbox, messages) = mpsc::channel(INBOX);
        let queryable = self
            .session
            .declare_queryable(key.clone())
            .callback(move |query| {
                if inbox.try_send(Incoming { query }).is_err() {
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

    /// Asks a device who it is.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], also when the device goes away.
    pub async fn ask_hello(
        &self,
        device: DeviceId,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        self.ask(self.cluster.hello(device), "", Vec::new(), within)
            .await
    }

    /// Sends a control message to a device and waits for its answer; `parameters` as in a URL, `name=value;name=value`.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], also when the device goes away.
    pub async fn ask_control(
        &self,
        device: DeviceId,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        self.ask(self.cluster.control(device), parameters, message, within)
            .await
    }

    /// Sends a control message to every device there is, and waits for nobody's answer.
    pub async fn tell_all(&self, message: Vec<u8>) {
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
            tracing::debug!(%error, "a message to all was not sent");
        }
    }

    async fn ask(
        &self,
        key: String,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let failed = |key: &str, error: zenoh::Error| LinkError::Send {
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let expression = KeyExpr::try_from(key.clone()).map_err(|error| failed(&key, error))?;
        // The channel closes when Zenoh is done with the question, whichever way that went.
        let (found, mut answers) = mpsc::unbounded_channel();
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
                    let _ = found.send(sample.payload().to_bytes().into_owned());
                }
            })
            .await
            .map_err(|error| failed(&key, error))?;
        // Zenoh keeps the time too; this one holds even if it were late.
        let waited = tokio::time::timeout(within, answers.recv()).await;
        waited
            .ok()
            .flatten()
            .ok_or(LinkError::NoAnswer { key, within })
    }
}
