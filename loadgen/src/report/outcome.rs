//! What became of an `--expect`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an expectation came out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    pub expect: String,
    /// `None` where the report has no figure there (no samples, or a server on another host).
    pub value: Option<f64>,
    /// In the figure's own unit.
    pub bound: f64,
    pub holds: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "holds" } else { "does not hold" };
        match self.value {
            Some(value) => write!(f, "{} {verdict} (is {value})", self.expect),
            None => write!(f, "{} {verdict} (the report has no figure there)", self.expect),
        }
    }
}
