//! A test that skips itself is counted by what started it.

#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::process::{Command, Output};

use astra_skips::{FILE, Skip, read, skip, summary};

/// Set in the process that the first test starts: there it skips itself.
const INNER: &str = "ASTRA_SKIPS_INNER";

fn run(threads: &str, file: &std::path::Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_skipped_test_is_counted",
            "--test-threads",
            threads,
        ])
        .env(INNER, "1")
        .env(FILE, file)
        .output()
        .unwrap()
}

#[test]
fn a_skipped_test_is_counted() {
    if std::env::var_os(INNER).is_some() {
        return skip("only root: may do this");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skipped");
    assert_eq!(read(&file).unwrap(), []);
    for threads in ["2", "1"] {
        let output = run(threads, &file);
        assert!(output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(": only root: may do this\n"), "{stderr}");
    }
    let skips = read(&file).unwrap();
    assert_eq!(skips.len(), 2, "{skips:?}");
    for skip in &skips {
        // On the harness's own thread, the line is known instead of the name.
        let named = skip.test == "a_skipped_test_is_counted";
        assert!(named || skip.test.contains("counted.rs:"), "{skip:?}");
        assert_eq!(skip.reason, "only root: may do this");
    }
    assert!(
        skips
            .iter()
            .any(|skip| skip.test == "a_skipped_test_is_counted")
    );
}

#[test]
fn a_skip_that_cannot_be_written_fails() {
    let folder = tempfile::tempdir().unwrap();
    // A folder cannot be written as a file.
    let output = run("2", folder.path());
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn what_is_read_is_what_was_written_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skipped");
    std::fs::write(&file, "skipped: b: two: of them\nskipped: a: one\n").unwrap();
    let skip = |test: &str, reason: &str| Skip {
        test: test.to_owned(),
        reason: reason.to_owned(),
    };
    let skips = read(&file).unwrap();
    assert_eq!(skips, [skip("a", "one"), skip("b", "two: of them")]);
    assert_eq!(
        summary(&skips),
        "2 tests were skipped:\n  a: one\n  b: two: of them"
    );
    assert_eq!(summary(&skips[..1]), "1 test was skipped:\n  a: one");
    assert_eq!(summary(&[]), "no test was skipped");
    std::fs::write(&file, "passed: a: one\n").unwrap();
    assert!(read(&file).unwrap_err().to_string().contains("passed: a"));
}
