//! `astra-edge run --print-settings`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use astra_edge::config::{Origin, Setting};
use serde::Serialize;

/// What is shown of a value that is secret.
const HIDDEN: &str = "(hidden)";

/// What `--json` prints of a setting, under its key.
#[derive(Serialize)]
struct Shown {
    value: Option<toml::Value>,
    /// `flag`, `environment`, `file` or `default`.
    source: &'static str,
    /// The flag, the variable, or the file with its line.
    at: Option<String>,
}

pub(super) fn print(settings: &[Setting], json: bool) -> Result<()> {
    if !json {
        return super::print_line(text(settings).trim_end());
    }
    let shown: BTreeMap<&str, Shown> = settings
        .iter()
        .map(|setting| (setting.key.as_str(), shown(setting)))
        .collect();
    super::print_json(&shown)
}

fn shown(setting: &Setting) -> Shown {
    let value = setting.value.clone();
    let source = match setting.origin {
        Origin::Flag(_) => "flag",
        Origin::Variable(_) => "environment",
        Origin::File { .. } => "file",
        Origin::Default => "default",
    };
    Shown {
        value: if setting.is_secret {
            value.map(|_| HIDDEN.into())
        } else {
            value
        },
        source,
        at: setting.place(),
    }
}

/// A settings file with the source of each value beside it.
fn text(settings: &[Setting]) -> String {
    let lines = settings.iter().map(|setting| {
        let key = &setting.key;
        let line = match &setting.value {
            Some(_) if setting.is_secret => format!("# {key} = {HIDDEN}"),
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} ="),
        };
        (
            line,
            setting.place().unwrap_or_else(|| "default".to_owned()),
        )
    });
    let lines: Vec<(String, String)> = lines.collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (line, place) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line:width$}  # {place}");
    }
    text
}
