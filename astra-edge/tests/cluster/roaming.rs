//! Devices whose addresses change while they run: they join again from the new ones, and the others see them there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::device::{Cluster, Device, photo, run};
use crate::manager::Manager;
use crate::namespace::Lan;

/// By then a device has joined again. It takes 2 to 4 s; devices that wait for each other's time-outs need more than this.
const REJOINED: Duration = Duration::from_secs(30);

/// What a device logs when it gives up its address.
const MOVES: &str = "the address of this device changes";
const LEAVES: &str = "left the cluster";

const A: &str = "10.9.8.1";
const B: &str = "10.9.8.2";

/// Devices `a` and `b` on a network of their own, which see each other.
struct Two {
    lan: Lan,
    cluster: Cluster,
    /// How a client on the machine of `b` finds it.
    client: Vec<String>,
}

impl Two {
    fn new(flags: [&[&str]; 2]) -> Option<Self> {
        let mut cluster = Cluster::new();
        let lan = Lan::new(&cluster.name, &[A, B])?;
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            let mut command = cluster.device_command(name);
            command.args(flags[number]);
            cluster.spawn(name, lan.host(number).command(&command));
        }
        let client = match flags[1].contains(&"--no-multicast") {
            true => vec!["--no-multicast", "--connect", &cluster.devices[1].address],
            false => Vec::new(),
        };
        let client = client.into_iter().map(str::to_owned).collect();
        let two = Self {
            lan,
            cluster,
            client,
        };
        two.cluster
            .until("they see each other", || two.see_each_other());
        Some(two)
    }

    /// Changes something at a device, which then joins again: the two see each other as they are now, and answer together.
    fn rejoins(&self, number: usize, change: impl FnOnce()) {
        let before = id(&self.cluster.devices[number]);
        change();
        self.until("it joins again", || {
            id(&self.cluster.devices[number]) != before
        });
        self.until("they see each other again", || self.see_each_other());
        for device in ["a", "b"] {
            assert_eq!(self.answers(device), 2, "{}", self.cluster.logs());
        }
    }

    /// Whether each sees exactly the other one, and none of the ids of before.
    fn see_each_other(&self) -> bool {
        let [a, b] = self.cluster.devices.as_slice() else {
            return false;
        };
        seen(a) == BTreeSet::from([id(b)]) && seen(b) == BTreeSet::from([id(a)])
    }

    /// Members of a request to a device.
    fn answers(&self, device: &str) -> usize {
        let mut client = crate::device::astra_edge();
        client
            .args(["infer", "--json", "--cluster", &self.cluster.name])
            .args(["--device", device, "--deadline", "60s"])
            .args(&self.client)
            .arg(photo());
        let output = run(&mut self.lan.host(1).command(&client));
        self.cluster.read(output).members.len()
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let limit = Instant::now() + REJOINED;
        self.cluster.until(what, || {
            let late = Instant::now() > limit;
            assert!(
                !late,
                "{what}: not within {REJOINED:?}; {}",
                self.cluster.logs()
            );
            holds()
        });
    }
}

/// The id that a device has now.
fn id(device: &Device) -> String {
    let log = device.log();
    let again = log.rsplit_once("joined again device=");
    again.map_or(device.id.clone(), |(_, rest)| word(rest))
}

/// Ids of the others that it sees now.
fn seen(device: &Device) -> BTreeSet<String> {
    let log = device.log();
    let stay = log
        .rsplit_once(MOVES)
        .map_or(log.as_str(), |(_, stay)| stay);
    let mut seen = BTreeSet::new();
    for line in stay.lines() {
        if let Some((_, rest)) = line.split_once("device joined device=") {
            seen.insert(word(rest));
        } else if let Some((_, rest)) = line.split_once("device left device=") {
            seen.remove(&word(rest));
        }
    }
    seen
}

fn word(text: &str) -> String {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text[..end].to_owned()
}

#[test]
fn a_device_that_gets_another_address_joins_again() {
    let Some(two) = Two::new([&[], &[]]) else {
        return;
    };
    let a = two.lan.host(0);
    two.rejoins(0, || {
        a.ip(&format!("address del {A}/24 dev eth0"));
        a.ip("address add 10.9.8.7/24 dev eth0");
    });
    let log = two.cluster.devices[0].log();
    assert!(log.contains("uses 10.9.8.7 of eth0"), "{log}");
    // The other one too.
    let b = two.lan.host(1);
    two.rejoins(1, || {
        // In another subnet: with the first address of one the system takes away all.
        b.ip("address add 10.9.8.9/25 dev eth0");
        b.ip(&format!("address del {B}/24 dev eth0"));
    });
}

#[test]
fn a_device_whose_interface_goes_down_and_up_joins_again() {
    let Some(mut two) = Two::new([&["--multicast-interface", "eth0"], &[]]) else {
        return;
    };
    let a = two.lan.host(0);
    let leaves = || {
        let left = two.cluster.devices[0].log().matches(LEAVES).count();
        move |two: &Two| {
            two.until("a leaves", || {
                let log = two.cluster.devices[0].log();
                log.matches(LEAVES).count() > left
            });
        }
    };
    two.rejoins(0, || {
        let has_left = leaves();
        a.ip("link set eth0 down");
        has_left(&two);
        a.ip("link set eth0 up");
    });
    // The cable is pulled, or the access point is gone.
    two.rejoins(0, || {
        let has_left = leaves();
        two.lan.plug(0, "down");
        has_left(&two);
        two.lan.plug(0, "up");
    });
    let device = two.cluster.device("a");
    device.signal("TERM");
    assert!(device.wait().success());
}

#[test]
fn an_address_that_is_named_is_waited_for() {
    let at = format!("{A}:7447");
    let flags: [&[&str]; 2] = [
        &["--listen", &at, "--no-multicast"],
        &["--connect", &at, "--no-multicast"],
    ];
    let Some(two) = Two::new(flags) else {
        return;
    };
    let a = two.lan.host(0);
    two.rejoins(0, || {
        a.ip(&format!("address del {A}/24 dev eth0"));
        a.ip("address add 10.9.8.7/24 dev eth0");
        two.until("a leaves", || two.cluster.devices[0].log().contains(LEAVES));
        a.ip(&format!("address add {A}/24 dev eth0"));
    });
}

#[test]
fn a_service_lives_while_it_waits_for_its_network_to_come_back() {
    let mut cluster = Cluster::new();
    let Some(lan) = Lan::new(&cluster.name, &[A]) else {
        return;
    };
    let mut command = lan.host(0).command(&cluster.device_command("a"));
    command.env("WATCHDOG_USEC", "600000");
    let manager = Manager::of(&cluster, &mut command);
    cluster.spawn("a", command);
    let ready = manager.receive();
    assert!(ready.contains(&format!(" at {A}:")), "{ready}");
    let wait_for = |begin: &str, part: &str| {
        let messages = std::iter::repeat_with(|| manager.receive());
        let mut signs = 0;
        for message in messages {
            if message.starts_with(begin) && message.contains(part) {
                return signs;
            }
            signs += usize::from(message == "WATCHDOG=1\n");
        }
        unreachable!("the iterator does not end");
    };
    lan.host(0).ip("link set eth0 down");
    wait_for("STATUS=waits for a network: ", "no network");
    for _ in 0..3 {
        wait_for("WATCHDOG=1", "");
    }
    lan.host(0).ip("link set eth0 up");
    wait_for("STATUS=a (", &format!(" at {A}:"));
    wait_for("WATCHDOG=1", "");
    let log = cluster.logs();
    assert!(!log.contains("the watchdog is not notified"), "{log}");
}
