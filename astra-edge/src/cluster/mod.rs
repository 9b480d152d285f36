//! Devices that work together: who is there, who computes what, and one request from its input to its answer.
//!
//! Without a network, and tested so:
//! - [`identity`]: names and the fingerprint of the key
//! - [`hello`]: reading another device's hello and judging it
//! - [`roster`]: the devices there are, and why any is not used
//! - [`choose`]: members and token ranges of a request, and [`choose_text`]: those of a text
//! - [`assemble`]: the members' shares put together
//! - [`share`]: a member's share on its way back, and [`dense`]: its features or scores as bytes
//!
//! With one:
//! - [`device`]: what all of the following share
//! - [`discovery`]: keeps the roster current
//! - [`seat`]: this device's place in a plan
//! - [`setup`]: a plan that every member accepted and in which everybody hears everybody
//! - [`request`]: one request on such a plan, of `part`s that its members do
//! - `halo`: features that members whose rows of a map border on each other send each other
//! - `speaker` and `listen`: tokens from the device that generates to whoever asked for them
//! - [`coordinator`]: what every question goes through, and `work`: what it knows of one; [`picture`]: one about a picture,
//!   [`text`]: one in token ids (`prompt`, `follow_up` and `vector`), [`words`]: one in words
//! - `member`: this device's part in somebody else's request; [`generations`]: those parts that can be ended between tokens
//! - [`asker`]: who asked, and whether it still waits
//! - `summary`: what the report says of it
//! - [`service`]: answers the control messages of others, and `asked`: those with questions in words
//!
//! # Two coordinators at once
//! A device works on one request at a time and refuses others as busy. Whoever is refused gives its request up everywhere,
//! frees itself, waits a random moment and tries again, and in the end answers alone: nobody holds one device while it waits
//! for another, so nobody waits for ever.

pub mod asker;
pub mod assemble;
pub mod choose;
pub mod choose_text;
pub mod coordinator;
pub mod dense;
pub mod device;
pub mod discovery;
pub mod generations;
pub mod hello;
pub mod identity;
pub mod picture;
pub mod request;
pub mod roster;
pub mod seat;
pub mod service;
pub mod setup;
pub mod share;
pub mod text;
pub mod words;

mod asked;
mod error;
mod experience;
mod follow_up;
mod halo;
mod listen;
mod member;
mod part;
mod prompt;
mod speaker;
pub(crate) mod summary;
mod vector;
mod work;

pub use asker::Asker;
pub use coordinator::{Coordinator, RequestError};
pub use device::Device;
pub use picture::{Question, Reply};
pub use text::{Embedded, Finish, Generate, Generated};
