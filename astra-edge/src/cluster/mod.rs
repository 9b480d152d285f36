//! Devices that answer requests together: who is there, who computes what, and one request from its input to its answer.
//!
//! Layers, lowest first; no module imports one of a later line:
//!
//! - [`membership`]: which devices there are, and whether each can be used
//! - [`placement`]: which devices take part in a request, and which tokens each of them computes
//! - [`device`]: the state of this device that all of the following share
//! - [`session`]: plans: offered, joined, probed and left
//! - [`member`]: what one member computes of a request, and the form in which it is sent
//! - [`generation`]: tokens from the device that generates to the client
//! - [`request`]: the coordinator, and requests about images and texts
//!
//! # Two coordinators at once
//! A device works on one request at a time and refuses others as busy. A coordinator that is refused cancels its request on all
//! members, releases its own device, waits a random time and tries again; when half of the deadline has passed it computes the
//! answer on its own device. No coordinator holds one device while it waits for another, so there is no deadlock.

pub mod device;
pub mod generation;
pub mod member;
pub mod membership;
pub mod placement;
pub mod request;
pub mod session;
