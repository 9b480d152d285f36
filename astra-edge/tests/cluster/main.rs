//! Real device processes over real sockets of this machine: what a user does, and what goes wrong.
//!
//! The tests take turns: each starts a few processes, and machines have few cores.

mod alone;
mod device;
mod discovery;
mod exact;
mod losses;
mod refusals;
mod two_coordinators;
