//! Programs on the network that send what no device sends. Each test says what one of them tries, and what it does not get.

use std::time::Duration;

use astra_bundle::Bundle;
use astra_edge::link::presence::Token;
use astra_edge::link::{Link, LinkSettings, encode};
use astra_model::partition::TokenRange;
use astra_model::tasks::strip;
use astra_wire::{
    Control, DeviceId, Hello, Member, Offer, Reason, SECRET, Start, VERSION, Versions,
};
use tokio::runtime::Runtime;

use crate::device::{Cluster, bundle_dir};

/// Far beyond what anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);
const PLAN: u64 = 7;
const EPOCH: u16 = 1;
const OURS: [u8; SECRET] = [0x5e; SECRET];

/// A program on the network of a cluster.
pub(crate) struct Rogue {
    runtime: Runtime,
    link: Link,
    id: DeviceId,
    token: Option<Token>,
}

impl Rogue {
    /// On the network of a cluster, without showing itself.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let settings = LinkSettings {
            cluster: cluster.name.parse().unwrap(),
            listen: Vec::new(),
            connect: vec![cluster.devices[0].address.clone()],
            multicast: None,
        };
        let link = runtime.block_on(Link::open(settings)).unwrap();
        Self {
            runtime,
            link,
            id: DeviceId([0xbd; 16]),
            token: None,
        }
    }

    /// Announces itself as a device, and waits until another has noticed.
    fn announce(&mut self, cluster: &Cluster) {
        let token = self.runtime.block_on(self.link.announce(self.id));
        self.token = Some(token.unwrap());
        let line = format!("device not used device={}", self.id);
        cluster.until("the rogue is seen", || {
            cluster.devices[0].log().contains(&line)
        });
    }

    /// The reply to a message; an error where none came.
    pub(crate) fn send(&self, to: DeviceId, message: &Control<'_>) -> Result<Vec<u8>, String> {
        self.send_bytes(to, encode(VERSION, message).unwrap())
    }

    pub(crate) fn send_bytes(&self, to: DeviceId, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let reply = self.link.request(to, "", bytes, LIMIT);
        self.runtime
            .block_on(reply)
            .map_err(|error| error.to_string())
    }

    /// Why a message is refused.
    fn refused(&self, to: DeviceId, message: &Control<'_>) -> Reason {
        let reply = self.send(to, message).unwrap();
        match Control::parse(&reply).unwrap() {
            Control::Refuse { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn hello(&self, of: DeviceId) -> Hello {
        let reply = self.link.request_hello(of, Versions::OURS, LIMIT);
        let reply = self.runtime.block_on(reply).unwrap();
        match Control::parse(&reply).unwrap() {
            Control::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    /// An offer of an exact plan of `first` and the device, coordinated by `first`.
    fn offer(&self, first: DeviceId, to: DeviceId) -> Control<'static> {
        let tokens = Bundle::open(&bundle_dir()).unwrap().manifest().shape.tokens as u16;
        let member = |device, first_token, tokens| Member {
            device,
            first_token,
            tokens,
        };
        let half = tokens / 2;
        Control::Offer(Offer {
            plan: PLAN,
            epoch: EPOCH,
            bundle: self.hello(to).bundle,
            members: [member(first, 0, half), member(to, half, tokens - half)]
                .into_iter()
                .collect(),
            recipient: 1,
            rung: 0,
            coordinator: 0,
            secret: OURS,
        })
    }
}

fn id_of(cluster: &Cluster) -> DeviceId {
    let number = u128::from_str_radix(&cluster.devices[0].id, 16).unwrap();
    DeviceId(number.to_be_bytes())
}

/// The second half of a grey picture.
fn input() -> Vec<u8> {
    let bundle = Bundle::open(&bundle_dir()).unwrap();
    let (spec, tokens) = (
        bundle.manifest().image.unwrap(),
        bundle.manifest().shape.tokens,
    );
    let pixels = vec![128; tokens * spec.patch * spec.patch * 3];
    let half = tokens as u16 / 2;
    let range = TokenRange {
        first: half,
        tokens: half,
    };
    strip::encode(&pixels, range, &spec, true).unwrap()
}

/// A part of a request that has no end of its own.
fn start(request: u32, input: &[u8]) -> Control<'_> {
    Control::Start(Start {
        plan: PLAN,
        epoch: EPOCH,
        request,
        deadline_ms: u32::MAX,
        input,
    })
}

#[test]
fn a_plan_with_a_member_who_is_not_there_is_refused() {
    let cluster = Cluster::of(&["a"]);
    let rogue = Rogue::new(&cluster);
    let to = id_of(&cluster);
    for absent in [DeviceId([1; 16]), rogue.id] {
        let offer = rogue.offer(absent, to);
        assert_eq!(rogue.refused(to, &offer), Reason::UnknownMember);
    }
    // Without the plan there is no request that could wait for anyone.
    let input = input();
    assert_eq!(rogue.refused(to, &start(0, &input)), Reason::UnknownPlan);
    assert_eq!(cluster.report(&[]).members.len(), 1);
}

#[test]
fn a_request_that_is_no_next_one_of_its_plan_does_not_begin() {
    let cluster = Cluster::of(&["a"]);
    let mut rogue = Rogue::new(&cluster);
    let to = id_of(&cluster);
    rogue.announce(&cluster);
    let accepted = rogue.send(to, &rogue.offer(rogue.id, to)).unwrap();
    let accepted = Control::parse(&accepted).unwrap();
    assert!(matches!(accepted, Control::Accept { .. }), "{accepted:?}");
    let input = input();
    for request in [64, u32::MAX] {
        let reason = rogue.refused(to, &start(request, &input));
        assert_eq!(reason, Reason::UnknownPlan);
    }
}

#[test]
fn a_coordinator_that_goes_away_or_cancels_frees_its_member() {
    let cluster = Cluster::of(&["a"]);
    let mut rogue = Rogue::new(&cluster);
    let to = id_of(&cluster);
    rogue.announce(&cluster);
    rogue.send(to, &rogue.offer(rogue.id, to)).unwrap();
    let input = input();
    std::thread::scope(|scope| {
        // The device waits for the codes of the other member, which never come, as long as it waits for anyone.
        let first = scope.spawn(|| rogue.send(to, &start(0, &input)));
        let busy = || rogue.refused(to, &rogue.offer(rogue.id, to)) == Reason::Busy;
        cluster.until("the device works on it", busy);
        let cancel = |secret| {
            let (plan, request) = (PLAN, 0);
            rogue.send(
                to,
                &Control::Cancel {
                    plan,
                    request,
                    secret,
                },
            )
        };
        // Of someone else, who does not know the secret: the request goes on.
        cancel([0; SECRET]).unwrap();
        assert!(busy());
        cancel(OURS).unwrap();
        let ended = first.join().unwrap().unwrap();
        let ended = Control::parse(&ended).unwrap();
        assert!(
            matches!(ended, Control::Failed { text } if text.contains("cancelled")),
            "{ended:?}"
        );
        // The next one has no end but that of its coordinator.
        let second = scope.spawn(|| rogue.send(to, &start(1, &input)));
        cluster.until("the device works on the next", busy);
        rogue.runtime.block_on(rogue.link.close());
        second.join().unwrap().unwrap_err();
    });
    cluster.until("the rogue is gone", || {
        cluster.devices[0].log().contains("device left")
    });
    // Engaged, it would compute this only when the time is half over, which is longer than the test waits.
    let report = cluster.report(&["--deadline", "10m"]);
    assert_eq!(report.members.len(), 1);
}

#[test]
fn messages_too_long_and_messages_that_say_others_have_left_change_nothing() {
    let cluster = Cluster::of(&["a", "b"]);
    let rogue = Rogue::new(&cluster);
    let to = id_of(&cluster);
    // Cut off before anything is read: a probe has 1,184 bytes at most, a resume an id for each of 65,536 tokens.
    for (kind, length) in [(4, 1_185), (15, 400_000), (7, (8 << 20) + 1)] {
        let mut bytes = vec![0; length];
        bytes[..2].copy_from_slice(&[VERSION, kind]);
        rogue.send_bytes(to, bytes).unwrap_err();
    }
    let other = u128::from_str_radix(&cluster.devices[1].id, 16).unwrap();
    let device = DeviceId(other.to_be_bytes());
    for _ in 0..100 {
        // It has no reply.
        rogue.send(to, &Control::Leave { device }).unwrap_err();
    }
    let report = cluster.report(&["--device", "a"]);
    assert_eq!(report.members.len(), 2, "{report}");
    assert!(!cluster.devices[0].log().contains("device left"));
}
