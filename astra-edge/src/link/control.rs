//! One message to one device and its answer, or answers.

use std::time::{Duration, Instant};

use astra_wire::{DeviceId, Versions};
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

/// Parameter of a question that says which session asks.
const ASKER: &str = "asker";
/// Parameter of a query for a hello: the wire versions that the asking device reads.
const VERSIONS: &str = "versions";
/// Between two looks whether an asker is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The answers to one message, as they come. Dropping them stops listening.
pub struct Answers {
    key: String,
    answers: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// Serves a key, for as long as it is kept.
pub struct Service {
    _queryable: Queryable<()>,
}

impl Incoming {
    /// The message, which is then kept no longer than the caller keeps it, however long the answer takes.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let payload = self.query.payload_mut().map(std::mem::take);
        payload.map_or_else(Vec::new, |payload| payload.to_bytes().into_owned())
    }

    /// A parameter of the question that the message itself has no place for.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.parameters().get(name)
    }

    /// Answers; a question can have many answers. An asker that has gone is nobody's concern here: see
    /// [`Link::asker_gone`].
    pub fn answer(&self, bytes: Vec<u8>) {
        let key = self.query.key_expr().clone();
        if let Err(error) = self.query.reply(key, bytes).express(true).wait() {
            tracing::debug!(%error, "the asker is gone");
        }
    }
}

impl Answers {
    /// The next answer; `None` after the last.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`]: none came in time.
    pub async fn next(&mut self, within: Duration) -> Result<Option<Vec<u8>>, LinkError> {
        match tokio::time::timeout(within, self.answers.recv()).await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(LinkError::NoAnswer {
                key: self.key.clone(),
                within,
            }),
        }
    }
}

impl Link {
    /// Serves a device's hello: what `hello` makes of the versions that the asking device reads.
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
                let incoming = Incoming { query };
                let versions = incoming
                    .parameter(VERSIONS)
                    .and_then(Versions::from_text)
                    .unwrap_or(Versions::UNSTATED);
                incoming.answer(hello(versions));
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

    /// Asks a device for its hello, in one of `versions` if it has one of them.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], or [`LinkError::Unanswered`] when the device goes away.
    pub async fn ask_hello(
        &self,
        device: DeviceId,
        versions: Versions,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let parameters = format!("{VERSIONS}={versions}");
        self.ask(self.cluster.hello(device), &parameters, Vec::new(), within)
            .await
    }

    /// Sends a control message to a device and waits for its answer; `parameters` as in a URL, `name=value;name=value`.
    ///
    /// # Errors
    /// [`LinkError::NoAnswer`], or [`LinkError::Unanswered`] when the device goes away.
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

    /// Sends a control message to a device that has many answers. They end when the device says so, goes away, or after
    /// `longest`.
    ///
    /// # Errors
    /// The message cannot be sent.
    pub async fn ask_stream(
        &self,
        device: DeviceId,
        parameters: &str,
        message: Vec<u8>,
        longest: Duration,
    ) -> Result<Answers, LinkError> {
        let mine = format!("{ASKER}={}", self.session.zid());
        let parameters = match parameters {
            "" => mine,
            given => format!("{given};{mine}"),
        };
        let key = self.cluster.control(device);
        let answers = self.get(&key, &parameters, message, longest).await?;
        Ok(Answers { key, answers })
    }

    /// Returns once whoever sent a message with many answers has left the network; never, where it did not say who it is.
    pub async fn asker_gone(&self, incoming: &Incoming) {
        let Some(asker) = incoming.parameter(ASKER) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK).await;
            let own = self.session.zid().to_string() == asker;
            let mut peers = self.session.info().peers_zid().await;
            if !own && !peers.any(|peer| peer.to_string() == asker) {
                return;
            }
        }
    }

    async fn ask(
        &self,
        key: String,
        parameters: &str,
        message: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let begun = Instant::now();
        let mut answers = self.get(&key, parameters, message, within).await?;
        // Zenoh keeps the time too; this one holds even if it were late.
        let waited = tokio::time::timeout(within, answers.recv()).await;
        let after = begun.elapsed();
        match waited {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) if after < within => Err(LinkError::Unanswered { key, after }),
            _ => Err(LinkError::NoAnswer { key, within }),
        }
    }

    /// The channel closes when Zenoh is done with the question, whichever way that went.
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
        let (found, answers) = mpsc::unbounded_channel();
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
            .map_err(failed)?;
        Ok(answers)
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
    async fn no_answer_to_come_is_told_from_none_in_time() {
        let far = open(vec![([127, 0, 0, 1], 0).into()], Vec::new()).await;
        let near = open(Vec::new(), far.addresses().await).await;
        let (_service, mut inbox) = far.serve_control(DEVICE).await.unwrap();
        let ask = |within| near.ask_control(DEVICE, "", vec![1], within);
        // Until near has heard of what far serves, nobody is there for the question.
        loop {
            tokio::select! {
                answer = ask(LONG) => assert!(matches!(answer, Err(LinkError::Unanswered { .. })), "{answer:?}"),
                Some(_) = inbox.recv() => break,
            }
        }
        let (answer, _kept) = tokio::join!(ask(SHORT), inbox.recv());
        assert!(
            matches!(answer, Err(LinkError::NoAnswer { within: SHORT, .. })),
            "{answer:?}"
        );
        let dropped = async { drop(inbox.recv().await) };
        let (answer, ()) = tokio::join!(ask(LONG), dropped);
        assert!(
            matches!(answer, Err(LinkError::Unanswered { .. })),
            "{answer:?}"
        );
        let gone = async {
            let kept = inbox.recv().await;
            far.close().await;
            kept
        };
        let (answer, _kept) = tokio::join!(ask(LONG), gone);
        let error = answer.unwrap_err();
        assert!(matches!(error, LinkError::Unanswered { .. }), "{error}");
        assert!(error.to_string().contains("was gone"), "{error}");
    }
}
