//! Reads JSON, with errors in the words of JSON: `temperature: found "hot", expected a number`.

use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Reads a body.
///
/// # Errors
/// The body is not JSON, or a field is not of the type or the range that is expected; the error names the field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let malformed =
        |message| ApiError::new(StatusCode::BAD_REQUEST, "malformed_json", None, message);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        malformed(format!(
            "body: found a byte at {at} that begins no character, expected UTF-8"
        ))
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let path = (path != ".").then_some(path);
        let error = error.into_inner();
        let text = error.to_string();
        // Of the type of the field: serde_json counts it to the syntax.
        let out_of_range = text.starts_with(OUT_OF_RANGE);
        if (error.is_syntax() && !out_of_range) || error.is_eof() {
            return malformed(format!("body: found no JSON: {text}"));
        }
        invalid(path, &text)
    })?;
    let end = json.end();
    end.map_err(|error| malformed(format!("body: found no JSON: {error}")))?;
    Ok(value)
}

/// How serde_json says that a number does not fit its type.
const OUT_OF_RANGE: &str = "number out of range";

/// The error of a field, from serde's.
fn invalid(path: Option<String>, serde: &str) -> ApiError {
    let text = without_position(serde);
    if let Some(missing) = between_backticks(text, "missing field ") {
        let field = join(path.as_deref(), missing);
        return ApiError::invalid(&field, format!("{field}: missing"));
    }
    if let Some(unknown) = between_backticks(text, "unknown field ") {
        // The path of serde_path_to_error ends with the field.
        let field = path.unwrap_or_else(|| unknown.to_owned());
        let expected = text
            .split_once(", ")
            .map_or("no such field", |(_, rest)| rest);
        let expected = expected.replace('`', "");
        let message = format!("{field}: found an unknown field, {expected}");
        return ApiError::invalid(&field, message);
    }
    let described = describe(text);
    let message = match &path {
        Some(path) => format!("{path}: {described}"),
        None => format!("body: {described}"),
    };
    let mut refused = ApiError::invalid("", message);
    refused.param = path;
    refused
}

/// What was found and what was expected.
fn describe(text: &str) -> String {
    if text.starts_with(OUT_OF_RANGE) {
        return "found a number out of range, expected a smaller one".to_owned();
    }
    for kind in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) = text
            .strip_prefix(kind)
            .and_then(|rest| rest.split_once(", expected "))
        {
            let found = match kind {
                // serde reads structs from lists too, of as many elements as there are fields.
                "invalid length " if expected.starts_with("struct ") => "a list".to_owned(),
                _ => value(found),
            };
            return format!("found {found}, expected {}", kind_of(expected));
        }
    }
    if let Some(found) = between_backticks(text, "unknown variant ") {
        let expected = text.split_once(", expected ").map_or("", |(_, rest)| rest);
        return format!("found {found:?}, expected {}", expected.replace('`', "\""));
    }
    text.to_owned()
}

/// A value that was found, in the words of JSON.
fn value(found: &str) -> String {
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" | "Option value" => "null".to_owned(),
        _ => {
            let plain = [
                "integer ",
                "floating point ",
                "boolean ",
                "string ",
                "character ",
            ];
            let plain = plain.iter().find_map(|kind| found.strip_prefix(kind));
            plain.unwrap_or(found).replace('`', "")
        }
    }
}

/// A type that was expected, in the words of JSON.
fn kind_of(expected: &str) -> String {
    let plain = match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "f32" | "f64" => "a number",
        "a JSON number" => "a number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("tuple ") => "a list",
        other => other,
    };
    plain.to_owned()
}

/// serde_json's text without ` at line 1 column 2`.
fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

fn between_backticks<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(prefix)?.strip_prefix('`')?;
    rest.split('`').next()
}

/// The path of a field of the object at `path`.
fn join(path: Option<&str>, field: &str) -> String {
    match path {
        Some(path) => format!("{path}.{field}"),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only their errors are looked at")]
    struct Body {
        input: Option<f32>,
        list: Option<Vec<u16>>,
        on: Option<bool>,
        kind: Option<Kind>,
        inner: Option<Inner>,
        needed: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only their errors are looked at")]
    struct Inner {
        ranges: Vec<u16>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Float,
        Base64,
    }

    #[track_caller]
    fn refused(body: &str, param: Option<&str>, message: &str) {
        let error = parse::<Body>(body.as_bytes()).unwrap_err();
        assert_eq!(error.message, message);
        assert_eq!(error.param.as_deref(), param, "{message}");
        assert_eq!(error.code, "invalid_value", "{message}");
    }

    #[test]
    fn errors_are_in_the_words_of_json() {
        refused("[]", None, "body: found a list, expected an object");
        refused("{}", Some("needed"), "needed: missing");
        refused(
            r#"{"input": "x"}"#,
            Some("input"),
            "input: found \"x\", expected a number",
        );
        refused(
            r#"{"input": 1e300}"#,
            Some("input"),
            "input: found a number out of range, expected a smaller one",
        );
        refused(
            r#"{"input": 1e400}"#,
            Some("input"),
            "input: found a number out of range, expected a smaller one",
        );
        refused(
            r#"{"list": [1, -1]}"#,
            Some("list[1]"),
            "list[1]: found -1, expected a whole number from 0 to 65535",
        );
        refused(
            r#"{"list": {}}"#,
            Some("list"),
            "list: found an object, expected a list",
        );
        refused(
            r#"{"on": 1.5}"#,
            Some("on"),
            "on: found 1.5, expected true or false",
        );
        refused(
            r#"{"kind": "int"}"#,
            Some("kind"),
            "kind: found \"int\", expected \"float\" or \"base64\"",
        );
        refused(
            r#"{"inner": {}}"#,
            Some("inner.ranges"),
            "inner.ranges: missing",
        );
        refused(
            r#"{"inner": {"rnug": 1}}"#,
            Some("inner.rnug"),
            "inner.rnug: found an unknown field, expected ranges",
        );
        refused(
            r#"{"inner": {"ranges": 5}}"#,
            Some("inner.ranges"),
            "inner.ranges: found 5, expected a list",
        );
    }
}
