//! Tests that find out as they run that they cannot run on this machine: only root may make networks, say.
//!
//! Rust's test harness counts such a test as passed. So the test calls [`skip`] before it returns, which appends a line to the file
//! that the variable [`FILE`] names, and whatever started the tests reads them with [`read`].
//!
//! ```text
//! skipped: TEST: REASON
//! ```

use std::fmt::{self, Display, Formatter};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::panic::Location;
use std::path::Path;

/// The variable that names the file which skipped tests are written to.
pub const FILE: &str = "ASTRA_SKIPPED";

const PREFIX: &str = "skipped: ";

/// A test that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skip {
    /// Name of the test, else file and line.
    pub test: String,
    /// Why it could not run.
    pub reason: String,
}

impl Display for Skip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}: {}", self.test, self.reason)
    }
}

/// Says that the test of this thread is skipped: on standard error, past the harness, and in the file of [`FILE`] if it is set.
///
/// # Panics
/// The file cannot be written: the test would pass uncounted.
#[track_caller]
#[allow(clippy::panic, reason = "for tests only, which fail so")]
pub fn skip(reason: impl Display) {
    let skip = Skip {
        test: test_name(Location::caller()),
        reason: reason.to_string(),
    };
    // Not by eprintln, which is shown only where a test fails. A closed stream is no reason to fail.
    let _ = writeln!(io::stderr(), "{skip}");
    if let Some(path) = std::env::var_os(FILE)
        && let Err(error) = append(Path::new(&path), &skip)
    {
        panic!("{}: {error}", Path::new(&path).display());
    }
}

/// The harness names threads after tests, but for its own, on which it runs them where it has only one.
fn test_name(caller: &Location<'_>) -> String {
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    }
}

/// One write: tests run side by side.
fn append(path: &Path, skip: &Skip) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{skip}\n").as_bytes())
}

/// The skips in a file, sorted; none where there is no file.
///
/// # Errors
/// The file cannot be read, or a line of it is not one of [`skip`].
pub fn read(path: &Path) -> io::Result<Vec<Skip>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let mut skips = text.lines().map(parse).collect::<io::Result<Vec<_>>>()?;
    skips.sort_unstable();
    Ok(skips)
}

fn parse(line: &str) -> io::Result<Skip> {
    let parts = line
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once(": "));
    match parts {
        Some((test, reason)) => Ok(Skip {
            test: test.to_owned(),
            reason: reason.to_owned(),
        }),
        None => Err(io::Error::other(format!(
            "found {line:?}, expected {PREFIX:?}, a test and a reason"
        ))),
    }
}

/// Lines for people: how many tests were skipped, and each.
#[must_use]
pub fn summary(skips: &[Skip]) -> String {
    let mut text = match skips.len() {
        0 => "no test was skipped".to_owned(),
        1 => "1 test was skipped:".to_owned(),
        count => format!("{count} tests were skipped:"),
    };
    for skip in skips {
        text.push_str(&format!("\n  {}: {}", skip.test, skip.reason));
    }
    text
}
