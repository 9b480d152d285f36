//! The files of a package, where a system keeps them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{homepage, licences, source};
use crate::board::{Board, OnnxRuntime};
use crate::stop::Stop;
use crate::{child, folder, provision};

const PROGRAM: &str = "usr/bin/astra-edge";
const DOC: &str = "usr/share/doc/astra-edge";
const UNITS: &str = "usr/lib/systemd/system";

/// A folder that looks like `/`.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Puts everything in its place below `root`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn lay(
        board: &Board,
        edge: &Path,
        documents: &Path,
        root: &Path,
        stop: &Stop,
    ) -> Result<Self> {
        let tree = Self {
            root: root.to_owned(),
        };
        tree.copy(edge, PROGRAM, 0o755)?;
        tree.runtime(board, stop)?;
        tree.service(board)?;
        tree.documents(documents, stop)?;
        tree.licences(board, stop)?;
        fs::create_dir_all(root.join("var/lib/astra-edge"))?;
        Ok(tree)
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Puts a script in the place of the program, which stays beside it as `astra-edge.real`.
    pub(crate) fn replace_program(&self, script: &str) -> Result<()> {
        let program = self.root.join(PROGRAM);
        let real = self.root.join(format!("{PROGRAM}.real"));
        if !real.exists() {
            fs::rename(&program, &real)?;
        }
        fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
        Ok(fs::set_permissions(
            &program,
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// ONNX Runtime beside the program, which looks there for it.
    fn runtime(&self, board: &Board, stop: &Stop) -> Result<()> {
        let OnnxRuntime::Wheel = board.onnxruntime else {
            return Ok(());
        };
        let runtime = provision::board_runtime(board.architecture(), stop)?;
        let name = runtime.library.file_name().unwrap_or_default();
        let place = Path::new("usr/lib/astra-edge").join(name);
        self.copy(&runtime.library, place, 0o644)?;
        let folder = Path::new(DOC).join("onnxruntime");
        self.copy(&runtime.licence, folder.join("LICENSE"), 0o644)?;
        let notices = folder.join("ThirdPartyNotices.txt");
        self.copy(&runtime.notices, &notices, 0o644)?;
        self.compress(&notices, stop)
    }

    fn service(&self, board: &Board) -> Result<()> {
        let unit = format!("{UNITS}/astra-edge.service");
        self.copy(&source("deploy/astra-edge.service"), unit, 0o644)?;
        if !board.features().is_empty() {
            let place = format!("{UNITS}/astra-edge.service.d/gpu.conf");
            self.copy(&source("deploy/gpu.conf"), place, 0o644)?;
        }
        let settings = fs::read_to_string(source("deploy/device.toml"))?;
        self.write(
            "etc/astra-edge/device.toml",
            &settings_for(board, &settings)?,
        )
    }

    /// Manual pages and completions.
    fn documents(&self, documents: &Path, stop: &Stop) -> Result<()> {
        for page in folder::entries(&documents.join("man"))? {
            let name = page.file_name().unwrap_or_default();
            let place = Path::new("usr/share/man/man1").join(name);
            self.copy(&page, &place, 0o644)?;
            self.compress(&place, stop)?;
        }
        for (name, place) in [
            ("astra-edge.bash", "bash-completion/completions/astra-edge"),
            ("_astra-edge", "zsh/vendor-completions/_astra-edge"),
            (
                "astra-edge.fish",
                "fish/vendor_completions.d/astra-edge.fish",
            ),
        ] {
            let place = Path::new("usr/share").join(place);
            self.copy(&documents.join("completions").join(name), place, 0o644)?;
        }
        Ok(())
    }

    fn licences(&self, board: &Board, stop: &Stop) -> Result<()> {
        let folder = Path::new(DOC);
        let copyright = fs::read_to_string(source("deploy/debian/copyright"))?;
        let copyright = copyright.replace("{homepage}", homepage());
        self.write(folder.join("copyright"), &copyright)?;
        self.copy(&source("LICENSE"), folder.join("LICENSE"), 0o644)?;
        self.copy(&source("README.md"), folder.join("README.md"), 0o644)?;
        for (name, text) in [
            ("changelog", fs::read_to_string(source("CHANGELOG.md"))?),
            ("crates.txt", licences::gather(board, stop)?),
        ] {
            let place = folder.join(name);
            self.write(&place, &text)?;
            self.compress(&place, stop)?;
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: impl AsRef<Path>, mode: u32) -> Result<()> {
        let to = self.place(to.as_ref())?;
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn write(&self, to: impl AsRef<Path>, text: &str) -> Result<()> {
        let to = self.place(to.as_ref())?;
        fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// Replaces a file by `FILE.gz`, without the time in it: the same input gives the same package.
    fn compress(&self, place: impl AsRef<Path>, stop: &Stop) -> Result<()> {
        let mut command = Command::new("gzip");
        command.args(["-9", "--no-name", "--force"]);
        child::run_to_success(command.arg(self.root.join(place)), stop)
    }

    fn place(&self, relative: &Path) -> Result<PathBuf> {
        let place = self.root.join(relative);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(place)
    }
}

/// The settings as shipped, with what the board's file says in the place of what holds without it.
fn settings_for(board: &Board, settings: &str) -> Result<String> {
    let mut settings = settings.to_owned();
    if let Some(threads) = board.threads {
        settings = set(&settings, "threads", &threads.to_string())?;
    }
    if !board.features().is_empty() {
        let providers: Vec<String> = board
            .execution_providers
            .iter()
            .map(|provider| format!("{provider:?}"))
            .collect();
        let list = format!("[{}]", providers.join(", "));
        settings = set(&settings, "execution_providers", &list)?;
    }
    if !board.prepacking {
        settings = set(&settings, "prepacking", "false")?;
    }
    if let OnnxRuntime::BringYourOwn { search } = &board.onnxruntime {
        if search.is_empty() {
            bail!("board {}: no folder to search", board.name);
        }
        let folders = std::env::join_paths(search)
            .with_context(|| format!("board {}: a folder with a colon", board.name))?;
        let folders = format!("{:?}", folders.to_string_lossy());
        settings = set(&settings, "onnxruntime", &folders)?;
    }
    Ok(settings)
}

/// Puts a value where `# KEY = ...` stands.
fn set(settings: &str, key: &str, value: &str) -> Result<String> {
    let start = format!("# {key} = ");
    let mut found = false;
    let lines = settings.lines().map(|line| {
        if line.starts_with(&start) {
            found = true;
            return format!("{key} = {value}\n");
        }
        format!("{line}\n")
    });
    let settings: String = lines.collect();
    if !found {
        bail!("deploy/device.toml has no line {start:?}");
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_changes_its_own_settings_and_no_others() {
        let shipped = fs::read_to_string(source("deploy/device.toml")).unwrap();
        let lines_of = |name: &str| {
            let settings = settings_for(&Board::load(name).unwrap(), &shipped).unwrap();
            let lines = settings
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let plain = lines_of("x86-64");
        assert_eq!(plain, ["bundle = \"/var/lib/astra-edge/bundle\""]);
        let jetson = lines_of("jetson-orin");
        assert!(
            jetson.contains(&"execution_providers = [\"tensorrt\", \"cuda\", \"cpu\"]".to_owned())
        );
        let search = "onnxruntime = \"/usr/local/lib:/usr/lib/aarch64-linux-gnu\"";
        assert!(jetson.contains(&search.to_owned()));
        assert_eq!(jetson.len(), 3);
    }

    #[test]
    fn a_setting_that_is_not_there_is_an_error() {
        let error = set("# a = 1\n", "b", "2").unwrap_err().to_string();
        assert!(error.contains("# b = "), "{error}");
    }
}
