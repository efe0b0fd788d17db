//! A run that is interrupted reports what was measured so far.
#![forbid(unsafe_code)]

mod support;

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Fault, start};

#[test]
fn the_first_signal_ends_the_window_and_the_report_says_so() {
    let begin = Instant::now();
    let url = format!("ws://{}/ws", start(Fault::None));
    let flags = ["--url", &url, "--connections", "6", "--topics", "*", "--duration", "60s"];
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1500));
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(15), "it went on for {:?}", begin.elapsed());
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(report["run"]["interrupted"], true);
    let seconds = report["window"]["seconds"].as_f64().unwrap();
    assert!((0.5..5.0).contains(&seconds), "{seconds}");
    assert!(report["frames"]["total"].as_u64().unwrap() > 20, "{report:#}");
    assert_eq!(report["updates"]["lost"], 0);
}
