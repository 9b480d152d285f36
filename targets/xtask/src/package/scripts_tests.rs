//! dpkg's scripts, run as dpkg runs them, in a folder that stands for the system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Logs its calls; fails where the folder says so.
const SYSTEMCTL: &str = r#"echo "$@" >>ROOT/calls
[ ! -e ROOT/fails ]"#;
const BUNDLE: &str = "var/lib/astra-edge/bundle/manifest.json";

struct System {
    root: TempDir,
}

impl System {
    fn new() -> Self {
        let system = Self {
            root: tempfile::tempdir().unwrap(),
        };
        system.write("run/systemd/system/none", "");
        system.program("usr/bin/astra-edge", "echo astra-edge 0.1.0");
        system.program("bin/systemctl", SYSTEMCTL);
        system.program("bin/getent", "exit 2");
        system.program("bin/useradd", "echo useradd >>ROOT/calls");
        system
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.placed(text)).unwrap();
    }

    fn program(&self, file: &str, text: &str) {
        self.write(file, &format!("#!/bin/sh\n{text}\n"));
        let path = self.root.path().join(file);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn placed(&self, text: &str) -> String {
        text.replace("ROOT", &self.root.path().display().to_string())
    }

    /// The calls of other programs by `postinst configure BEFORE`, which succeeds, and its output.
    fn configured(&self, before: &str) -> (String, String) {
        let script = fs::read_to_string(super::source("deploy/debian/postinst")).unwrap();
        let mut script = script;
        for folder in [
            "/usr/bin",
            "/run/systemd",
            "/etc/systemd",
            "/var/lib/astra-edge/bundle",
        ] {
            script = script.replace(folder, &self.placed(&format!("ROOT{folder}")));
        }
        let calls = self.root.path().join("calls");
        let _ = fs::remove_file(&calls);
        let path = format!("{}/bin:/usr/bin:/bin", self.root.path().display());
        let mut command = Command::new("sh");
        command.args(["-c", &script, "postinst", "configure", before]);
        let Output {
            status,
            stdout,
            stderr,
        } = command.env("PATH", path).output().unwrap();
        let output = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(status.success(), "{output}");
        (fs::read_to_string(calls).unwrap_or_default(), output)
    }
}

#[test]
fn a_first_install_enables_and_starts_what_has_a_bundle() {
    let system = System::new();
    let (calls, output) = system.configured("");
    assert_eq!(calls, "useradd\ndaemon-reload\n");
    assert!(output.contains("Put a bundle into"), "{output}");
    system.write(BUNDLE, "{}");
    let (calls, _) = system.configured("");
    let wanted = "enable astra-edge.service\nrestart --no-block astra-edge.service\n";
    assert!(calls.ends_with(wanted), "{calls}");
}

#[test]
fn an_upgrade_restarts_what_runs_and_enables_nothing() {
    let system = System::new();
    for _ in 0..2 {
        let (calls, output) = system.configured("0.0.9-1");
        assert!(calls.contains("\ntry-restart --no-block astra-edge.service\n"));
        assert!(!calls.contains("\nenable"), "{calls}");
        assert!(!output.contains("bundle"), "{output}");
        // Whether or not there is a bundle in the usual place.
        system.write(BUNDLE, "{}");
    }
}

#[test]
fn nothing_leaves_the_package_half_configured() {
    let system = System::new();
    system.write(BUNDLE, "{}");
    system.write("fails", "");
    system.program("bin/useradd", "exit 9");
    let (calls, output) = system.configured("");
    // Masked before it was installed, say.
    assert!(calls.ends_with("enable astra-edge.service\n"), "{calls}");
    assert!(output.contains("without a user"), "{output}");
    let (_, output) = system.configured("0.0.9-1");
    assert!(output.contains("not enabled"), "{output}");

    system.program("usr/bin/astra-edge", "exit 132");
    let (calls, output) = system.configured("0.0.9-1");
    assert_eq!(calls, "");
    assert!(
        output.contains("does not run on this processor"),
        "{output}"
    );
}

#[test]
fn a_unit_that_hides_the_packages_is_named() {
    let system = System::new();
    let unit = "etc/systemd/system/astra-edge.service";
    let says = |start: &str| {
        system.write(unit, &format!("[Service]\nExecStart={start} run\n"));
        system.configured("").1.contains("hides this package's")
    };
    assert!(says("/opt/astra-edge/current/bin/astra-edge"));
    assert!(!says("/usr/bin/astra-edge"), "the owner's own");
    fs::remove_file(system.root.path().join(unit)).unwrap();
    assert!(!system.configured("").1.contains("hides"));
}
