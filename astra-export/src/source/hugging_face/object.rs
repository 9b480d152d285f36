//! A JSON object whose fields are taken one by one, so that none is passed over.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::Directory;
use crate::source::{Mismatch, SourceError};

/// A JSON file of a directory. A field that is `null` counts as absent.
pub(super) struct Object {
    path: PathBuf,
    fields: Map<String, Json>,
}

impl Object {
    /// The file, if it is there.
    pub(super) fn read(directory: &Directory<'_>, name: &str) -> Result<Option<Self>, SourceError> {
        let fields: Option<Map<String, Json>> = directory.optional(name)?;
        let path = directory.dir.join(name);
        Ok(fields.map(|fields| Self { path, fields }))
    }

    /// Takes a field out; `expected` is what is said where it has another type.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, SourceError> {
        match self.fields.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(found) => match serde_json::from_value(found.clone()) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.refusal(name, &found, expected)),
            },
        }
    }

    /// Takes a field that has to be one of `possible` if it is there.
    pub(super) fn only(&mut self, name: &str, possible: &[Json]) -> Result<(), SourceError> {
        match self.fields.remove(name) {
            None | Some(Json::Null) => Ok(()),
            Some(found) if possible.contains(&found) => Ok(()),
            Some(found) => {
                let possible: Vec<String> = possible.iter().map(Json::to_string).collect();
                let expected = match possible.as_slice() {
                    [] => "nothing".to_owned(),
                    possible => possible.join(" or "),
                };
                Err(self.refusal(name, &found, &expected))
            }
        }
    }

    /// Takes a field that is an object itself.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, SourceError> {
        let fields = self.take(name, "an object")?;
        let path = self.path.clone();
        Ok(fields.map(|fields| Self { path, fields }))
    }

    /// Takes fields that change nothing.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.fields.remove(*name);
        }
    }

    /// Refuses the first field that was not taken, unless it is `null` or `false`.
    pub(super) fn finish(self) -> Result<(), SourceError> {
        let off = |value: &Json| matches!(value, Json::Null | Json::Bool(false));
        let mut rest = self.fields.iter().filter(|(_, value)| !off(value));
        match rest.next() {
            None => Ok(()),
            Some((name, found)) => {
                let expected = "no such field: it is not known what it changes";
                Err(self.refusal(name, found, expected))
            }
        }
    }

    pub(super) fn refusal(&self, name: &str, found: &Json, expected: &str) -> SourceError {
        Mismatch::new(name, found, expected).at(&self.path)
    }
}
