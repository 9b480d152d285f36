//! A lab: devices with a network and a share of the processor of their own, on one machine, and measurements in it.
//!
//! - `args`: the command line; `link`: rates of links
//! - `wiring`: the command lines that make the network; `quota`: shares of the processor; `preemption_timer`: makes the kernel
//!   enforce them evenly
//! - `lab`: puts all of it up; `cleanup`: takes it down
//! - `builds`: the programs that are measured; `cluster`: the devices of one build; `session`: clients that measure them in the lab;
//!   `bench`: sessions one after another
//! - `rows`: what was measured; `predict`: what the planner expects
//! - `merge`, `ratio`, `comparison`: rows of two builds that were measured in turns

mod args;
mod bench;
mod builds;
mod cleanup;
mod cluster;
mod comparison;
mod lab;
mod link;
mod merge;
mod predict;
mod preemption_timer;
mod quota;
mod ratio;
mod rows;
mod session;
mod wiring;

use std::process::{Command, ExitStatus};

use anyhow::Result;

use crate::child;
use crate::stop::Stop;

pub(crate) use args::{Bench, NetlabArgs};
pub(crate) use bench::measure;
pub(crate) use cleanup::clean_up_after_parent;
pub(crate) use lab::{CLEANUP, check};
pub(crate) use link::Mbps;
pub(crate) use preemption_timer::{PREEMPTION_TIMER, run as run_preemption_timer};
pub(crate) use quota::LEAST_CORES;
pub(crate) use rows::Row;

use lab::{Lab, Shape};

/// Builds the lab, runs a command or benches in it, and takes it down. Returns the status of the command, if there is one.
pub(crate) fn run(args: &NetlabArgs, stop: &Stop) -> Result<ExitStatus> {
    // Before anything that takes long.
    args.other_programs()?;
    check(args.cpu)?;
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
