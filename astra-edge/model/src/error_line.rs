//! The last line of a program that fails: `error: FILE: WHAT: found X, expected Y`, where there is a file.

use std::error::Error;

/// An error and its causes in one line, without causes that the message before them already contains.
pub fn error_line(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = error.source();
    }
    format!("error: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failure {
        text: &'static str,
        source: Option<Box<Failure>>,
    }

    #[test]
    fn causes_follow_unless_the_message_contains_them() {
        let cause = |text, source: Option<Failure>| Failure {
            text,
            source: source.map(Box::new),
        };
        let plain = cause("a.toml: threads: found 0, expected 1", None);
        assert_eq!(
            error_line(&plain),
            "error: a.toml: threads: found 0, expected 1"
        );
        let root = cause("no space left", None);
        let middle = cause("a.json: cannot write: no space left", Some(root));
        let whole = cause("no report", Some(middle));
        assert_eq!(
            error_line(&whole),
            "error: no report: a.json: cannot write: no space left"
        );
    }
}
