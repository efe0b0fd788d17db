//! A JSON Schema (2020-12) that values are held against.

use std::{fmt, path::PathBuf};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// Characters of what is said of a violation, beside its place.
const REASON_CHARS_MAX: usize = 200;

/// Compiled once.
pub struct Schema {
    pub path: PathBuf,
    /// As it was read.
    source: Value,
    validator: Validator,
}

impl Schema {
    /// The error says what is wrong with it.
    pub fn new(path: PathBuf, text: &str) -> Result<Self, String> {
        let file = path.display();
        let source: Value = serde_json::from_str(text).map_err(|e| format!("{file} is no JSON: {e}"))?;
        let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
        // Its time does not depend on what it is given, beyond how long that is.
        let options = options.with_pattern_options(PatternOptions::regex());
        let validator = options.build(&source).map_err(|e| {
            let at = e.instance_path().as_str();
            format!("{file} is no JSON Schema of 2020-12, at {}: {}", place(at), shortened(&e.to_string()))
        })?;
        Ok(Self { path, source, validator })
    }

    /// Whether a value keeps it. The error says what does not, and where.
    pub fn check(&self, json: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(json).map_err(|e| format!("cannot be read: {e}"))?;
        self.validator.validate(&value).map_err(|violation| {
            let at = violation.instance_path().as_str();
            format!("at {}: {}", place(at), shortened(&violation.masked().to_string()))
        })
    }
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "its root" } else { pointer }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({:?})", self.path)
    }
}

/// It says the same.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.source) == (&other.path, &other.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Result<Schema, String> {
        Schema::new("message.json".into(), text)
    }

    #[test]
    fn a_violation_says_the_place_and_not_the_value() {
        let text = r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["a"]}"#;
        let schema = schema(text).unwrap();
        assert_eq!(schema.check(r#"{"a":[1,2]}"#), Ok(()));
        let why = schema.check(r#"{"a":[1,"secret"]}"#).unwrap_err();
        assert!(why.starts_with("at /a/1: ") && !why.contains("secret"), "{why}");
        let why = schema.check("{}").unwrap_err();
        assert!(why.starts_with("at its root: ") && why.contains("\"a\""), "{why}");
    }

    #[test]
    fn a_schema_gets_nothing_from_elsewhere() {
        for refers in ["https://example.com/x.json", "file:///etc/passwd", "other.json"] {
            let why = schema(&format!(r#"{{"properties":{{"a":{{"$ref":"{refers}"}}}}}}"#)).unwrap_err();
            assert!(why.contains("message.json"), "{why}");
        }
        let own = schema(r##"{"$defs":{"n":{"type":"integer"}},"properties":{"a":{"$ref":"#/$defs/n"}}}"##);
        assert!(own.unwrap().check(r#"{"a":"x"}"#).is_err());
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (text, says) in [("{", "no JSON"), (r#"{"type":"thing"}"#, "/type"), (r#"{"pattern":"("}"#, "")] {
            let why = schema(text).unwrap_err();
            assert!(why.starts_with("message.json") && why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_pattern_takes_no_longer_than_its_text() {
        let schema = schema(r#"{"pattern":"^(a+)+$"}"#).unwrap();
        let began = std::time::Instant::now();
        assert!(schema.check(&format!("\"{}b\"", "a".repeat(50_000))).is_err());
        assert!(began.elapsed().as_secs() < 5);
    }
}
