//! `cargo xtask ci`: what a change has to pass, one step after another.
//!
//! Layers, lowest first:
//! - `command`: a command whose failure names it
//! - `fuzz`, `no_std`, `documents`: steps of more than one command
//! - `steps`: the list of all

mod command;
mod documents;
mod fuzz;
mod no_std;
mod steps;

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::stop::{Interrupted, Stop};
use steps::{STEPS, Step};

#[derive(Args, Debug)]
pub(crate) struct CiArgs {
    /// List the steps, and run none
    #[arg(long)]
    pub(crate) list: bool,

    /// Run this step alone; may be given several times
    #[arg(long, value_name = "STEP", value_parser = names(), conflicts_with = "from")]
    pub(crate) only: Vec<String>,

    /// Run this step and those after it
    #[arg(long, value_name = "STEP", value_parser = names())]
    pub(crate) from: Option<String>,

    /// How long each fuzz target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) fuzz_seconds: u32,

    /// Fail where a test was skipped; for machines on which every test can run
    #[arg(long)]
    pub(crate) no_skips: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

/// What a step has done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// All or a part of it was left out, for this reason.
    Skipped(String),
}

/// One line of the summary.
struct Row {
    name: &'static str,
    seconds: f64,
    remark: String,
}

/// Runs the steps that were requested, up to the first that fails.
///
/// # Errors
/// A step fails; the error names the step and the command.
pub(crate) fn run(args: &CiArgs, stop: &Stop) -> Result<()> {
    let steps = chosen(args);
    if args.list {
        for step in steps {
            println!("{:<16}{}", step.name, step.what);
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    let mut outcome = Ok(());
    for step in steps {
        eprintln!("== {}: {}", step.name, step.what);
        let start = Instant::now();
        let found = (step.run)(args, stop);
        let seconds = start.elapsed().as_secs_f64();
        let (remark, failure) = match found {
            Ok(Outcome::Passed) => (String::new(), None),
            Ok(Outcome::Skipped(reason)) => (format!("skipped: {reason}"), None),
            Err(error) => ("FAILED".to_owned(), Some(error)),
        };
        eprintln!("== {}: {seconds:.1} s {remark}", step.name);
        rows.push(Row {
            name: step.name,
            seconds,
            remark,
        });
        if let Some(error) = failure {
            // An interruption ends with a status of its own.
            outcome = match error.is::<Interrupted>() {
                true => Err(error),
                false => Err(error).with_context(|| format!("step {}", step.name)),
            };
            break;
        }
    }
    print!("{}", summary(&rows));
    outcome
}

fn chosen(args: &CiArgs) -> Vec<&'static Step> {
    let named = |step: &&Step| args.only.iter().any(|name| name == step.name);
    if !args.only.is_empty() {
        return STEPS.iter().filter(named).collect();
    }
    let first = args.from.as_deref();
    STEPS
        .iter()
        .skip_while(|step| first.is_some_and(|first| first != step.name))
        .collect()
}

fn summary(rows: &[Row]) -> String {
    let mut text = format!("{:<16}{:>8}\n", "step", "seconds");
    let total = Row {
        name: "total",
        seconds: rows.iter().map(|row| row.seconds).sum(),
        remark: String::new(),
    };
    for row in rows.iter().chain([&total]) {
        let line = format!("{:<16}{:>8.1}  {}", row.name, row.seconds, row.remark);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CiArgs,
    }

    fn chosen_by(words: &[&str]) -> Vec<&'static str> {
        let line = Line::parse_from([&["ci"], words].concat());
        chosen(&line.args).iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_are_chosen_by_name_in_their_own_order() {
        let all: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(chosen_by(&[]), all);
        assert_eq!(
            chosen_by(&["--only", "test", "--only", "fmt"]),
            ["fmt", "test"]
        );
        let from = all.iter().position(|name| *name == "test").unwrap();
        assert_eq!(chosen_by(&["--from", "test"]), all[from..]);
        assert!(Line::try_parse_from(["ci", "--only", "tests"]).is_err());
        assert!(Line::try_parse_from(["ci", "--only", "fmt", "--from", "fmt"]).is_err());
    }

    #[test]
    fn the_summary_has_each_step_and_their_sum() {
        let row = |name, seconds, remark: &str| Row {
            name,
            seconds,
            remark: remark.to_owned(),
        };
        let rows = [row("fmt", 1.0, ""), row("deny", 2.5, "skipped: why")];
        assert_eq!(
            summary(&rows),
            "step             seconds\n\
             fmt                  1.0\n\
             deny                 2.5  skipped: why\n\
             total                3.5\n"
        );
    }
}
