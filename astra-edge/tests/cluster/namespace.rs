//! Network namespaces, and networks of them that only tests use. They are gone when they are dropped.

use std::process::Command;

use astra_skips::skip;

/// A network namespace without a network.
pub(crate) struct Namespace(String);

/// Namespaces on one local network: each has an interface `eth0`, whose other end is in a bridge.
pub(crate) struct Lan {
    hub: Namespace,
    hosts: Vec<Namespace>,
}

impl Namespace {
    /// `None` where this user may not make one: then the test is skipped.
    #[track_caller]
    pub(crate) fn new(name: &str) -> Option<Self> {
        let made = Command::new("ip").args(["netns", "add", name]).status();
        if made.is_ok_and(|status| status.success()) {
            return Some(Self(name.to_owned()));
        }
        skip("only root may make a network namespace");
        None
    }

    /// The command, in there.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.0]);
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            there.env(name, value.unwrap());
        }
        there
    }

    /// `ip` with these words, in there.
    pub(crate) fn ip(&self, words: &str) {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.0]).args(words.split(' '));
        assert!(ip.status().unwrap().success(), "{words}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

impl Lan {
    /// A network of hosts with these addresses; `None` where this user may not make one: then the test is skipped.
    #[track_caller]
    pub(crate) fn new(name: &str, addresses: &[&str]) -> Option<Self> {
        let hub = Namespace::new(&format!("{name}-hub"))?;
        hub.ip("link add bridge type bridge mcast_snooping 0 forward_delay 0");
        hub.ip("link set bridge up");
        let mut hosts = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let host = Namespace::new(&format!("{name}-{number}"))?;
            hub.ip(&format!(
                "link add port{number} type veth peer name eth0 netns {}",
                host.0
            ));
            hub.ip(&format!("link set port{number} master bridge up"));
            host.ip("link set lo up");
            host.ip("link set eth0 up");
            host.ip(&format!("address add {address}/24 dev eth0"));
            hosts.push(host);
        }
        Some(Self { hub, hosts })
    }

    pub(crate) fn host(&self, number: usize) -> &Namespace {
        &self.hosts[number]
    }

    /// Pulls the cable of a host, or plugs it in.
    pub(crate) fn plug(&self, number: usize, state: &str) {
        self.hub.ip(&format!("link set port{number} {state}"));
    }
}
