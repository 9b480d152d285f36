//! Where the chat template of a directory is.
//!
//! `chat_template.jinja` goes before that of `tokenizer_config.json`, as in transformers; then `chat_template.json`, which
//! processors of transformers 4 wrote. Of several by name it is the one called `default`.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::Directory;
use crate::source::error::read_text;
use crate::source::{ChatTemplate, SourceError};

const FILE: &str = "chat_template.jinja";
/// Further ones beside [`FILE`].
const NAMED: &str = "additional_chat_templates/default.jinja";
const OF_PROCESSOR: &str = "chat_template.json";
/// The one of several that is taken.
const DEFAULT: &str = "default";

/// One template, or several by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Templates {
    One(String),
    List(Vec<Named>),
    ByName(Map<String, Json>),
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    name: String,
    template: String,
}

/// `chat_template.json`
#[derive(Debug, Deserialize)]
struct Processor {
    chat_template: Option<Templates>,
}

/// The template of `directory`; `of_tokenizer` is what `tokenizer_config.json` has.
pub(super) fn read(
    directory: &Directory<'_>,
    of_tokenizer: Option<Templates>,
) -> Result<Option<ChatTemplate>, SourceError> {
    for name in [NAMED, FILE] {
        let path = directory.dir.join(name);
        if path.is_file() {
            return Ok(Some(ChatTemplate {
                source: read_text(&path)?,
                from: name.to_owned(),
            }));
        }
    }
    let mut several = 0;
    let mut find = |templates: Option<Templates>, from: &str| {
        let templates = templates?;
        several += templates.count();
        let source = templates.into_default()?;
        let from = from.to_owned();
        Some(ChatTemplate { source, from })
    };
    let mut found = find(of_tokenizer, super::TOKENIZER_CONFIG);
    if found.is_none() {
        let processor: Option<Processor> = directory.optional(OF_PROCESSOR)?;
        found = find(processor.and_then(|of| of.chat_template), OF_PROCESSOR);
    }
    if found.is_none() && several > 0 {
        directory.warn(format!(
            "chat template: found {several} by name, expected one called {DEFAULT:?}; chats will be refused"
        ));
    }
    Ok(found)
}

impl Templates {
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::List(list) => list.len(),
            Self::ByName(templates) => templates.len(),
        }
    }

    fn into_default(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::List(list) => {
                let mut list = list.into_iter();
                let default = list.find(|template| template.name == DEFAULT);
                default.map(|template| template.template)
            }
            Self::ByName(templates) => {
                let default = templates.get(DEFAULT).and_then(Json::as_str);
                default.map(str::to_owned)
            }
        }
    }
}
