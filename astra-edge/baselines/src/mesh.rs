//! Messages between any two devices, over the links of astra-edge.
//!
//! A message is one byte for its kind, then its content. Links are reliable and keep the order of messages between two devices, so messages
//! need no numbers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use astra_edge::link::{CodePublisher, CodeSubscription, Link, LinkSettings};
use tokio::runtime::Runtime;

/// Longest wait until all devices are connected: they load their model first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for a message.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);

/// Kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    /// Devices the sender has received a message from, as a bit mask in two bytes.
    Hello = 0,
    /// Part of a request.
    Data = 1,
    /// The sender has reached the barrier.
    Barrier = 2,
    /// There are no more requests.
    End = 3,
}

/// Channels to and from all other devices.
pub(crate) struct Mesh {
    me: usize,
    publishers: Vec<Option<CodePublisher>>,
    inbox: Receiver<(usize, Vec<u8>)>,
    waiting: Vec<VecDeque<Vec<u8>>>,
    outgoing: Vec<u8>,
    /// Bytes of messages sent since the counter was reset.
    pub(crate) bytes_sent: u64,
    /// Time spent waiting for messages since the counter was reset.
    pub(crate) waited: Duration,
    _subscriptions: Vec<CodeSubscription>,
    // Last, so that its users are dropped first.
    _link: Link,
    _runtime: Runtime,
}

impl Mesh {
    /// Joins the devices at `addresses`, of which this is number `me`, and waits until all are connected.
    pub(crate) fn join(me: usize, addresses: &[SocketAddr]) -> Result<Self> {
        let own = addresses.get(me).copied();
        let own = own.with_context(|| format!("rank {me} of {} devices", addresses.len()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let (sender, inbox) = channel();
        let (link, publishers, subscriptions) = runtime.block_on(async {
            let others = addresses.iter().filter(|address| **address != own);
            let link = Link::open(LinkSettings {
                cluster: "baselines".parse()?,
                listen: vec![own],
                connect: others.map(SocketAddr::to_string).collect(),
                multicast: None,
            })
            .await?;
            let (mut publishers, mut subscriptions) = (Vec::new(), Vec::new());
            for other in 0..addresses.len() {
                if other == me {
                    publishers.push(None);
                    continue;
                }
                // A key for each pair: the receiver's number in place of a plan's.
                publishers.push(Some(link.publish_codes(other as u64, me).await?));
                let sender = sender.clone();
                let receive = move |bytes: &[u8]| {
                    // The receiver may have been dropped at the end.
                    let _ = sender.send((other, bytes.to_vec()));
                };
                subscriptions.push(link.subscribe_codes(me as u64, other, receive).await?);
            }
            anyhow::Ok((link, publishers, subscriptions))
        })?;
        let mut mesh = Self {
            me,
            waiting: vec![VecDeque::new(); addresses.len()],
            publishers,
            inbox,
            outgoing: Vec::new(),
            bytes_sent: 0,
            waited: Duration::ZERO,
            _subscriptions: subscriptions,
            _link: link,
            _runtime: runtime,
        };
        mesh.connect()?;
        Ok(mesh)
    }

    /// Sends hello until all others have sent one that lists all devices.
    fn connect(&mut self) -> Result<()> {
        let all = (1_u16 << self.devices()) - 1;
        let mut received = 1_u16 << self.me;
        let mut ready = received;
        let until = Instant::now() + CONNECT_TIMEOUT;
        loop {
            for other in self.others() {
                self.publish(other, MessageKind::Hello, |out| {
                    out.extend(received.to_le_bytes())
                })?;
            }
            // The hello just sent lists all devices then.
            if ready == all {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("devices not connected: found {received:b}, expected {all:b}");
            }
            let pause = Instant::now() + POLL;
            while let Ok((from, message)) = self
                .inbox
                .recv_timeout(pause.saturating_duration_since(Instant::now()))
            {
                match message.split_first() {
                    Some((0, mask)) => {
                        received |= 1 << from;
                        if mask == all.to_le_bytes() && received == all {
                            ready |= 1 << from;
                        }
                    }
                    _ => self.keep(from, message),
                }
            }
        }
    }

    pub(crate) fn me(&self) -> usize {
        self.me
    }

    pub(crate) fn devices(&self) -> usize {
        self.publishers.len()
    }

    /// Numbers of the others, from the next on.
    pub(crate) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let (me, devices) = (self.me, self.devices());
        (1..devices).map(move |step| (me + step) % devices)
    }

    /// Sends part of a request, which `write` appends.
    pub(crate) fn send(&mut self, to: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.publish(to, MessageKind::Data, write)
    }

    /// The next part of a request from a device; `None` after its last request.
    pub(crate) fn receive(&mut self, from: usize) -> Result<Option<Vec<u8>>> {
        let mut message = self.next(from)?;
        match message.first() {
            Some(&kind) if kind == MessageKind::Data as u8 => {
                message.remove(0);
                Ok(Some(message))
            }
            Some(&kind) if kind == MessageKind::End as u8 => Ok(None),
            other => bail!("device {from} sent a message of kind {other:?}"),
        }
    }

    /// The same, where the last request is not over.
    pub(crate) fn expect(&mut self, from: usize) -> Result<Vec<u8>> {
        let message = self.receive(from)?;
        message.with_context(|| format!("device {from} ended in the middle of a request"))
    }

    /// Waits until all devices have reached the barrier.
    pub(crate) fn barrier(&mut self) -> Result<()> {
        for other in self.others() {
            self.publish(other, MessageKind::Barrier, |_| ())?;
        }
        for other in self.others() {
            let message = self.next(other)?;
            if message != [MessageKind::Barrier as u8] {
                bail!("device {other} is not where the others are");
            }
        }
        Ok(())
    }

    /// Tells all others that there are no more requests.
    pub(crate) fn end(&mut self) -> Result<()> {
        for other in self.others() {
            self.publish(other, MessageKind::End, |_| ())?;
        }
        Ok(())
    }

    fn publish(
        &mut self,
        to: usize,
        kind: MessageKind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        self.outgoing.clear();
        self.outgoing.push(kind as u8);
        write(&mut self.outgoing);
        let publisher = self.publishers.get(to).and_then(Option::as_ref);
        let publisher = publisher.with_context(|| format!("no channel to device {to}"))?;
        self.bytes_sent += self.outgoing.len() as u64;
        Ok(publisher.publish(&self.outgoing)?)
    }

    fn next(&mut self, from: usize) -> Result<Vec<u8>> {
        let start = Instant::now();
        loop {
            if let Some(message) = self.waiting.get_mut(from).and_then(VecDeque::pop_front) {
                self.waited += start.elapsed();
                return Ok(message);
            }
            let left = RECEIVE_TIMEOUT.saturating_sub(start.elapsed());
            match self.inbox.recv_timeout(left) {
                // Repeated until all devices were connected.
                Ok((_, message)) if message.first() == Some(&(MessageKind::Hello as u8)) => {}
                Ok((sender, message)) => self.keep(sender, message),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no message from device {from} within {RECEIVE_TIMEOUT:?}")
                }
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the link is closed")),
            }
        }
    }

    fn keep(&mut self, from: usize, message: Vec<u8>) {
        if let Some(queue) = self.waiting.get_mut(from) {
            queue.push_back(message);
        }
    }
}
