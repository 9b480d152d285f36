//! Who is there, by liveliness tokens: a device's disappears when it leaves, dies or falls silent.

use std::time::Duration;

use astra_wire::DeviceId;
use tokio::sync::mpsc;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

use super::keys::device_of;
use super::{Link, LinkError};

/// A device came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceEvent {
    /// The device.
    pub device: DeviceId,
    /// Whether it came.
    pub alive: bool,
}

/// Says that this device is there, for as long as it is kept.
pub struct Token {
    token: LivelinessToken,
}

/// Reports who comes and goes, for as long as it is kept.
pub struct Watch {
    _subscriber: Subscriber<()>,
}

impl Token {
    /// Takes the sign down.
    pub async fn remove(self) {
        if let Err(error) = self.token.undeclare().await {
            tracing::debug!(%error, "the presence token was gone already");
        }
    }
}

impl Link {
    /// Shows the others that this device is there.
    ///
    /// # Errors
    /// Zenoh refuses the declaration.
    pub async fn announce(&self, device: DeviceId) -> Result<Token, LinkError> {
        let key = self.cluster.device(device);
        let token = self.session.liveliness().declare_token(key.clone()).await;
        let token = token.map_err(declare(key))?;
        Ok(Token { token })
    }

    /// Reports devices to `events`, beginning with those that are there already.
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
                    // Nobody left to tell is nobody's loss.
                    let _ = events.send(PresenceEvent { device, alive });
                }
            })
            .await
            .map_err(declare(key))?;
        Ok(Watch {
            _subscriber: subscriber,
        })
    }

    /// Devices that are there now, as far as this session has heard.
    ///
    /// # Errors
    /// Zenoh refuses the question.
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
