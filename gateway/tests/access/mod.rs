//! A gateway with a secret for tokens, and tokens that are signed with it.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    contract::{Gateway, Socket, dial},
    jose::hs256,
};

pub const WAIT: Duration = Duration::from_secs(10);
pub const SECRET: &str = "a secret of thirty-two bytes, or a little more than that";
pub const JSON: &str = "Content-Type: application/json\r\n";

pub fn path(name: &str) -> PathBuf {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}-{number}-{name}", std::process::id()))
}

/// A file of its own.
pub fn file(name: &str, text: &str) -> PathBuf {
    let path = path(name);
    fs::write(&path, text).unwrap();
    path
}

/// `[access]` with a secret; `keys` are further keys of it.
pub fn access(keys: &str) -> String {
    let secret = file("secret", SECRET);
    format!(
        "[access]\nclients = \"token\"\n{keys}\n[[access.key]]\nalg = \"HS256\"\nsecret_file = \"{}\"\n",
        secret.display()
    )
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A good token with these claims besides `exp`.
pub fn token(mut claims: Value) -> String {
    if claims["exp"].is_null() {
        claims["exp"] = json!(now_s() + 600);
    }
    hs256(r#"{"alg":"HS256"}"#, &claims.to_string(), SECRET.as_bytes())
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What a client that shows a token is let in with, or the status of its refusal.
pub fn connect(gateway: &Gateway, token: &str) -> Result<Socket, u16> {
    Socket::with(dial(&gateway.data), "/ws", &bearer(token))
}

/// Whether there is somebody within a while.
pub fn in_time(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + WAIT;
    while Instant::now() < end {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
