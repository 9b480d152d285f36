//! A service manager that receives a device's notifications.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::device::Cluster;

/// Far beyond the time between two notifications on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Receives the messages that a device sends to a service manager.
pub(crate) struct Manager(UnixDatagram);

impl Manager {
    pub(crate) fn of(cluster: &Cluster, command: &mut Command) -> Self {
        let path = cluster.folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        command.env("NOTIFY_SOCKET", path);
        Self(socket)
    }

    pub(crate) fn receive(&self) -> String {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}
