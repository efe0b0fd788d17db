//! Makes tokens, for trying things out and for the page.

use engine::{access::rules::Rules, topic::pattern::Pattern};
use jsonwebtoken::{Header, encode};
use serde_json::{Map, Value, json};

use super::{key::Key, provider};

/// What a token is to say.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Minted {
    pub sub: Option<String>,
    pub subscribe: Vec<Pattern>,
    pub publish: Vec<Pattern>,
    pub auto: Vec<Pattern>,
    pub interval_ms_min: Option<u64>,
    pub connections: Option<u64>,
    /// Seconds since the Unix epoch.
    pub now_s: u64,
    /// At most: no longer than tokens may live.
    pub lives_s: u64,
}

impl Minted {
    /// When it ends: seconds since the Unix epoch.
    pub fn exp_s(&self, rules: &Rules) -> u64 {
        let max_s = rules.lifetime_max_us.map_or(u64::MAX, |us| us.unsigned_abs() / 1_000_000);
        self.now_s + self.lives_s.min(max_s)
    }

    /// A token that says so, signed with a secret, and such as these rules accept.
    pub fn sign(&self, rules: &Rules, key: &Key) -> Result<String, String> {
        provider::install();
        let signs = key.signs.as_ref().ok_or("only a key with a secret signs tokens")?;
        let mut claims = json!({ "iat": self.now_s, "exp": self.exp_s(rules) });
        let [issuer, audience] = [&rules.issuer, &rules.audience].map(|known| known.first());
        for (name, text) in [("sub", self.sub.as_ref()), ("iss", issuer), ("aud", audience)] {
            if let Some(text) = text {
                claims[name] = json!(text);
            }
        }
        let grants = self.grants();
        if !grants.is_empty() {
            put(&mut claims, &rules.claim, Value::Object(grants));
        }
        let mut header = Header::new(key.alg);
        header.kid.clone_from(&key.kid);
        encode(&header, &claims, signs).map_err(|error| error.to_string())
    }

    /// What stands under `[access] claim`.
    fn grants(&self) -> Map<String, Value> {
        let mut grants = Map::new();
        let lists = [("subscribe", &self.subscribe), ("publish", &self.publish), ("auto", &self.auto)];
        for (name, patterns) in lists {
            if !patterns.is_empty() {
                grants.insert(name.to_owned(), patterns.iter().map(Pattern::as_str).collect());
            }
        }
        for (name, number) in [("interval_ms_min", self.interval_ms_min), ("connections", self.connections)] {
            if let Some(number) = number {
                grants.insert(name.to_owned(), number.into());
            }
        }
        grants
    }
}

/// Puts a value where a pointer (RFC 6901) leads, through objects.
fn put(claims: &mut Value, pointer: &str, value: Value) {
    let mut at = claims;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if !at[&step].is_object() {
            at[&step] = json!({});
        }
        at = &mut at[&step];
    }
    *at = value;
}
