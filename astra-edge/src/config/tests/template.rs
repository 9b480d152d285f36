//! `deploy/device.toml`, made from the declaration.

use clap::Arg;

use super::*;
use crate::config::declared::{is_list, toml_value};

/// Settings that the file of a package sets.
const SHIPPED: [&str; 1] = ["bundle"];
const COLUMNS: usize = 130;
const HEADER: &str = "\
Settings of one device, for `astra-edge run --config device.toml`.
Every setting is here; one after a # shows its default, or an example where there is none.

`astra-edge run --help` lists the same settings as flags and environment variables: ASTRA_EDGE_ and the key in capitals, with commas \
between the values of a list. A flag wins over a variable, a variable over this file. `astra-edge run --config device.toml \
--print-settings` shows what holds, and where each value comes from.";

/// To write the file anew, run this test with `WRITE_SETTINGS=1`.
#[test]
fn the_shipped_file_is_that_of_the_declaration() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/device.toml");
    if std::env::var_os("WRITE_SETTINGS").is_some() {
        std::fs::write(path, template()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == template(),
        "{path}: run this test with WRITE_SETTINGS=1"
    );
}

fn template() -> String {
    let mut text = comment(HEADER);
    let mut table = None;
    for arg in declared().get_arguments() {
        let key = arg.get_id().as_str();
        let (described, example) = description(arg);
        text += &format!("\n{}", comment(&described));
        let key_alone = match key.split_once('.') {
            Some((inner, key)) => {
                if table != Some(inner.to_owned()) {
                    text += &format!("# [{inner}]\n");
                    table = Some(inner.to_owned());
                }
                key
            }
            None => {
                assert_eq!(table, None, "{key}: keys after a table belong to it");
                key
            }
        };
        let off = if SHIPPED.contains(&key) { "" } else { "# " };
        text += &format!("{off}{key_alone} = {}\n", shown(arg, example));
    }
    text
}

/// Help as the comment of a file, and the example in it.
fn description(arg: &Arg) -> (String, Option<String>) {
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let (help, example) = match help.rsplit_once("\n\nExample: ") {
        Some((help, example)) => (help.to_owned(), Some(example.to_owned())),
        None => (help, None),
    };
    let (first, rest) = help.split_once("\n\n").unwrap_or((&help, ""));
    let first = first.trim_end_matches('.');
    let as_value = |value: &str| {
        let (letter, rest) = first.split_at(1);
        format!("{value}: {}{rest}", letter.to_lowercase())
    };
    let first = match arg.get_action() {
        clap::ArgAction::SetFalse => as_value("false"),
        clap::ArgAction::SetTrue => as_value("true"),
        _ => first.to_owned(),
    };
    (format!("{first}. {rest}").trim_end().to_owned(), example)
}

/// The default, else the example, as the file has it.
fn shown(arg: &Arg, example: Option<String>) -> String {
    let defaults = arg.get_default_values().iter();
    let defaults = defaults.map(|text| text.to_str().unwrap().to_owned());
    let texts: Vec<String> = defaults.chain(example).collect();
    let value = toml_value(arg, &texts);
    value.map_or_else(
        || "\"\"".to_owned(),
        |value| {
            assert!(is_list(arg) || !value.is_array());
            value.to_string()
        },
    )
}

fn comment(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > COLUMNS {
                lines += &format!("{line}\n");
                line = "#".to_owned();
            }
            line += &format!(" {word}");
        }
        lines += &format!("{line}\n");
    }
    lines
}

#[test]
fn a_setting_without_a_default_has_an_example_or_may_be_empty() {
    for arg in declared().get_arguments() {
        let (_, example) = description(arg);
        let is_default = !arg.get_default_values().is_empty();
        assert!(
            is_default ^ example.is_some() || is_list(arg) || arg.get_id() == "key",
            "{}",
            arg.get_id()
        );
    }
}
