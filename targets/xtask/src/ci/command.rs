//! Commands that are shown before they run, and named when they fail.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::child;
use crate::stop::Stop;

/// Runs a command with this program's own standard streams.
///
/// # Errors
/// It cannot be started or fails; the error holds all of it.
pub(super) fn call(command: &mut Command, stop: &Stop) -> Result<()> {
    let line = line(command);
    eprintln!("$ {line}");
    let status = child::run(command, stop).with_context(|| line.clone())?;
    if !status.success() {
        bail!("{line}: failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns its standard error, which is shown only if it fails.
///
/// # Errors
/// As [`call`].
pub(super) fn capture_call(command: &mut Command, stop: &Stop) -> Result<String> {
    let line = line(command);
    eprintln!("$ {line}");
    let output = child::capture(command, stop, None, false, || ()).with_context(|| line.clone())?;
    if !output.status.success() {
        bail!("{}{line}: failed ({})", output.stderr, output.status);
    }
    Ok(output.stderr)
}

/// The command with what is set in its environment, for people.
fn line(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.display(),
            quoted(&value?.to_string_lossy())
        ))
    });
    let program = command.get_program().to_string_lossy();
    // The cargo that runs this is named by its whole path.
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command
        .get_args()
        .map(|word| quoted(&word.to_string_lossy()));
    let words: Vec<String> = set.chain([program]).chain(arguments).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    match word.contains([' ', '\'', '"']) {
        true => format!("{word:?}"),
        false => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exit 3"]).env("A", "b c");
        let output = call(&mut command, &Stop::default())
            .unwrap_err()
            .to_string();
        assert_eq!(
            output,
            "A=\"b c\" sh -c \"exit 3\": failed (exit status: 3)"
        );
        let output = capture_call(
            Command::new("sh").args(["-c", "echo why >&2; exit 4"]),
            &Stop::default(),
        );
        let output = output.unwrap_err().to_string();
        assert_eq!(
            output,
            "why\nsh -c \"echo why >&2; exit 4\": failed (exit status: 4)"
        );
        let mut command = Command::new("/none/such");
        let output = format!("{:#}", call(&mut command, &Stop::default()).unwrap_err());
        assert!(
            output.starts_with("such: cannot start /none/such"),
            "{output}"
        );
    }
}
