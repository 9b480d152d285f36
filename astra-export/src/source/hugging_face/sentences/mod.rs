//! What the `sentence-transformers` library keeps beside a model: `modules.json` and what it names.
//!
//! - `transformer`: `sentence_bert_config.json`, how texts become tokens
//! - `pooling`, `dense`: the configurations of these modules
//! - `prompt`: `config_sentence_transformers.json`
//!
//! | module | |
//! |---|---|
//! | `Transformer` | has to be the first one, at the path "" |
//! | `Pooling` | has to be the second one; one mode |
//! | `Dense` | computed; activations `Identity`, `Tanh`, `ReLU`, `Sigmoid` |
//! | `Normalize` | computed |
//! | `Dropout` | does nothing at inference |
//! | all others | refused by name |
//!
//! Modules after the pooling are applied in their order. Rules are those of version 6.2 of the library, which reads what all
//! versions before it wrote.

mod dense;
mod pooling;
mod prompt;
mod transformer;

use serde::Deserialize;
use serde_json::json;

use super::object::Object;
use super::{Directory, text::Text};
use crate::family::bert::{EmbeddingHead, HeadStep};
use crate::source::{Mismatch, SourceError};

const MODULES: &str = "modules.json";
/// Names of the modules that are computed.
const KNOWN: [&str; 5] = ["Transformer", "Pooling", "Dense", "Normalize", "Dropout"];

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// What the directory says besides the model.
pub(super) struct Sentences {
    pub(super) head: EmbeddingHead,
    /// Longest text in tokens.
    pub(super) limit: Option<usize>,
    /// Whether texts are put into lower case before they are divided into tokens.
    pub(super) lower_case: bool,
    /// Whether the tokens of the prompt are pooled.
    pub(super) include_prompt: bool,
}

impl Sentences {
    /// Reads what belongs to a model of tokens `hidden` wide. Without `modules.json` it is what the library does with a bare
    /// model: the mean of all tokens, and no other file is looked at.
    pub(super) fn read(directory: &Directory<'_>, hidden: usize) -> Result<Self, SourceError> {
        let Some(modules) = directory.optional::<Vec<Module>>(MODULES)? else {
            return Ok(Self {
                head: EmbeddingHead::mean(),
                limit: None,
                lower_case: false,
                include_prompt: true,
            });
        };
        let mut rest = modules.iter().enumerate();
        let mut next = |wanted: &str| match rest.next() {
            Some((_, module)) if module.name() == Some(wanted) => Ok(module),
            Some((number, module)) => Err(wrong(directory, number, "type", &module.r#type, wanted)),
            None => Err(wrong(directory, modules.len(), "type", "", wanted)),
        };
        let transformer = next("Transformer")?;
        if !transformer.path.is_empty() {
            let expected = "\"\": config.json and model.safetensors in the directory itself";
            return Err(wrong(directory, 0, "path", &transformer.path, expected));
        }
        let pooling = next("Pooling")?;
        let words = transformer::read(directory)?;
        let (pooling, include_prompt) = pooling::read(directory, &pooling.path)?;
        let (mut steps, width) = steps(directory, rest, hidden)?;
        let whole = prompt::read(directory)?;
        let shorter = whole.truncate.filter(|&shorter| shorter < width);
        steps.extend(shorter.map(HeadStep::Truncate));
        Ok(Self {
            head: EmbeddingHead {
                pooling,
                prompt: whole.prompt,
                skip: 0,
                steps,
            },
            limit: words.limit,
            lower_case: words.lower_case,
            include_prompt,
        })
    }

    /// Changes how texts become tokens to what the directory says.
    pub(super) fn apply_to(
        &mut self,
        directory: &Directory<'_>,
        text: &mut Text,
    ) -> Result<(), SourceError> {
        if self.lower_case {
            transformer::lower_case(directory, text)?;
        }
        if !self.include_prompt && !self.head.prompt.is_empty() {
            self.head.skip = prompt::tokens(directory, text, &self.head.prompt)?;
        }
        Ok(())
    }
}

/// What comes after the pooling, of vectors `width` wide, and how wide they become.
fn steps<'a>(
    directory: &Directory<'_>,
    modules: impl Iterator<Item = (usize, &'a Module)>,
    mut width: usize,
) -> Result<(Vec<HeadStep>, usize), SourceError> {
    let mut steps = Vec::new();
    for (number, module) in modules {
        match module.name() {
            Some("Dense") => {
                let dense = dense::read(directory, &module.path, width)?;
                width = dense.outputs;
                steps.push(HeadStep::Dense(dense));
            }
            Some("Normalize") => {
                module.check_normalize(directory)?;
                steps.push(HeadStep::Normalize);
            }
            Some("Dropout") => {}
            _ => {
                let expected = "Dense, Normalize or Dropout after the pooling";
                return Err(wrong(directory, number, "type", &module.r#type, expected));
            }
        }
    }
    Ok((steps, width))
}

fn wrong(
    directory: &Directory<'_>,
    number: usize,
    what: &str,
    found: &str,
    expected: &str,
) -> SourceError {
    let name = format!("module {number}: {what}");
    let mismatch = Mismatch::new(name, format!("{found:?}"), expected);
    mismatch.at(&directory.dir.join(MODULES))
}

impl Module {
    /// The class, if it is one of the library that is computed. The library itself has moved its classes between versions:
    /// `sentence_transformers.models.Pooling`, `sentence_transformers.sentence_transformer.modules.pooling.Pooling`.
    fn name(&self) -> Option<&str> {
        let class = match self.r#type.rsplit_once('.') {
            Some((path, class)) => {
                let root = path.split('.').next();
                (root == Some("sentence_transformers")).then_some(class)?
            }
            None => self.r#type.as_str(),
        };
        KNOWN.contains(&class).then_some(class)
    }

    /// Since 6.0 this module has a configuration.
    fn check_normalize(&self, directory: &Directory<'_>) -> Result<(), SourceError> {
        let name = format!("{}/{}", self.path, super::CONFIG);
        let Some(mut config) = Object::read(directory, &name)? else {
            return Ok(());
        };
        for name in ["module_input_name", "module_output_name"] {
            config.only(name, &[json!("sentence_embedding")])?;
        }
        config.finish()
    }
}
