//! Whole numbers as clients write them: 16, 16.0, -1.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Number;

/// A whole number, or nothing where it is `null`. JSON does not tell 16 and 16.0 apart, and some clients write the latter.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    exact(&number)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("found {number}, expected a whole number")))
}

fn exact(number: &Number) -> Option<i128> {
    if let Some(integer) = number.as_i128() {
        return Some(integer);
    }
    let float = number.as_f64()?;
    // `as` saturates, and a float without a fraction is an integer.
    (float.fract() == 0.0).then_some(float as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "whole")]
        number: Option<i128>,
    }

    fn read(text: &str) -> Result<Option<i128>, String> {
        let body: Result<Body, _> = serde_json::from_str(text);
        body.map(|body| body.number)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn whole_numbers_of_every_form_are_read() {
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read(r#"{"number": null}"#), Ok(None));
        assert_eq!(read(r#"{"number": 16}"#), Ok(Some(16)));
        assert_eq!(read(r#"{"number": 16.0}"#), Ok(Some(16)));
        assert_eq!(read(r#"{"number": 1.6e1}"#), Ok(Some(16)));
        assert_eq!(read(r#"{"number": -1}"#), Ok(Some(-1)));
        let most = u64::MAX;
        assert_eq!(
            read(&format!(r#"{{"number": {most}}}"#)),
            Ok(Some(most.into()))
        );
        assert_eq!(read(r#"{"number": 1e99}"#), Ok(Some(i128::MAX)));
        let error = read(r#"{"number": 1.5}"#).unwrap_err();
        assert!(
            error.contains("found 1.5, expected a whole number"),
            "{error}"
        );
        assert!(read(r#"{"number": "16"}"#).is_err());
    }
}
