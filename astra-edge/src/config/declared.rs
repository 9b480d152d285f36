//! The settings as clap knows them.

use clap::builder::{Resettable, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};

use super::Config;

/// Every setting as an argument, in the order of declaration: its id is the key in the settings file.
pub fn declared() -> Command {
    let mut command = arguments::<Config>();
    command.build();
    command
}

fn arguments<T: Args>() -> Command {
    T::augment_args(
        Command::new("settings")
            .no_binary_name(true)
            .disable_help_flag(true),
    )
}

/// The arguments, which no variable gives a value.
pub(super) fn without_environment() -> Command {
    arguments::<Config>().mut_args(|arg| arg.env(Resettable::Reset))
}

/// Whether a setting is a list.
pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// A setting's value as a settings file has it.
pub(super) fn toml_value(arg: &Arg, texts: &[String]) -> Option<toml::Value> {
    let kind = arg.get_value_parser().type_id();
    let texts_alone = [
        ValueParser::string(),
        ValueParser::path_buf(),
        ValueParser::os_string(),
    ];
    let is_text = texts_alone.iter().any(|text| text.type_id() == kind);
    let one = |text: &String| match (text.parse(), text.parse(), text.parse()) {
        (Ok(number), ..) if !is_text => toml::Value::Integer(number),
        (_, Ok(number), _) if !is_text => toml::Value::Float(number),
        (.., Ok(value)) if !is_text => toml::Value::Boolean(value),
        _ => toml::Value::String(text.clone()),
    };
    if is_list(arg) {
        return Some(toml::Value::Array(texts.iter().map(one).collect()));
    }
    texts.first().map(one)
}

/// Whether a flag or a variable gives the setting a value.
pub(super) fn is_given(given: &ArgMatches, key: &str) -> bool {
    matches!(
        given.value_source(key),
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// Puts what flags and variables say in the place of what `settings` hold.
pub(super) fn overlay<T: Args>(settings: &mut T, given: &ArgMatches) -> Result<(), clap::Error> {
    let mut given = given.clone();
    for arg in arguments::<T>().get_arguments() {
        let key = arg.get_id().as_str();
        if !is_given(&given, key) {
            // It is a default, which the file wins over.
            let _ = given.try_clear_id(key);
        }
    }
    settings.update_from_arg_matches_mut(&mut given)
}
