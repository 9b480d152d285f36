//! Which devices are present, by liveliness tokens: a device's token disappears when it leaves, dies or stops responding.

use std::time::Duration;

use astra_wire::DeviceId;
use tokio::sync::mpsc;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

use super::keys::device_of;
use super::{Link, LinkError};

/// A device joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceEvent {
    /// The device.
    pub device: DeviceId,
    /// Whether it joined.
    pub alive: bool,
}

/// The liveliness token of this device: announces it until it is dropped.
pub struct Token {
    token: LivelinessToken,
}

/// Reports devices that join and leave, until it is dropped.
pub struct Watch {
    _subscriber: Subscriber<()>,
}

impl Token {
    /// Undeclares the token.
    pub async fn remove(self) {
        if let Err(error) = self.token.undeclare().await {
            tracing::debug!(%error, "the presence token was gone already");
        }
    }
}

impl Link {
    /// Announces this device to the others.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn announce(&self, device: DeviceId) -> Result<Token, LinkError> {
        let key = self.cluster.device(device);
        let token = self.session.liveliness().declare_token(key.clone()).await;
        let token = token.map_err(declare(key))?;
        Ok(Token { token })
    }

    /// Reports devices to `events`, beginning with those that are present already.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn watch(
        &self,
        events: mpsc::UnboundedSender<PresenceEvent>,
    ) -> Result<Watch, LinkError> {
        let key = self.cluster.devices();
        let subscriber = self
            .session
            .liveliness()
            .declare_subscriber(key.clone())
            .history(true)
            .callback(move |sample| {
                if let Some(device) = device_of(sample.key_expr().as_str()) {
                    let alive = sample.kind() == SampleKind::Put;
                    // The receiver may be gone.
                    let _ = events.send(PresenceEvent { device, alive });
                }
            })
            .await
            .map_err(declare(key))?;
        Ok(Watch {
            _subscriber: subscriber,
        })
    }

    /// Devices that are present now, as far as this session knows.
    ///
    /// # Errors
    /// Zenoh refuses the query.
    pub async fn present(&self, within: Duration) -> Result<Vec<DeviceId>, LinkError> {
        let key = self.cluster.devices();
        let (found, mut devices) = mpsc::unbounded_channel();
        self.session
            .liveliness()
            .get(key.clone())
            .timeout(within)
            .callback(move |reply| {
                let device = reply
                    .result()
                    .ok()
                    .and_then(|sample| device_of(sample.key_expr().as_str()));
                if let Some(device) = device {
                    let _ = found.send(device);
                }
            })
            .await
            .map_err(|error| LinkError::Send {
                key,
                reason: error.to_string(),
            })?;
        let mut present = Vec::new();
        while let Some(device) = devices.recv().await {
            present.push(device);
        }
        present.sort_unstable();
        present.dedup();
        Ok(present)
    }
}

/// For `map_err` at a declaration.
pub(super) fn declare(key: String) -> impl FnOnce(zenoh::Error) -> LinkError {
    move |error| LinkError::Declare {
        key,
        reason: error.to_string(),
    }
}
