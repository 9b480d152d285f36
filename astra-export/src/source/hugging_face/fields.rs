//! Which fields of `config.json` are read, which change nothing, and which are refused.
//!
//! A field that is in no list may be one that the model computes with, so it is refused by its name. One that switches something
//! off (null, false, empty) cannot be.

use serde_json::{Map, Value as Json};

use super::field_lists::{COMMON, FAMILIES, Family, Neutral};
use crate::source::Mismatch;

/// Longest value that an error shows whole, in characters.
const SHOWN: usize = 80;

/// The fields that are used. Refuses a configuration with another that may change what is computed.
pub(super) fn used(
    mut config: Map<String, Json>,
    model_type: &str,
) -> Result<Map<String, Json>, Mismatch> {
    let of = |family: &&Family| family.model_types.contains(&model_type);
    let Some(family) = FAMILIES.iter().find(of) else {
        return Ok(config);
    };
    for (name, value) in &config {
        family.check(name, value)?;
    }
    config.retain(|name, _| family.used.contains(&name.as_str()));
    Ok(config)
}

impl Family {
    fn check(&self, name: &str, value: &Json) -> Result<(), Mismatch> {
        if self.used.contains(&name) {
            return Ok(());
        }
        let mut neutral = self.neutral.iter().chain(COMMON.neutral);
        if let Some((_, neutral)) = neutral.find(|(field, _)| *field == name) {
            if neutral.is(value) {
                return Ok(());
            }
            let expected = format!("{}: nothing else is supported", neutral.words());
            return Err(Mismatch::new(name, shown(value), expected));
        }
        let mut ignored = self.ignored.iter().chain(COMMON.ignored);
        if ignored.any(|field| matches(field, name)) || Neutral::Off.is(value) {
            return Ok(());
        }
        let expected = format!(
            "one of the fields that are read of {} ({}); remove it if the model does not compute with it",
            self.title,
            self.used.join(", ")
        );
        Err(Mismatch::new(name, shown(value), expected))
    }
}

impl Neutral {
    fn is(self, value: &Json) -> bool {
        const CODE_BESIDE_THE_MODEL: [&str; 5] = [
            "AutoTokenizer",
            "AutoProcessor",
            "AutoImageProcessor",
            "AutoFeatureExtractor",
            "AutoVideoProcessor",
        ];
        let off = match value {
            Json::Null | Json::Bool(false) => true,
            Json::String(text) => text.is_empty(),
            Json::Array(items) => items.is_empty(),
            Json::Object(fields) => fields.is_empty(),
            Json::Bool(true) | Json::Number(_) => false,
        };
        match (self, value) {
            (_, Json::Null) => true,
            (Self::Off, _) => off,
            (Self::True, value) => *value == Json::Bool(true),
            (Self::Number(neutral), value) => value.as_f64() == Some(neutral),
            (Self::NoModelCode, Json::Object(code)) => code
                .keys()
                .all(|class| CODE_BESIDE_THE_MODEL.contains(&class.as_str())),
            (Self::NoModelCode, _) => off,
        }
    }

    /// The values, for people.
    pub(super) fn words(self) -> String {
        match self {
            Self::Off => "null or false".to_owned(),
            Self::True => "true".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::NoModelCode => "no code of the model's own".to_owned(),
        }
    }
}

/// Whether a field of a list, with `*` at either end or not, is called `name`.
fn matches(field: &str, name: &str) -> bool {
    match (field.strip_prefix('*'), field.strip_suffix('*')) {
        (Some(_), Some(_)) => name.contains(field.trim_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(begin)) => name.starts_with(begin),
        (None, None) => field == name,
    }
}

/// A value as an error shows it.
pub(super) fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The section of `SOURCES.md` that is made of the lists.
    fn table() -> String {
        let names = |fields: &[&str]| {
            let quoted: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
            quoted.join(", ")
        };
        let refused = |fields: &[(&str, Neutral)]| {
            let quoted: Vec<String> = fields
                .iter()
                .map(|(field, neutral)| format!("`{field}` ({})", neutral.words()))
                .collect();
            quoted.join(", ")
        };
        let mut text = String::new();
        for family in FAMILIES.iter().chain([&COMMON]) {
            text += &format!("### {}\n\n| | fields |\n|---|---|\n", family.title);
            if !family.model_types.is_empty() {
                text += &format!("| `model_type` | {} |\n", names(family.model_types));
            }
            if !family.used.is_empty() {
                text += &format!("| used | {} |\n", names(family.used));
            }
            text += &format!("| ignored | {} |\n", names(family.ignored));
            text += &format!("| refused unless | {} |\n\n", refused(family.neutral));
        }
        text
    }

    /// To write the section anew, run this test with `WRITE_SOURCES=1`.
    #[test]
    fn the_table_of_the_documentation_is_that_of_the_lists() {
        const BEGIN: &str = "<!-- fields -->\n\n";
        const END: &str = "<!-- end of fields -->";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SOURCES.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (found, after) = rest.split_once(END).unwrap();
        if std::env::var_os("WRITE_SOURCES").is_some() {
            let new = format!("{before}{BEGIN}{}{END}{after}", table());
            std::fs::write(path, new).unwrap();
            return;
        }
        assert_eq!(found, table());
    }

    #[test]
    fn a_field_is_in_one_list_of_its_family() {
        for family in &FAMILIES {
            let neutral = family.neutral.iter().map(|(field, _)| field);
            let mut all: Vec<_> = family.used.iter().chain(family.ignored).collect();
            all.extend(neutral);
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count, "{}", family.title);
        }
    }

    #[test]
    fn fields_that_may_change_the_answer_are_refused_by_name() {
        let config = |name: &str, value: Json| {
            let mut fields = Map::new();
            fields.insert(name.to_owned(), value);
            used(fields, "llama").map_err(|error| error.to_string())
        };
        for (name, value) in [
            ("quantization_config", json!({ "bits": 4 })),
            ("logits_scaling", json!(8.0)),
            ("attention_multiplier", json!(1.0)),
            ("is_causal", json!(false)),
            ("auto_map", json!({ "AutoModel": "modeling.Other" })),
            ("something_new", json!(3)),
        ] {
            let said = config(name, value.clone()).unwrap_err();
            assert!(
                said.starts_with(&format!("{name}: found {value}, expected ")),
                "{said}"
            );
        }
        for (name, value) in [
            ("quantization_config", json!(null)),
            ("logits_scaling", json!(1)),
            ("auto_map", json!({ "AutoTokenizer": ["a", null] })),
            ("something_new", json!(false)),
            ("attention_probs_dropout_prob", json!(0.1)),
            ("summary_something", json!([])),
        ] {
            assert!(config(name, value).unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&json!("ä".repeat(200))).chars().count(), SHOWN + 3);
        assert_eq!(shown(&json!([1, "a"])), r#"[1,"a"]"#);
    }
}
