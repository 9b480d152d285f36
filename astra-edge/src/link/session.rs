//! Opening and closing the session.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use astra_wire::DeviceId;
use serde_json::json;
use zenoh::{Config, Session};

use super::interface::{self, SCOUTING_GROUP};
use super::{ClusterName, LinkError, linger};

/// Longest wait for a session: scouting itself gives up earlier.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Environment variable that configures Zenoh's runtimes, and the value by which they share threads.
const RUNTIMES: (&str, &str) = (
    "ZENOH_RUNTIME",
    "(rx: (worker_threads: 1), acc: (handover: rx), net: (handover: rx))",
);
/// Largest message taken in, in bytes, where Zenoh by itself takes 1 GiB: a request with the largest picture, 48 MiB, and room for
/// the replies of members, of which the largest are exact features (at 1,536 channels of 4 bytes, those of 11,000 tokens).
pub const MAX_MESSAGE: usize = 64 << 20;
/// Sessions with others at a time, those of clients included.
const MAX_SESSIONS: usize = 64;
/// Longest wait for a session to close: connections to devices that cannot be reached any more take theirs.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How a device takes part in the network.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Addresses to be reached at, port 0 for any free one; none for a client that only sends requests.
    pub listen: Vec<SocketAddr>,
    /// Devices to connect to where multicast does not reach them, as `HOST:PORT`.
    pub connect: Vec<String>,
    /// Address of the interface to find others on by multicast; `None` leaves it to `connect`.
    pub multicast: Option<IpAddr>,
}

/// A session of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Link {
    pub(super) session: Session,
    pub(super) cluster: ClusterName,
}

impl Link {
    /// Joins the network.
    ///
    /// # Errors
    /// An address cannot be listened on, or Zenoh does not open.
    pub async fn open(settings: LinkSettings) -> Result<Self, LinkError> {
        for &address in &settings.listen {
            interface::check_free(address)?;
        }
        let config = config(&settings)?;
        // In a task of its own: polled for a reason that is not its own, as beside a sibling in `join!`, Zenoh 1.10.2 forgets
        // to wake up when it has scouted in vain, and the first device of a cluster would never be ready.
        let opening = tokio::spawn(async move { zenoh::open(config).await });
        let session = tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .map_err(|_| LinkError::OpenTimeout(OPEN_TIMEOUT))?
            .map_err(|error| LinkError::Open(error.to_string()))?
            .map_err(|error| LinkError::Open(error.to_string()))?;
        let watching = linger::watch(&session).await;
        watching.map_err(|error| LinkError::Open(error.to_string()))?;
        Ok(Self {
            session,
            cluster: settings.cluster,
        })
    }

    /// The id of this session, which is that of its device: replies show it.
    pub fn id(&self) -> DeviceId {
        DeviceId(self.session.zid().to_le_bytes())
    }

    /// Name of the cluster.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Where this device can be reached, as `HOST:PORT`.
    pub async fn addresses(&self) -> Vec<String> {
        let locators = self.session.info().locators().await;
        locators
            .iter()
            .map(|locator| locator.address().to_string())
            .collect()
    }

    /// Leaves the network; everything declared goes with it.
    pub async fn close(&self) {
        // Connections that are still being made, too.
        linger::stop_all();
        let session = self.session.clone();
        // In a task of its own, which continues where this wait ends.
        let closing = tokio::spawn(async move { session.close().await });
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("the session takes long to close");
        }
    }
}

/// Lets one thread of Zenoh's receive all messages. By itself Zenoh learns of it in the thread that made the connection, which wakes
/// another that reads it: of four devices and a picture of 256 patches, that was a sixth of what the link takes of a processor,
/// and a tenth of the latency. What the user set is left. For the first line of a program that uses [`Link`].
///
/// # Safety
/// No other thread may read or write the environment meanwhile.
pub unsafe fn share_threads() {
    let (name, value) = RUNTIMES;
    if std::env::var_os(name).is_none() {
        // SAFETY: the caller's promise.
        unsafe { std::env::set_var(name, value) };
    }
}

fn config(settings: &LinkSettings) -> Result<Config, LinkError> {
    let endpoint = |address: &dyn std::fmt::Display| format!("tcp/{address}");
    let listen: Vec<_> = settings.listen.iter().map(|at| endpoint(at)).collect();
    let connect: Vec<_> = settings.connect.iter().map(|at| endpoint(at)).collect();
    let (group, port) = SCOUTING_GROUP;
    let multicast = match settings.multicast {
        Some(interface) => json!({
            "enabled": true,
            "address": format!("{group}:{port}"),
            "interface": interface.to_string(),
            // With any other strategy a pair that both scouted too early waits out a back-off of up to 8 s.
            "autoconnect_strategy": "always",
        }),
        None => json!({ "enabled": false }),
    };
    let config = json!({
        "mode": "peer",
        "listen": { "endpoints": listen },
        "connect": {
            "endpoints": connect,
            "retry": { "period_init_ms": 100, "period_max_ms": 2000, "period_increase_factor": 1.5 },
        },
        "scouting": {
            "multicast": multicast,
            "gossip": { "autoconnect_strategy": "always" },
        },
        "transport": {
            // An address that does not answer is given up soon: others of the same device are tried after it.
            "unicast": { "open_timeout": 2000, "accept_timeout": 2000, "max_sessions": MAX_SESSIONS },
            "link": { "rx": { "max_message_size": MAX_MESSAGE }, "tx": {
                // A device that stops responding without closing its connection counts as gone after this.
                "lease": 4000,
                "queue": {
                    "size": { "real_time": 16 },
                    // A member that takes nothing more must not hold up the frames of the others for longer.
                    "congestion_control": { "block": { "wait_before_close": 1_000_000 } },
                },
            } },
        },
    });
    Config::from_json5(&config.to_string()).map_err(|error| LinkError::Open(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> LinkSettings {
        LinkSettings {
            cluster: "lab".parse().unwrap(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            connect: vec!["device-2.local:7447".to_owned()],
            multicast: Some(IpAddr::from([127, 0, 0, 1])),
        }
    }

    #[test]
    fn zenoh_reads_what_we_write() {
        let config = config(&settings()).unwrap();
        let listen = config.get_json("listen/endpoints").unwrap();
        assert!(listen.contains("tcp/127.0.0.1:0"), "{listen}");
        let connect = config.get_json("connect/endpoints").unwrap();
        assert!(connect.contains("tcp/device-2.local:7447"), "{connect}");
        let lease = config.get_json("transport/link/tx/lease").unwrap();
        assert_eq!(lease, "4000");
        let largest = config.get_json("transport/link/rx/max_message_size");
        assert_eq!(largest.unwrap(), MAX_MESSAGE.to_string());
        let sessions = config.get_json("transport/unicast/max_sessions");
        assert_eq!(sessions.unwrap(), "64");
        let scouting = config.get_json("scouting/multicast/enabled").unwrap();
        assert_eq!(scouting, "true");
    }

    #[test]
    fn a_broken_address_is_an_error() {
        let connect = vec!["no port?".to_owned()];
        let settings = LinkSettings {
            connect,
            ..settings()
        };
        assert!(config(&settings).is_err());
    }
}
