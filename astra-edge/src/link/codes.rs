//! Code frames: from one member to all others of its plan.

use std::sync::Arc;

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::{CongestionControl, Priority, Reliability};

use super::presence::declare;
use super::{Link, LinkError};
use crate::job::{FrameSink, SinkError};

/// Publishes the frames of one member of a plan. Cheap to clone.
#[derive(Clone)]
pub struct CodePublisher {
    publisher: Arc<Publisher<'static>>,
}

/// Receives the frames of one member of a plan until it is dropped.
pub struct CodeSubscription {
    _subscriber: Subscriber<()>,
}

impl CodePublisher {
    /// Hands bytes to Zenoh, waiting for room in its queue and for nothing else.
    ///
    /// # Errors
    /// The session is closed.
    pub fn publish(&self, bytes: &[u8]) -> Result<(), LinkError> {
        self.publisher
            .put(bytes)
            .wait()
            .map_err(|error| LinkError::Send {
                key: self.publisher.key_expr().to_string(),
                reason: error.to_string(),
            })
    }
}

impl FrameSink for CodePublisher {
    fn send(&mut self, message: &[u8]) -> Result<(), SinkError> {
        self.publish(message)
            .map_err(|error| SinkError(error.to_string()))
    }
}

impl Link {
    /// Declares where member `sender` of a plan publishes its frames.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn publish_codes(
        &self,
        plan: u64,
        sender: usize,
    ) -> Result<CodePublisher, LinkError> {
        let key = self.cluster.codes(plan, sender);
        let expression = KeyExpr::try_from(key.clone()).map_err(declare(key.clone()))?;
        let publisher = self
            .session
            .declare_publisher(expression)
            // Frames are sent at once: a batch that waits for more messages delays a block.
            .express(true)
            .priority(Priority::RealTime)
            .congestion_control(CongestionControl::Block)
            .reliability(Reliability::Reliable)
            .await
            .map_err(declare(key))?;
        Ok(CodePublisher {
            publisher: Arc::new(publisher),
        })
    }

    /// Hands the frames of member `sender` of a plan to `receive`, which runs on Zenoh's threads and must not wait.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn subscribe_codes(
        &self,
        plan: u64,
        sender: usize,
        receive: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<CodeSubscription, LinkError> {
        let key = self.cluster.codes(plan, sender);
        let subscriber = self
            .session
            .declare_subscriber(key.clone())
            // A message that arrived in one piece is borrowed; only one that Zenoh fragmented is copied.
            .callback(move |sample| receive(&sample.payload().to_bytes()))
            .await
            .map_err(declare(key))?;
        Ok(CodeSubscription {
            _subscriber: subscriber,
        })
    }
}
