//! Device processes, and client commands that send them requests.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use astra_edge::report::Report;
use astra_model::paths;
use serde_json::Value;
use tempfile::TempDir;

const HINT: &str = "run `cargo xtask test`, which provides it";
/// Longest wait for anything: far beyond what it takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a condition is checked.
const POLL: Duration = Duration::from_millis(20);

/// Devices of one cluster; dropping them ends them.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) devices: Vec<Device>,
    pub(crate) folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// One device process.
pub(crate) struct Device {
    pub(crate) name: String,
    /// Its id when it started.
    pub(crate) id: String,
    pub(crate) address: String,
    /// Where it serves HTTP; empty if it does not.
    pub(crate) http: String,
    log: PathBuf,
    process: Child,
}

/// Exit status and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

static TURN: Mutex<()> = Mutex::new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// No devices yet, in a cluster that no other test has.
    pub(crate) fn new() -> Self {
        // A failed test leaves nothing that could disturb the next.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("test-{}-{number}", std::process::id()),
            devices: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
            _turn: turn,
        }
    }

    /// Devices of these names that all see each other.
    pub(crate) fn of(names: &[&str]) -> Self {
        let mut cluster = Self::new();
        for name in names {
            cluster.start(name, &[]);
        }
        cluster.wait_for_usable(names.len());
        cluster
    }

    /// Devices of these names with another bundle, all of which see each other; the first serves HTTP.
    pub(crate) fn with_bundle(bundle: &Path, names: &[&str]) -> Self {
        let mut cluster = Self::new();
        let bundle = bundle.to_str().unwrap();
        for name in names {
            let mut flags = vec!["--bundle", bundle];
            if cluster.devices.is_empty() {
                flags.extend(["--http", "127.0.0.1:0"]);
            }
            cluster.start(name, &flags);
        }
        cluster.wait_for_usable(names.len());
        cluster
    }

    /// Where the first device serves HTTP.
    pub(crate) fn http(&self) -> &str {
        &self.devices[0].http
    }

    /// Starts a device by unicast, with more flags.
    pub(crate) fn start(&mut self, name: &str, flags: &[&str]) {
        let mut command = self.device_command(name);
        command
            .args(["--listen", "127.0.0.1", "--no-multicast"])
            .args(flags);
        if let Some(first) = self.devices.first() {
            command.args(["--connect", &first.address]);
        }
        self.spawn(name, command);
    }

    /// The command of a device, without flags for discovery.
    pub(crate) fn device_command(&self, name: &str) -> Command {
        let mut command = astra_edge();
        command
            .args([
                "run",
                "--json",
                "--threads",
                "1",
                // On two cores, several devices can be slower than one.
                "--all-members",
                "--log",
                "warn,astra_edge=debug,astra_model=debug",
            ])
            .args(["--name", name, "--cluster", &self.name]);
        command
    }

    /// Starts a device and waits until it is ready.
    pub(crate) fn spawn(&mut self, name: &str, mut command: Command) {
        if !command.get_args().any(|arg| arg == "--bundle") {
            command.arg("--bundle").arg(bundle_dir());
        }
        // Two devices may have the same name.
        let log = format!("{}-{name}.log", self.devices.len());
        let log = self.folder.path().join(log);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut device = Device {
            name: name.to_owned(),
            id: String::new(),
            address: String::new(),
            http: String::new(),
            log,
            process,
        };
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "{name} printed {line:?} instead of its ready line; its log: {}",
                device.log()
            )
        });
        device.id = ready["id"].as_str().unwrap().to_owned();
        device.address = ready["addresses"][0].as_str().unwrap().to_owned();
        device.http = ready["http"].as_str().unwrap_or_default().to_owned();
        self.devices.push(device);
    }

    /// A client command for the cluster of the first device.
    pub(crate) fn client(&self, command: &str) -> Command {
        let mut client = astra_edge();
        client.args([command, "--cluster", &self.name, "--no-multicast", "--json"]);
        if let Some(first) = self.devices.first() {
            client.args(["--connect", &first.address]);
        }
        client
    }

    /// A request, with time to spare on a loaded machine.
    pub(crate) fn infer(&self, flags: &[&str]) -> Command {
        let mut command = self.client("infer");
        command.arg(photo());
        if !flags.contains(&"--deadline") {
            command.args(["--deadline", "60s"]);
        }
        command.args(flags);
        command
    }

    /// The report of a request that has to succeed.
    pub(crate) fn report(&self, flags: &[&str]) -> Report {
        self.read(run(&mut self.infer(flags)))
    }

    /// The report in the output of a request.
    pub(crate) fn read(&self, output: CommandOutput) -> Report {
        assert!(output.status.success(), "{output:?}; {}", self.logs());
        serde_json::from_str(&output.stdout).unwrap()
    }

    /// What `peers` lists.
    pub(crate) fn peers(&self) -> Vec<Value> {
        let output = run(&mut self.client("peers"));
        assert!(output.status.success(), "{output:?}");
        let peers: Value = serde_json::from_str(&output.stdout).unwrap();
        peers["devices"].as_array().unwrap().clone()
    }

    /// Waits until `wanted` devices are usable, and each of them knows it.
    pub(crate) fn wait_for_usable(&self, wanted: usize) {
        self.until("the devices see each other", || {
            let usable = self
                .peers()
                .iter()
                .filter(|peer| peer["usable"] == true)
                .count();
            usable == wanted && self.devices.iter().all(|device| device.knows(wanted - 1))
        });
    }

    /// Waits until `holds` returns true; fails with the logs after [`LIMIT`].
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !holds() {
            assert!(
                Instant::now() < limit,
                "{what}: not within {LIMIT:?}; {}",
                self.logs()
            );
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn device(&mut self, name: &str) -> &mut Device {
        self.devices
            .iter_mut()
            .find(|device| device.name == name)
            .unwrap()
    }

    pub(crate) fn logs(&self) -> String {
        let logs = self.devices.iter();
        logs.map(|device| format!("{}:\n{}\n", device.name, device.log()))
            .collect()
    }
}

