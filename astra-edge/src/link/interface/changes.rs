//! Notifications from the kernel, on a netlink socket, that interfaces, addresses or routes have changed.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout, timeout_at};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV4_ROUTE` of Linux's `rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40;
/// Changes come in bursts: an interface that comes up gets its carrier, an address and routes one after another.
const QUIET: Duration = Duration::from_millis(300);
/// Longest wait for the end of a burst.
const BURST: Duration = Duration::from_secs(1);

/// A subscription. What has changed is not read from the notifications but looked up: some get lost where many come at once.
pub struct Changes {
    /// A netlink socket: Tokio's type only waits for datagrams and receives them, whatever the family.
    socket: UnixDatagram,
}

impl Changes {
    /// Subscribes to changes from now on.
    ///
    /// # Errors
    /// The process may not open such a socket, as in some sandboxes.
    pub fn subscribe() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Without a protocol it is NETLINK_ROUTE, whose number is 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self {
            socket: UnixDatagram::from_std(StdDatagram::from(socket))?,
        })
    }

    /// Returns after a change, once no more follow within 0.3 s, or 1 s after the first. Changes since the last call count.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn settled(&mut self) -> io::Result<()> {
        self.next().await?;
        let until = Instant::now() + BURST;
        let quiet = async {
            while let Ok(next) = timeout(QUIET, self.next()).await {
                next?;
            }
            Ok(())
        };
        timeout_at(until, quiet).await.unwrap_or(Ok(()))
    }

    /// Waits for a notification, and receives all that are there.
    async fn next(&mut self) -> io::Result<()> {
        self.socket.readable().await?;
        let mut notification = [0; 4096];
        loop {
            match self.socket.try_recv(&mut notification) {
                Ok(_) => {}
                // The kernel dropped some.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
