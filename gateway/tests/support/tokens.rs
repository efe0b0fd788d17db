//! Tokens of simulated clients: a verifier that believes them, at once or later, and what a model knows of one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use engine::access::{
    bad::Bad,
    verify::{Check, Verdict, Verified, Verify},
};
use serde_json::{Value, json};

/// Believes what begins so: at once, or when it is told to go on.
const NOW: &str = "now.";
const LATER: &str = "later.";

/// Stands in for keys.
#[derive(Debug, Default)]
pub struct Believer {
    checks: Mutex<VecDeque<Check>>,
}

impl Believer {
    /// Finishes the check that was begun first. `false`: there is none.
    pub fn finish(&self) -> bool {
        let next = self.checks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(Check { token, then }) = next else { return false };
        then(payload(&token.0));
        true
    }

    pub fn waiting(&self) -> usize {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Verify for Believer {
    fn has_keys(&self) -> bool {
        true
    }

    fn verify(&self, token: &str) -> Verdict {
        if token.starts_with(LATER) { Verdict::Later } else { Verdict::Known(payload(token)) }
    }

    fn begin(&self, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push_back(check);
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        shown == format!("code-of-{cookie}")
    }
}

fn payload(token: &str) -> Verified {
    let hex = token.strip_prefix(NOW).or(token.strip_prefix(LATER)).ok_or(Bad::Signature)?;
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Bad::Signature)?;
    Ok(text.into())
}

/// A token that says so.
pub fn token(claims: &Value, is_late: bool) -> String {
    let hex: String = claims.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hex}", if is_late { LATER } else { NOW })
}

/// What a model knows of a token that was shown for its client.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Pass {
    pub sub: Option<String>,
    pub jti: String,
    /// Seconds since the Unix epoch.
    pub exp_s: i64,
    pub subscribe: Vec<String>,
    pub auto: Vec<String>,
    /// It is one that no gateway may accept.
    pub is_bad: bool,
}

impl Pass {
    pub fn claims(&self) -> Value {
        let mut claims = json!({
            "jti": self.jti, "exp": self.exp_s,
            "fanwire": { "subscribe": self.subscribe, "auto": self.auto },
        });
        if let Some(sub) = &self.sub {
            claims["sub"] = json!(sub);
        }
        claims
    }

    pub fn token(&self, is_late: bool) -> String {
        if self.is_bad { "forged".to_owned() } else { token(&self.claims(), is_late) }
    }
}
