//! Commands of this project's programs that others extend.

use std::path::Path;
use std::process::Command;

use crate::binaries::Binaries;
use crate::provision::Provisioned;

/// The command that runs one device.
pub(crate) fn device(
    binaries: &Binaries,
    provisioned: &Provisioned,
    name: &str,
    cluster: &str,
    bundle: &Path,
) -> Command {
    let mut command = program(&binaries.edge, provisioned);
    command
        .args(["run", "--name", name, "--cluster", cluster, "--bundle"])
        .arg(bundle);
    command
}

/// A program in the environment that it needs.
pub(super) fn program(path: &Path, provisioned: &Provisioned) -> Command {
    let mut command = Command::new(path);
    command.envs(provisioned.variables());
    command
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::provision::Cache;

    pub(in crate::edge) fn binaries() -> Binaries {
        Binaries {
            edge: "/bin/astra-edge".into(),
            export: "/bin/astra-export".into(),
        }
    }

    pub(in crate::edge) fn provisioned() -> Provisioned {
        Provisioned {
            cache: Cache::at(Path::new("/cache")),
            runtime: "/lib/libonnxruntime.so".into(),
        }
    }

    pub(in crate::edge) fn arguments(command: &Command) -> String {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        arguments.join(" ")
    }
}
