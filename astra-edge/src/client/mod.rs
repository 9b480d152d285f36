//! Asking a cluster from outside: finds its devices, and puts a question to one of them.

mod drawn;
mod named;
mod text;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, EmitError, FrameError, Hello};

use crate::cluster::membership::discovery::request_hello;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::membership::identity::fingerprint;
use crate::config::{ConfigError, Network};
use crate::link::encode;
use crate::link::interface::{Chosen, interfaces};
use crate::link::{Link, LinkError, LinkSettings};
use crate::report::Report;
use astra_model::engine::Map;
use astra_model::tasks::features::{FeatureError, read_exact};

pub use drawn::DrawError;
pub use text::Answering;

use named::named;

/// How long one look around takes.
const LOOK: Duration = Duration::from_millis(250);

/// Rejection a cluster did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The settings are refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nobody of that name, or nobody at all, can be asked.
    #[error("no device{} of cluster {cluster} can be asked: {}", wanted_name(.name), seen_devices(.seen))]
    NoDevice {
        /// The cluster.
        cluster: String,
        /// Device asked for.
        name: Option<String>,
        /// Devices that are there, and why they cannot be asked.
        seen: Vec<String>,
    },
    /// A name, or the first digits of an id, stands for several devices.
    #[error(
        "device {name:?} of cluster {cluster}: found {} of that name ({}), expected one; give its id, or the first digits of it",
        .devices.len(), ids(.devices)
    )]
    Ambiguous {
        /// The cluster.
        cluster: String,
        /// What was asked for.
        name: String,
        /// The devices.
        devices: Vec<DeviceId>,
    },
    /// The device could not answer.
    #[error("{device}: {text}")]
    Failed {
        /// The device.
        device: String,
        /// Its word.
        text: String,
    },
    /// The answer makes no sense.
    #[error("{device} answered something that cannot be read: {reason}")]
    Unreadable {
        /// The device.
        device: String,
        /// Rejection.
        reason: String,
    },
    /// The question cannot be written.
    #[error("the question cannot be sent: {0}")]
    Question(#[from] EmitError),
}

/// A device as a client sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The device.
    pub device: DeviceId,
    /// What it said, if it could be read.
    pub hello: Option<Hello>,
    /// Rejection it cannot be asked.
    pub why: Option<Rejection>,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What it took.
    pub report: Report,
    /// The class token, or the vector of a text: [D].
    pub cls: Vec<f32>,
    /// The dense map, for tasks that have one.
    pub map: Option<Map>,
}

/// A client of one cluster.
pub struct Client {
    link: Link,
    chosen: Option<Chosen>,
    key: [u8; 8],
    seen: BTreeMap<DeviceId, Seen>,
}

impl Client {
    /// Joins the network without showing itself.
    ///
    /// # Errors
    /// The settings or the network refuse.
    pub async fn open(network: &Network) -> Result<Self, ClientError> {
        let (joining, key) = network.joining(Vec::new())?;
        let chosen = match joining.reach.multicast {
            true => Some(joining.reach.place(&interfaces())?.chosen),
            false => None,
        };
        let settings = LinkSettings {
            multicast: chosen.as_ref().map(|chosen| chosen.address),
            cluster: joining.cluster,
            // It is reached by nobody: it asks.
            listen: Vec::new(),
            connect: joining.connect,
        };
        Ok(Self {
            key: fingerprint(&settings.cluster, &key),
            link: Link::open(settings).await?,
            chosen,
            seen: BTreeMap::new(),
        })
    }

    /// The interface that devices are looked for on by multicast, and why that one.
    pub fn chosen(&self) -> Option<&Chosen> {
        self.chosen.as_ref()
    }

    /// Looks around once: who is there, and who they say they are.
    ///
    /// # Errors
    /// The network refuses.
    pub async fn look(&mut self) -> Result<(), ClientError> {
        let began = Instant::now();
        let present = self.link.present(LOOK).await?;
        self.seen.retain(|device, _| present.contains(device));
        for device in present {
            let known = self
                .seen
                .get(&device)
                .is_some_and(|seen| seen.hello.is_some());
            if !known {
                let seen = self.introduce(device).await;
                self.seen.insert(device, seen);
            }
        }
        // With nobody there the look is over at once; the next is only worth it a little later.
        tokio::time::sleep(LOOK.saturating_sub(began.elapsed())).await;
        Ok(())
    }

    async fn introduce(&self, device: DeviceId) -> Seen {
        match request_hello(&self.link, device).await {
            Ok(hello) => Seen {
                device,
                why: (hello.key != self.key).then_some(Rejection::OtherKey),
                hello: Some(hello),
            },
            Err(why) => Seen {
                device,
                hello: None,
                why: Some(why),
            },
        }
    }

