//! The server's messages: one feed of two topics, `loadgen.g0.0` and `loadgen.g0.1`, whose `v` and
//! `g` are the version.

use std::time::{SystemTime, UNIX_EPOCH};

pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

pub fn subscribed(epoch: u64, version: u64) -> String {
    format!(
        r#"{{"op":"subscribed","id":1,"sub":"","class":7,"topics":["*"],"interval_ms":20,"epoch":"{epoch:016x}","version":{version}}}"#
    )
}

pub fn snapshot(version: u64) -> String {
    snapshot_of(version, &updates(version))
}

pub fn snapshot_of(version: u64, updates: &[String]) -> String {
    let (updates, now) = (updates.join(","), now_us());
    format!(r#"{{"op":"snapshot","class":7,"ts":{now},"version":{version},"updates":[{updates}]}}"#)
}

pub fn batch(from: u64, version: u64) -> String {
    batch_of(from, version, &updates(version))
}

/// Its oldest change is 5 ms old.
pub fn batch_of(from: u64, version: u64, updates: &[String]) -> String {
    let oldest = format!(r#""oldest":{},"#, now_us() - 5000);
    batch_with(from, version, &oldest, updates)
}

/// `oldest`: the field with its comma, or nothing.
pub fn batch_with(from: u64, version: u64, oldest: &str, updates: &[String]) -> String {
    let (updates, now) = (updates.join(","), now_us());
    format!(
        r#"{{"op":"batch","class":7,"ts":{now},"from":{from},"version":{version},{oldest}"updates":[{updates}]}}"#
    )
}

pub fn heartbeat(from: u64, version: u64) -> String {
    batch_with(from, version, "", &[])
}

/// Both topics at `v`.
pub fn updates(v: u64) -> [String; 2] {
    [0, 1].map(|member| update(member, v))
}

pub fn update(member: u64, v: u64) -> String {
    update_of(&format!("loadgen.g0.{member}"), v, now_us(), v)
}

pub fn update_of(topic: &str, v: u64, ts: u64, g: u64) -> String {
    format!(r#"{{"topic":"{topic}","v":{v},"ts":{ts},"data":{{"g":{g}}}}}"#)
}
