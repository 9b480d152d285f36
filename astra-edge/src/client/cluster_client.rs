//! A client of a cluster: finds devices and sends requests to one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use astra_wire::{Control, DeviceId, Hello, Versions, negotiate};

use super::error::ClientError;
use super::response::{Response, read};
use super::select::select_device;
use crate::cluster::membership::discovery::request_hello;
use crate::cluster::membership::hello::Rejection;
use crate::cluster::membership::identity::fingerprint;
use crate::config::Network;
use crate::link::interface::{SelectedAddress, interfaces};
use crate::link::{Link, LinkSettings, encode};

/// How long devices have to reply to a scan.
const SCAN_TIME: Duration = Duration::from_millis(250);

/// A device of the cluster.
#[derive(Clone, Debug)]
pub struct FoundDevice {
    /// Its id.
    pub device: DeviceId,
    /// Its hello, if that could be read.
    pub hello: Option<Hello>,
    /// Why it takes no requests of this client.
    pub rejection: Option<Rejection>,
}

/// A client of one cluster.
pub struct Client {
    pub(super) link: Link,
    address: Option<SelectedAddress>,
    key: [u8; 8],
    found: BTreeMap<DeviceId, FoundDevice>,
}

impl Client {
    /// Joins the network without announcing itself.
    ///
    /// # Errors
    /// The settings are not possible, or the link does not open.
    pub async fn open(network: &Network) -> Result<Self, ClientError> {
        let (network, key) = network.link_settings(Vec::new())?;
        let address = match network.addresses.multicast {
            true => Some(network.addresses.resolve(&interfaces())?.selected),
            false => None,
        };
        let settings = LinkSettings {
            multicast: address.as_ref().map(|selected| selected.address),
            cluster: network.cluster,
            // Nothing connects to a client.
            listen: Vec::new(),
            connect: network.connect,
        };
        Ok(Self {
            key: fingerprint(&settings.cluster, &key),
            link: Link::open(settings).await?,
            address,
            found: BTreeMap::new(),
        })
    }

    /// The address used to look for devices by multicast, and why that one; `None` without multicast.
    pub fn address(&self) -> Option<&SelectedAddress> {
        self.address.as_ref()
    }

    /// Lists the devices that are there, and requests the hello of new ones. Takes at least 0.25 s.
    ///
    /// # Errors
    /// Zenoh refuses the query.
    pub async fn scan(&mut self) -> Result<(), ClientError> {
        let began = Instant::now();
        let present = self.link.present(SCAN_TIME).await?;
        self.found.retain(|device, _| present.contains(device));
        for device in present {
            let known = self.found.get(&device);
            if known.is_none_or(|found| found.hello.is_none()) {
                let found = self.introduce(device).await;
                self.found.insert(device, found);
            }
        }
        // Without devices the query returns at once; a caller that scans in a loop must not spin.
        tokio::time::sleep(SCAN_TIME.saturating_sub(began.elapsed())).await;
        Ok(())
    }

    async fn introduce(&self, device: DeviceId) -> FoundDevice {
        match request_hello(&self.link, device, Versions::OURS).await {
            Ok(hello) => FoundDevice {
                device,
                rejection: (hello.key != self.key).then_some(Rejection::OtherKey),
                hello: Some(hello),
            },
            Err(rejection) => FoundDevice {
                device,
                hello: None,
                rejection: Some(rejection),
            },
        }
    }

    /// The devices of the last scan.
    pub fn devices(&self) -> impl Iterator<Item = &FoundDevice> {
        self.found.values()
    }

    /// Scans until a device is found that takes requests: the one with this name, this id, or an id that begins so; without a name,
    /// the fastest of the first scan that finds any.
    ///
    /// # Errors
    /// [`ClientError::NoDevice`] after `wait`; [`ClientError::Ambiguous`] where several devices match `name`.
    pub async fn find(&mut self, name: Option<&str>, wait: Duration) -> Result<Hello, ClientError> {
        let until = Instant::now() + wait;
        let mut before = None;
        loop {
            self.scan().await?;
            let usable = self.devices().filter(|found| found.rejection.is_none());
            let usable: Vec<&Hello> = usable.filter_map(|found| found.hello.as_ref()).collect();
            let found = select_device(&usable, name).map_err(|devices| ClientError::Ambiguous {
                cluster: self.link.cluster().to_string(),
                name: name.unwrap_or_default().to_owned(),
                devices,
            })?;
            // Devices appear one after the other: another scan shows whether a second one has the same name.
            let settled = name.is_none() || found.map(|hello| hello.device) == before;
            if let Some(found) = found.filter(|_| settled) {
                return Ok(found.clone());
            }
            before = found.map(|hello| hello.device);
            if before.is_none() && Instant::now() >= until {
                return Err(ClientError::NoDevice {
                    cluster: self.link.cluster().to_string(),
                    name: name.map(str::to_owned),
                    found: self.devices().map(FoundDevice::to_string).collect(),
                });
            }
        }
    }

    /// Sends a request to a device. `ranges` are the tokens of each member in the order of their names; without any, tokens are divided
    /// by speed.
    ///
    /// # Errors
    /// The request fails, or takes longer than `within`.
    pub async fn request(
        &self,
        device: &Hello,
        request: &Control<'_>,
        ranges: &[u16],
        within: Duration,
    ) -> Result<Response, ClientError> {
        let bytes = encoded_for(device, request)?;
        let reply = self
            .link
            .request(device.device, &parameters(ranges), bytes, within)
            .await?;
        read(&reply, device.name.as_str())
    }

    /// Leaves the network.
    pub async fn close(self) {
        self.link.close().await;
    }
}

/// A request in the newest wire version that this client and the device read.
pub(super) fn encoded_for(device: &Hello, request: &Control<'_>) -> Result<Vec<u8>, ClientError> {
    let version = negotiate(Versions::OURS, device.versions());
    let version = version.map_err(|source| ClientError::Version {
        device: device.name.as_str().to_owned(),
        source,
    })?;
    Ok(encode(version, request)?)
}

/// Parameters of a request that its message has no field for.
pub(super) fn parameters(ranges: &[u16]) -> String {
    let ranges: Vec<String> = ranges.iter().map(u16::to_string).collect();
    match ranges.as_slice() {
        [] => String::new(),
        given => format!("ranges={}", given.join(",")),
    }
}

impl fmt::Display for FoundDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hello {
            Some(hello) => f.write_str(&hello.name)?,
            None => write!(f, "{}", self.device)?,
        }
        match &self.rejection {
            Some(rejection) => write!(f, " ({rejection})"),
            None => Ok(()),
        }
    }
}
