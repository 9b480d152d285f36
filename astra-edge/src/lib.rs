//! Runs one Transformer inference across several small devices.
//!
//! Every device holds the whole model. The tokens of one input are divided among the members of a request; each computes its
//! own tokens in full precision and sends the others nothing but codes, once a block (ASTRA, arXiv 2505.19342).
//!
//! Layers, lowest first; nothing calls up:
//!
//! - [`plan`]: who computes which tokens
//! - [`engine`]: the model on ONNX Runtime
//! - [`gather`]: codes received, from the link's threads to the data path
//! - [`job`]: the data path of one member, and [`simulate`]: all members of a request in lock step, without a network
//! - [`generate`]: what comes after a prompt, token by token
//! - [`worker`]: the thread that computes
//! - [`tasks`]: what surrounds the model for each kind of input
//! - [`link`]: bytes between devices
//! - [`config`]: settings of a device, and how a client finds a cluster
//! - [`cluster`]: who is there, plans, and requests; [`report`] and [`agreement`]: what came of them
//! - [`http`]: a device asked by programs that know nothing of clusters
//! - [`node`]: a device from its start to its end; [`client`]: a cluster asked from outside; [`alone`]: neither
//! - [`measure`]: many requests summed up, and what the steps of one cost; used by the command line alone
//! - [`error_line`]: what a program that fails says
//!
//! # Panics
//! Nothing that comes from the network, a file or a user makes a function of this crate panic.

pub mod alone;
pub mod client;
pub mod cluster;
pub mod config;
pub mod gather;
pub mod generate;
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