impl Device {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether the device has found at least `others` usable devices.
    fn knows(&self, others: usize) -> bool {
        self.log().matches("device joined").count() >= others
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the process to exit.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.process)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A process that has ended already is fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> CommandOutput {
    finish(start(command))
}

/// Starts a command whose end [`finish`] waits for.
pub(crate) fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn finish(mut child: Child) -> CommandOutput {
    let mut out = child.stdout.take().unwrap();
    let mut err = child.stderr.take().unwrap();
    let stderr = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let stdout = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let status = wait(&mut child);
    CommandOutput {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= limit {
            let _ = child.kill();
            panic!("a process did not end within {LIMIT:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// The program under test.
pub(crate) fn astra_edge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_astra-edge"))
}

/// The demo's bundle.
pub(crate) fn bundle_dir() -> PathBuf {
    folder("bundles/vit_s_focus-224")
}

/// The bundle of the language model.
pub(crate) fn language_dir() -> PathBuf {
    folder("bundles/smollm2-135m-instruct")
}

/// The bundle of the model of sentence embeddings.
pub(crate) fn sentences_dir() -> PathBuf {
    folder("bundles/all-minilm-l6-v2")
}

/// Where Python finds OpenAI's client.
pub(crate) fn openai_folder() -> PathBuf {
    let marker = provided("openai/requirements.txt");
    marker.parent().unwrap().to_owned()
}

/// A photograph the demo's bundle was not calibrated on.
pub(crate) fn photo() -> PathBuf {
    provided("samples/coffee.png")
}

fn folder(path: &str) -> PathBuf {
    provided(&format!("{path}/manifest.json"))
        .parent()
        .unwrap()
        .to_owned()
}

fn provided(path: &str) -> PathBuf {
    let path = paths::cache_dir().expect("a home folder").join(path);
    assert!(path.exists(), "{} is missing: {HINT}", path.display());
    path
}

/// A file of this repository that is not an image.
pub(crate) fn not_a_picture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")
}
