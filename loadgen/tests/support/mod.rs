//! A small server of Fanwire's protocol, on threads, that can break its promises, and loadgen run against it.
#![allow(dead_code, reason = "each test uses its own part")]

mod fault;
mod messages;
mod peer;
mod say;
mod server;
mod tables;
mod tls;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    thread,
};

use serde_json::Value;

pub use fault::Fault;
#[allow(unused_imports)] // by tests whose servers say what they like
pub use messages::{snapshot, subscribed};
#[allow(unused_imports)] // by tests of Fanwire's own protocol
pub use peer::{Peer, other_server};
pub use server::start;
#[allow(unused_imports)] // by tests without TLS
pub use tls::{expired_in_front_of, in_front_of, in_front_of_known};

/// Connections of every load.
pub const CONNECTIONS: u64 = 6;

/// Runs loadgen against `addr`, for a second unless the flags say otherwise; gives its output and the last line's JSON.
pub fn loadgen(addr: SocketAddr, flags: &[&str]) -> (Output, Value) {
    loadgen_at(&format!("ws://{addr}/ws"), flags)
}

/// The same against a URL.
pub fn loadgen_at(url: &str, flags: &[&str]) -> (Output, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--url", url, "--connections", &CONNECTIONS.to_string()])
        .args(["--threads", "2"])
        .args(if flags.contains(&"--duration") { &[][..] } else { &["--duration", "1s"] })
        .args(flags)
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let report = last_line(&output);
    (output, report)
}

/// Runs one load for each fault at once, since they mostly wait; gives outputs and reports in that order.
pub fn loadgens<const N: usize>(runs: [(Fault, &'static [&'static str]); N]) -> [(Output, Value); N] {
    let spawn = |(fault, flags)| thread::spawn(move || loadgen(start(fault), flags));
    runs.map(spawn).map(|run| run.join().unwrap())
}

/// The JSON on the last line of stdout; null where there is none.
pub fn last_line(output: &Output) -> Value {
    let stdout = std::str::from_utf8(&output.stdout).unwrap();
    stdout.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap())
}

/// Lost, duplicated, reordered, torn, violations.
pub fn faults(report: &Value) -> [u64; 5] {
    ["lost", "duplicated", "reordered", "torn", "violations"]
        .map(|fault| report["updates"][fault].as_u64().unwrap_or(u64::MAX))
}

/// A file of this test's own in the temporary directory, gone when dropped.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("loadgen-{}-{name}", std::process::id())))
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = std::fs::remove_file(&self.0);
    }
}