    /// Devices seen so far.
    pub fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.seen.values()
    }

    /// Looks around until a device can be asked: the one of that name or id, or whose id begins so, else the fastest of those
    /// seen first.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`] after `wait`; [`ClientError::Ambiguous`] where `name` stands for several.
    pub async fn find(&mut self, name: Option<&str>, wait: Duration) -> Result<Hello, ClientError> {
        let until = Instant::now() + wait;
        let mut before = None;
        loop {
            self.look().await?;
            let usable = self.seen().filter(|seen| seen.why.is_none());
            let usable: Vec<&Hello> = usable.filter_map(|seen| seen.hello.as_ref()).collect();
            let found = named(&usable, name).map_err(|devices| ClientError::Ambiguous {
                cluster: self.link.cluster().to_string(),
                name: name.unwrap_or_default().to_owned(),
                devices,
            })?;
            // Devices are seen one after the other: the next look shows whether another one has the same name.
            let settled = name.is_none() || found.map(|hello| hello.device) == before;
            if let Some(found) = found.filter(|_| settled) {
                return Ok(found.clone());
            }
            before = found.map(|hello| hello.device);
            if before.is_none() && Instant::now() >= until {
                return Err(ClientError::NoDevice {
                    cluster: self.link.cluster().to_string(),
                    name: name.map(str::to_owned),
                    seen: self.seen().map(in_words).collect(),
                });
            }
        }
    }

    /// Puts a question to a device. `ranges` are the tokens of each member in the order of their names; without any they go by
    /// speed.
    ///
    /// # Errors
    /// The device cannot answer, or does not within `within`.
    pub async fn ask(
        &self,
        device: &Hello,
        question: &Control<'_>,
        ranges: &[u16],
        within: Duration,
    ) -> Result<Answered, ClientError> {
        let bytes = encode(question)?;
        let answer = self
            .link
            .ask_control(device.device, &parameters(ranges), bytes, within)
            .await?;
        read(&answer, device.name.as_str())
    }

    /// Leaves the network.
    pub async fn close(self) {
        self.link.close().await;
    }
}

/// What a question has no place for.
fn parameters(ranges: &[u16]) -> String {
    let ranges: Vec<String> = ranges.iter().map(u16::to_string).collect();
    match ranges.as_slice() {
        [] => String::new(),
        given => format!("ranges={}", given.join(",")),
    }
}

fn read(answer: &[u8], device: &str) -> Result<Answered, ClientError> {
    let unreadable = |reason: String| ClientError::Unreadable {
        device: device.to_owned(),
        reason,
    };
    let failed = |text: String| ClientError::Failed {
        device: device.to_owned(),
        text,
    };
    match Control::parse(answer) {
        Ok(Control::InferenceResponse(answer)) => {
            let report = serde_json::from_str(answer.report);
            let report = report.map_err(|error| unreadable(error.to_string()))?;
            let floats = |bytes| floats(bytes).map_err(|error| unreadable(error.to_string()));
            let map = Map {
                height: answer.height.into(),
                width: answer.width.into(),
                values: floats(answer.map)?,
            };
            Ok(Answered {
                report,
                cls: floats(answer.cls)?,
                map: (!map.values.is_empty()).then_some(map),
            })
        }
        Ok(Control::Failed { text }) => Err(failed(text.to_owned())),
        Ok(Control::Refuse { reason, .. }) => Err(failed(format!("refused: {reason}"))),
        Ok(_) => Err(unreadable("another message".to_owned())),
        Err(error @ FrameError::Version { .. }) => Err(unreadable(error.to_string())),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, FeatureError> {
    let mut values = vec![0.0; bytes.len() / 4];
    read_exact(bytes, 1, &mut values)?;
    Ok(values)
}

fn in_words(seen: &Seen) -> String {
    let name = seen
        .hello
        .as_ref()
        .map(|hello| hello.name.as_str().to_owned());
    let name = name.unwrap_or_else(|| seen.device.to_string());
    match &seen.why {
        Some(why) => format!("{name} ({why})"),
        None => name,
    }
}

fn ids(devices: &[DeviceId]) -> String {
    let ids: Vec<String> = devices.iter().map(DeviceId::to_string).collect();
    ids.join(", ")
}

fn wanted_name(name: &Option<String>) -> String {
    name.as_ref()
        .map_or_else(String::new, |name| format!(" {name:?}"))
}

fn seen_devices(seen: &[String]) -> String {
    if seen.is_empty() {
        return "nobody was found; is one running, and does multicast reach it? Else name one with \
                --connect HOST:PORT"
            .to_owned();
    }
    format!("found {}", seen.join(", "))
}
