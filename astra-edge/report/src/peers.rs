//! The JSON of `astra-edge peers`.

use serde::{Deserialize, Serialize};

/// The devices of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// Name of the cluster.
    #[serde(default)]
    pub cluster: String,
    /// Its devices, by name.
    pub devices: Vec<Peer>,
}

/// One device. Except for its id, what is not known of a device is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// Its name; `?` if unknown.
    pub name: String,
    /// Its id in hexadecimal.
    pub id: String,
    /// Whether it can take part in requests.
    pub usable: bool,
    /// Why it cannot.
    pub reason: Option<String>,
    /// Milliseconds that the whole model takes on it alone.
    pub speed_ms: Option<f64>,
    /// Name of its model.
    pub model: Option<String>,
    /// The first digits of its bundle's hash.
    pub bundle: Option<String>,
    /// Its program and version.
    pub software: Option<String>,
    /// Its ONNX Runtime and execution providers.
    pub runtime: Option<String>,
    /// Where it can be reached, as `HOST:PORT`.
    pub addresses: Vec<String>,
}

impl Peers {
    /// How many devices can take part in a request.
    pub fn usable(&self) -> usize {
        self.devices.iter().filter(|peer| peer.usable).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_written_in_order() {
        let peers = Peers {
            cluster: "lab".to_owned(),
            devices: vec![Peer {
                name: "a".to_owned(),
                id: "0f".to_owned(),
                usable: true,
                speed_ms: Some(1.5),
                addresses: vec!["10.0.0.1:7447".to_owned()],
                ..Peer::default()
            }],
        };
        let json = serde_json::to_string(&peers).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"cluster":"lab","devices":[{"name":"a","id":"0f","usable":true,"reason":null,"speed_ms":1.5,"#,
                r#""model":null,"bundle":null,"software":null,"runtime":null,"addresses":["10.0.0.1:7447"]}]}"#
            )
        );
        assert_eq!(serde_json::from_str::<Peers>(&json).unwrap(), peers);
    }

    #[test]
    fn only_usable_devices_count() {
        let answer = r#"{"devices":[{"usable":true},{"usable":false},{"name":"c"}]}"#;
        let peers: Peers = serde_json::from_str(answer).unwrap();
        assert_eq!(peers.usable(), 1);
    }
}
