//! Lets no socket linger: that closing it waits until the other end has acknowledged everything.
//!
//! Zenoh 1.10.2 gives each TCP connection 10 s of `SO_LINGER`. Where the other device is out of reach, nothing is acknowledged, and
//! the thread that closes the connection stands still for these 10 s, though the socket does not block otherwise. One thread of
//! Zenoh's receives everything, so this device neither received nor accepted anything meanwhile, and afterwards took every other
//! device for gone, as it had received nothing from it for so long. Without that option the kernel sends what is left after the
//! closing. Zenoh has no setting for it: <https://github.com/eclipse-zenoh/zenoh/issues/1101>.

use std::fs::read_dir;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::sockopt::{set_socket_linger, socket_linger};
use zenoh::Session;

/// The open descriptors of this process.
const DESCRIPTORS: &str = "/proc/self/fd";

/// Stops the lingering of the connections of a session, now and whenever there is a new one.
pub(super) async fn watch(session: &Session) -> zenoh::Result<()> {
    // Zenoh reads nothing from a connection before this has returned, and calls it in a thread that may block.
    let info = session.info();
    let listener = info.link_events_listener().history(true);
    listener.callback(|_| stop_all()).background().await
}

/// Stops the lingering of all sockets of this process: Zenoh does not tell which ones are its own, and no other has that option.
pub(super) fn stop_all() {
    match descriptors() {
        Ok(descriptors) => descriptors.for_each(stop),
        Err(error) => tracing::warn!(
            %error,
            "cannot read {DESCRIPTORS}: a device that gets out of reach holds up this one for 10 s"
        ),
    }
}

fn descriptors() -> io::Result<impl Iterator<Item = RawFd>> {
    let entries = read_dir(DESCRIPTORS)?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn stop(descriptor: RawFd) {
    // SAFETY: it may have been closed meanwhile, and the number may be that of another file. Then the calls below fail, or concern
    // another socket of which the same is wanted; neither reads, writes or closes anything.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    if let Ok(Some(_)) = socket_linger(socket) {
        // It may be closed by now.
        let _ = set_socket_linger(socket, None);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use astra_wire::Versions;
    use rustix::net::{SocketAddrAny, getpeername, getsockname};

    use super::super::{Link, LinkSettings};
    use super::*;

    fn loopback() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    async fn open(listen: Vec<SocketAddr>, connect: Vec<String>) -> Link {
        let settings = LinkSettings {
            cluster: "linger".parse().unwrap(),
            listen,
            connect,
            multicast: None,
        };
        Link::open(settings).await.unwrap()
    }

    /// How long each end of the connections to an address lingers.
    fn lingering(address: SocketAddr) -> Vec<Option<Duration>> {
        let is = |found: SocketAddrAny| SocketAddr::try_from(found) == Ok(address);
        let of = |descriptor| {
            // SAFETY: as in `stop`.
            let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
            let (near, far) = (getsockname(socket).ok()?, getpeername(socket).ok()??);
            (is(near) || is(far)).then(|| socket_linger(socket).ok())?
        };
        descriptors().unwrap().filter_map(of).collect()
    }

    #[test]
    fn a_socket_stops_lingering() {
        let listener = TcpListener::bind(loopback()).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_socket_linger(&socket, Some(Duration::from_secs(10))).unwrap();
        stop_all();
        assert_eq!(socket_linger(&socket), Ok(None));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn neither_end_of_a_connection_lingers() {
        let far = open(vec![loopback()], Vec::new()).await;
        let _service = far.serve_hello(far.id(), |_| vec![1]).await.unwrap();
        let address = far.addresses().await;
        let near = open(Vec::new(), address.clone()).await;
        let within = Duration::from_secs(60);
        let hello = || near.request_hello(far.id(), Versions::OURS, within);
        // Until near knows what far serves, requests go unanswered.
        while hello().await.is_err() {}
        let both = lingering(address[0].parse().unwrap());
        assert_eq!(both, [None, None]);
    }
}
