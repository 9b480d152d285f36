//! Settings from environment variables, which clap reads as it reads flags.

use std::env;

use astra_edge::config::declared;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command};

/// Two settings of which only one can be given.
const KEYS: [&str; 2] = ["key", "key_file"];

/// Parses the command line and the environment; exits where they are refused.
pub(super) fn matches(mut command: Command) -> ArgMatches {
    // Clap would refuse a key as a flag beside a file of it as a variable, and the flag wins.
    if KEYS.iter().any(|key| is_flag_given(&key.replace('_', "-"))) {
        for subcommand in command.get_subcommands_mut() {
            *subcommand = subcommand.clone().mut_args(|arg| {
                let is_key = KEYS.contains(&arg.get_id().as_str());
                if is_key {
                    arg.env(Resettable::Reset)
                } else {
                    arg
                }
            });
        }
    }
    let matches = command.try_get_matches();
    matches.unwrap_or_else(|error| named(error).exit())
}

/// The error with the name of the variable that the value comes from: clap names its flag, which was not given.
fn named(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let settings = declared();
    let mut settings = settings.get_arguments();
    let setting = settings.find(|setting| setting.to_string() == *flag);
    let variable = setting.and_then(|setting| {
        let variable = setting.get_env()?;
        let is_given = setting.get_long().is_some_and(is_flag_given);
        (!is_given && env::var_os(variable).is_some()).then_some(variable)
    });
    if let Some(variable) = variable {
        let variable = variable.to_string_lossy().into_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

fn is_flag_given(long: &str) -> bool {
    env::args_os().any(|given| {
        let given = given.to_string_lossy();
        let flag = given.split('=').next().unwrap_or_default();
        flag.strip_prefix("--") == Some(long)
    })
}
