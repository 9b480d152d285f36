//! Real device processes over real sockets of this machine: what a user does, and what goes wrong.
//!
//! The tests take turns: each starts a few processes, and machines have few cores.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics fails, which is what it is for"
)]

mod alone;
mod device;
mod discovery;
mod exact;
mod generation;
mod hang_ups;
mod losses;
mod manager;
mod namespace;
mod openai;
mod pictures;
mod refusals;
mod roaming;
mod rogue;
mod service;
mod settings;
mod terminating;
mod texts;
mod twins;
mod two_coordinators;
mod web;
