//! When the interfaces, addresses or routes of this machine change: the kernel says so on a netlink socket.

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

/// Notices of the kernel. What changed is not read from them but looked up: notices get lost where many come at once.
pub struct Changes {
    /// Of another family; what it is for here, to wait for a datagram and receive it, knows no family.
    socket: UnixDatagram,
}

impl Changes {
    /// Notices from now on.
    ///
    /// # Errors
    /// The system has no such socket for this process, as in some sandboxes.
    pub fn subscribe() -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Without a protocol it is NETLINK_ROUTE, whose number is 0.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self {
            socket: UnixDatagram::from_std(StdDatagram::from(socket))?,
        })
    }

    /// Returns once something has changed and nothing more does, or not for a while. What changed since the last call counts.
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

    /// ClientConnection for a notice and takes in all that are there.
    async fn next(&mut self) -> io::Result<()> {
        self.socket.readable().await?;
        let mut notice = [0; 4096];
        loop {
            match self.socket.try_recv(&mut notice) {
                Ok(_) => {}
                // The kernel dropped some.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
