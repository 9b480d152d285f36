//! Runs one Transformer inference across several small devices.
//!
//! Every device holds the whole model. The tokens of one input are divided among the members of a request; each computes its
//! own tokens in full precision and sends the others nothing but codes, once a block (ASTRA, arXiv 2505.19342).
//!
//! The model and what surrounds it, on one device, are [`astra_model`].
//!
//! Layers, lowest first; no module imports one above it:
//!
//! - [`plan`]: who computes which tokens
//! - [`gather`]: codes received, from the link's threads to the data path
//! - [`job`]: the data path of one member
//! - [`generation`]: text generation on one device, token by token
//! - [`worker`]: the thread that computes
//! - [`link`]: bytes between devices
//! - [`report`]: what became of a request
//! - [`config`]: settings of a device, and how a client finds a cluster
//! - [`cluster`]: who is there, plans, and requests
//! - [`text`]: what a request in words needs on a device
//! - [`server`]: requests of other devices and of clients
//! - [`http`]: a device asked by programs that know nothing of clusters
//! - [`node`]: a device from its start to its end; [`client`]: a cluster asked from outside; [`alone`]: neither
//! - [`measure`]: many requests summed up, and what the steps of one cost; used by the command line alone
//!
//! # Panics
//! Nothing that comes from the network, a file or a user makes a function of this crate panic.

pub mod alone;
pub mod client;
pub mod cluster;
pub mod config;
pub mod gather;
pub mod generation;
pub mod http;
pub mod job;
pub mod link;
pub mod measure;
pub mod node;
pub mod plan;
pub mod report;
pub mod server;
pub mod text;
pub mod worker;
