//! Runs one Transformer inference across several small devices.
//!
//! Every device holds the whole model. The tokens of one input are divided among the members of a request; each computes its
//! own tokens in full precision and sends the others nothing but codes, once a block (ASTRA, arXiv 2505.19342).
//!
//! The model on one device, and the tasks around it, are the crate [`astra_model`].
//!
//! Layers, lowest first; no module imports one of a later line, which CI checks:
//!
//! - [`plan`]: the members of a request and their token ranges, and the latency that a plan is expected to have
//! - [`gather`]: codes received, from the network's threads to the data path
//! - [`job`]: the data path of one member: one request, block by block
//! - [`generation`]: text generation on one device, token by token
//! - [`worker`]: the compute thread
//! - [`link`]: bytes between devices: a Zenoh session
//! - [`report`]: members, times and bytes of a request
//! - [`config`]: settings, each declared once, from flags, environment and file
//! - [`cluster`]: which devices there are, and requests that they answer together
//! - [`text`]: requests in text: tokenizer before, detokenizer and stop strings after
//! - [`server`]: control messages of other devices and of clients
//! - [`http`]: the HTTP API
//! - [`node`]: a device from start to end; [`client`]: a cluster as a client sees it; [`alone`]: one machine without a cluster
//! - [`measure`]: measurements for the commands: many requests summed up, and the steps of one
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
