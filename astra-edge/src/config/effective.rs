//! The settings that hold, and where each comes from.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::declared::{declared, overlay, toml_value};
use super::file::File;
use super::network::is_key_given;
use super::{Config, ConfigError, Origin, Settings};

/// Settings of which each comes from the strongest of its sources: flag, environment, file, default.
#[derive(Clone, Debug)]
pub struct Effective {
    config: Config,
    settings: Vec<Setting>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its key in a settings file, `TABLE.KEY` in a table.
    pub key: String,
    /// Its value as a settings file has it; `None` without one.
    pub value: Option<toml::Value>,
    /// Whether the value is not to be shown.
    pub is_secret: bool,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Effective {
    /// Merges what flags and variables gave, the file, if any, and the defaults, and checks all values.
    ///
    /// # Errors
    /// The file is refused, or a value is not possible: that is named with its source.
    pub fn new(given: &ArgMatches, file: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match file {
            Some(path) => File::read(path)?,
            None => File::none(),
        };
        let mut config = file.config()?;
        config.network.forget_key(given);
        overlay(&mut config, given)?;
        let settings = declared()
            .get_arguments()
            .map(|arg| setting(arg, given, &file, &config))
            .collect();
        let merged = Self { config, settings };
        merged.config.check().map_err(|error| merged.named(error))?;
        Ok(merged)
    }

    /// Every setting, in the order of declaration.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The values.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Finds what was left to this machine.
    ///
    /// # Errors
    /// A value that is not possible on this machine.
    pub fn checked(&self) -> Result<Settings, ConfigError> {
        let settings = self.config.clone().settings();
        settings.map_err(|error| self.named(error))
    }

    /// That the value of a setting is not possible, named with its source.
    pub fn refuse(&self, key: &str, found: &str, expected: &str) -> ConfigError {
        self.named(ConfigError::value(key, found, expected))
    }

    fn named(&self, error: ConfigError) -> ConfigError {
        error.named(|key| {
            let setting = self.settings.iter().find(|setting| setting.key == key)?;
            setting.place()
        })
    }
}

impl Setting {
    /// Where its value comes from, for people; `None` for the default.
    pub fn place(&self) -> Option<String> {
        match &self.origin {
            Origin::Flag(name) | Origin::Variable(name) => Some(name.clone()),
            Origin::File { path, line } => {
                Some(format!("{}: line {line}, {}", path.display(), self.key))
            }
            Origin::Default => None,
        }
    }
}

fn setting(arg: &Arg, given: &ArgMatches, file: &File, config: &Config) -> Setting {
    let key = arg.get_id().as_str();
    let texts_of_given = || {
        let texts = given.get_raw(key).into_iter().flatten();
        texts
            .map(|text| text.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    let is_forgotten = matches!(key, "key" | "key_file") && is_key_given(given);
    let in_file = file.value(key).filter(|_| !is_forgotten);
    let (origin, texts) = match (given.value_source(key), in_file) {
        (Some(ValueSource::CommandLine), _) => {
            let flag = format!("--{}", arg.get_long().unwrap_or(key));
            (Origin::Flag(flag), texts_of_given())
        }
        (Some(ValueSource::EnvVariable), _) => {
            let variable = arg.get_env().unwrap_or_default();
            let variable = variable.to_string_lossy().into_owned();
            (Origin::Variable(variable), texts_of_given())
        }
        (_, Some(value)) => (file.origin(value), value.texts.clone()),
        _ => {
            let texts = arg.get_default_values().iter();
            let texts = texts.map(|text| text.to_string_lossy().into_owned());
            (Origin::Default, texts.chain(config.found(key)).collect())
        }
    };
    Setting {
        key: key.to_owned(),
        value: toml_value(arg, &texts),
        is_secret: arg.is_hide_env_values_set(),
        origin,
    }
}
