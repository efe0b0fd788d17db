//! What must stand at a place of a JSON message.

use serde_json::Value;

use super::whole;

/// What must stand where a pointer of `when` leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// `"*"`: anything.
    Present,
    Text(String),
    /// A whole number, however it is written.
    Whole(i128),
    Flag(bool),
}

impl Wanted {
    /// Whether that stands there; in a list, whether it is one of its elements.
    pub fn is_met(&self, found: &Value) -> bool {
        match (self, found) {
            (Wanted::Present, _) => true,
            (_, Value::Array(elements)) => elements.iter().any(|element| self.is(element)),
            _ => self.is(found),
        }
    }

    fn is(&self, found: &Value) -> bool {
        match (self, found) {
            (Wanted::Present, _) => true,
            (Wanted::Text(text), Value::String(found)) => text == found,
            (Wanted::Whole(number), Value::Number(found)) => {
                whole::parse(&found.to_string()) == Some(*number)
            }
            (Wanted::Flag(flag), Value::Bool(found)) => flag == found,
            _ => false,
        }
    }
}
