//! The steps, in the order in which they run: what fails soonest comes first.

use anyhow::{Result, bail};

use super::command::call;
use super::{CiArgs, Outcome, documents, fuzz, no_std};
use crate::binaries::cargo;
use crate::board::Board;
use crate::stop::Stop;
use crate::{checks, layers, lengths, trial};

pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: fn(&CiArgs, &Stop) -> Result<Outcome>,
}

pub(super) const STEPS: [Step; 13] = [
    Step {
        name: "fmt",
        what: "the format of Rust code",
        run: |_, stop| cargo_step(&["fmt", "--all", "--check"], stop),
    },
    Step {
        name: "shellcheck",
        what: "scripts",
        run: documents::shellcheck,
    },
    Step {
        name: "unit",
        what: "what the systemd unit lets the service do",
        run: documents::unit,
    },
    Step {
        name: "lengths",
        what: "no long files, no long functions",
        run: |_, _| lengths::run().map(|()| Outcome::Passed),
    },
    Step {
        name: "layers",
        what: "no files that import each other, no module that imports one above it",
        run: |_, _| layers::run().map(|()| Outcome::Passed),
    },
    Step {
        name: "deny",
        what: "licences of dependencies, and dependencies that are banned",
        run: documents::deny,
    },
    Step {
        name: "clippy",
        what: "lints of every target, warnings denied",
        run: |_, stop| cargo_step(&CLIPPY, stop),
    },
    Step {
        name: "docs",
        what: "documentation, warnings denied",
        run: docs,
    },
    Step {
        name: "no-std",
        what: "astra-wire and astra-codec without the standard library",
        run: no_std::run,
    },
    Step {
        name: "fuzz",
        what: "each fuzz target for a while",
        run: fuzz::run,
    },
    Step {
        name: "test",
        what: "every test of the workspace",
        run: test,
    },
    Step {
        name: "x86-64",
        what: "programs and scripts of a board like this machine",
        run: |args, stop| match cfg!(target_arch = "x86_64") {
            true => board("x86-64", args, stop),
            false => Ok(Outcome::Skipped("this machine is another".to_owned())),
        },
    },
    Step {
        name: "raspberry-pi-4",
        what: "programs of a board of another architecture, emulated",
        run: |args, stop| board("raspberry-pi-4", args, stop),
    },
];

const CLIPPY: [&str; 6] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--",
    "-D",
    "warnings",
];

fn cargo_step(arguments: &[&str], stop: &Stop) -> Result<Outcome> {
    call(cargo().args(arguments), stop)?;
    Ok(Outcome::Passed)
}

fn docs(_: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    call(&mut command, stop)?;
    Ok(Outcome::Passed)
}

fn test(args: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let tested = checks::test(&[], stop)?;
    if !tested.status.success() {
        bail!("cargo test: failed ({})", tested.status);
    }
    skipped(&tested.skips, args)
}

fn board(name: &str, args: &CiArgs, stop: &Stop) -> Result<Outcome> {
    let skips = trial::run(&Board::load(name)?, false, stop)?;
    skipped(&skips, args)
}

/// Whether tests may have been skipped.
fn skipped(skips: &[astra_skips::Skip], args: &CiArgs) -> Result<Outcome> {
    if skips.is_empty() {
        return Ok(Outcome::Passed);
    }
    let summary = astra_skips::summary(skips);
    if args.no_skips {
        bail!("{summary}\nfound {}, expected none", skips.len());
    }
    let first = summary.lines().next().unwrap_or_default();
    Ok(Outcome::Skipped(first.trim_end_matches(':').to_owned()))
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

    #[test]
    fn skipped_tests_are_shown_or_refused() {
        let skip = astra_skips::Skip {
            test: "roams".to_owned(),
            reason: "only root may".to_owned(),
        };
        let (lenient, strict) = (
            Line::parse_from(["ci"]).args,
            Line::parse_from(["ci", "--no-skips"]).args,
        );
        assert_eq!(skipped(&[], &strict).unwrap(), Outcome::Passed);
        let skips = [skip];
        assert_eq!(
            skipped(&skips, &lenient).unwrap(),
            Outcome::Skipped("1 test was skipped".to_owned())
        );
        let error = skipped(&skips, &strict).unwrap_err().to_string();
        assert!(error.contains("roams: only root may") && error.contains("expected none"));
    }
}
