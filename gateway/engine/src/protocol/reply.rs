//! Short messages to one client: payloads, as JSON.

use std::io::Write;

/// `error.code` of a request that is malformed.
pub const BAD_REQUEST: u16 = 4000;
/// Of one that the gateway has no room for.
pub const NO_ROOM: u16 = 4008;
/// Of one without a token, or with a bad one.
pub const UNAUTHORIZED: u16 = 4401;
/// Of one that is not permitted.
pub const FORBIDDEN: u16 = 4403;
/// Of one over a limit.
pub const TOO_MANY: u16 = 4429;

pub fn error(id: Option<&str>, code: u16, reason: &str) -> Vec<u8> {
    let mut out = begin("error", id);
    push(&mut out, format_args!(r#","code":{code}"#));
    push_text(&mut out, "reason", reason);
    out.push(b'}');
    out
}

/// Over a rate: in so long there is room.
pub fn too_many(id: Option<&str>, reason: &str, retry_after_ms: u64) -> Vec<u8> {
    let mut out = error(id, TOO_MANY, reason);
    out.pop();
    push(&mut out, format_args!(r#","retry_after_ms":{retry_after_ms}}}"#));
    out
}

/// What a client wrote was numbered. `reply`: JSON.
pub fn published(id: Option<&str>, topic: &str, v: u64, version: u64, reply: Option<&str>) -> Vec<u8> {
    let mut out = begin("published", id);
    push(&mut out, format_args!(r#","topic":"{topic}","v":{v},"version":{version}"#));
    if let Some(reply) = reply {
        push(&mut out, format_args!(r#","reply":{reply}"#));
    }
    out.push(b'}');
    out
}

pub fn pong(id: Option<&str>, ts_us: i64) -> Vec<u8> {
    let mut out = begin("pong", id);
    push(&mut out, format_args!(r#","ts":{ts_us}"#));
    out.push(b'}');
    out
}

/// What a token that was accepted says.
#[derive(Debug)]
pub struct Authorized<'a> {
    pub id: Option<&'a str>,
    /// Its subject, and that as one segment of a topic.
    pub sub: Option<(&'a str, &'a str)>,
    /// Of the connection.
    pub conn: &'a str,
    /// µs since the Unix epoch.
    pub exp_us: i64,
}

pub fn authorized(authorized: &Authorized<'_>) -> Vec<u8> {
    let mut out = begin("authorized", authorized.id);
    if let Some((sub, encoded)) = authorized.sub {
        push_text(&mut out, "sub", sub);
        push_text(&mut out, "as", encoded);
    }
    push_text(&mut out, "conn", authorized.conn);
    push(&mut out, format_args!(r#","exp":{}}}"#, authorized.exp_us));
    out
}

/// The token will not hold for much longer.
pub fn token_expiring(exp_us: i64) -> Vec<u8> {
    let mut out = begin("notice", None);
    push(&mut out, format_args!(r#","code":"token_expiring","exp":{exp_us}}}"#));
    out
}

/// `since` is ahead of this gateway, which did not get there in time.
pub fn behind() -> Vec<u8> {
    let mut out = begin("notice", None);
    push_text(&mut out, "code", "behind");
    out.push(b'}');
    out
}

/// `reconnect_after_ms` counts from the close.
pub fn draining(reconnect_after_ms: u64) -> Vec<u8> {
    let mut out = begin("notice", None);
    push(&mut out, format_args!(r#","code":"draining","reconnect_after_ms":{reconnect_after_ms}"#));
    out.push(b'}');
    out
}

/// Where a WebSocket would be closed: the last message over HTTP.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut out = begin("close", None);
    push(&mut out, format_args!(r#","code":{code}"#));
    push_text(&mut out, "reason", reason);
    out.push(b'}');
    out
}

/// The shard cannot keep up, and lengthens intervals up to so many milliseconds; `None`: it keeps up again.
pub fn overload(interval_ms_max: Option<u64>) -> Vec<u8> {
    let mut out = begin("notice", None);
    match interval_ms_max {
        Some(max) => {
            push(&mut out, format_args!(r#","code":"overload","active":true,"interval_ms_max":{max}}}"#));
        }
        None => push(&mut out, format_args!(r#","code":"overload","active":false}}"#)),
    }
    out
}

pub(super) fn begin(op: &str, id: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    push(&mut out, format_args!(r#"{{"op":"{op}""#));
    if let Some(id) = id {
        push(&mut out, format_args!(r#","id":{id}"#));
    }
    out
}

pub(super) fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

pub(super) fn push_text(out: &mut Vec<u8>, name: &str, text: &str) {
    push(out, format_args!(r#","{name}":"#));
    // A string is always JSON, and a Vec takes everything.
    let _ = serde_json::to_writer(out, text);
}
