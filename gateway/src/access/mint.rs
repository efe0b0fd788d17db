//! Makes tokens, for trying things out.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::{key::Key, provider};

/// What a token is to say. Times are seconds since the Unix epoch.
#[derive(Debug, Default, Clone)]
pub struct Minted {
    pub sub: Option<String>,
    pub iat_s: u64,
    pub exp_s: u64,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    /// What stands under `[access] claim`.
    pub grants: Map<String, Value>,
}

/// A token that says so, signed with a secret. `claim`: the pointer to the grants.
pub fn mint(minted: &Minted, claim: &str, key: &Key) -> Result<String, String> {
    provider::install();
    let signs: &EncodingKey = key.signs.as_ref().ok_or("only a key with a secret signs tokens")?;
    let mut claims = json!({ "iat": minted.iat_s, "exp": minted.exp_s });
    let texts = [("sub", &minted.sub), ("iss", &minted.issuer), ("aud", &minted.audience)];
    for (name, text) in texts {
        if let Some(text) = text {
            claims[name] = json!(text);
        }
    }
    if !minted.grants.is_empty() {
        put(&mut claims, claim, Value::Object(minted.grants.clone()));
    }
    let mut header = Header::new(key.alg);
    header.kid.clone_from(&key.kid);
    encode(&header, &claims, signs).map_err(|error| error.to_string())
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
