//! A laboratory: devices with a network and a processor of their own, on one machine, and measurements in it.
//!
//! - `args`: the command line; `link`: what a link is like
//! - `wiring`: the command lines that make the network; `quota`: shares of the processor, and `metronome`: evenly dealt out
//! - `lab`: both put up; `reap`: both taken down
//! - `bench`: devices and requests in it; `rows`: what was measured, and `predict`: what was to be expected

mod args;
mod bench;
mod lab;
mod link;
mod metronome;
mod predict;
mod quota;
mod reap;
mod rows;
mod wiring;

use std::process::{Command, ExitStatus};

use anyhow::Result;

use crate::child;
use crate::stop::Stop;

pub(crate) use args::NetlabArgs;
pub(crate) use lab::REAP;
pub(crate) use metronome::{METRONOME, beat};
pub(crate) use reap::when_abandoned;

use lab::{Lab, Shape};

/// Builds the lab, runs what is asked for in it, and takes it down; the status is that of the command, if there is one.
pub(crate) fn run(args: &NetlabArgs, stop: &Stop) -> Result<ExitStatus> {
    lab::check()?;
    let links = link::links(&args.preset, &args.mbps);
    if let (Some((program, arguments)), Some(link)) = (args.command.split_first(), links.first()) {
        let lab = Lab::build(Shape::from(args), link.rate, stop)?;
        let mut command = Command::new(program);
        command.args(arguments);
        return child::run(&mut lab.beside_device(1, &command), stop);
    }
    bench::run(args, &links, stop)?;
    Ok(ExitStatus::default())
}
