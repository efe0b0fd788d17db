//! A run that is interrupted reports what was measured so far.
#![forbid(unsafe_code)]

mod support;

use std::{
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{Fault, faults, last_line, start};

/// A load of a minute against a server that keeps its promises.
fn begin(flags: &[&str]) -> Child {
    let url = format!("ws://{}/ws", start(Fault::None));
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--url", &url, "--connections", "6", "--topics", "*", "--duration", "60s"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn interrupt_after(child: &Child, ms: u64) {
    thread::sleep(Duration::from_millis(ms));
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
}

/// Its output, soon after it was interrupted.
fn end(child: Child) -> Output {
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(15), "it went on for {:?}", begin.elapsed());
    output
}

#[test]
fn the_first_signal_ends_the_window_and_the_report_says_so() {
    let child = begin(&[]);
    interrupt_after(&child, 1500);
    let output = end(child);
    let report = last_line(&output);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report["run"]["interrupted"], true);
    let seconds = report["window"]["seconds"].as_f64().unwrap();
    assert!((0.5..5.0).contains(&seconds), "{seconds}");
    assert!(report["frames"]["total"].as_u64().unwrap() > 20, "{report:#}");
    assert_eq!(faults(&report), [0; 5]);
    assert!(report["warnings"].to_string().contains("ended by a signal"), "{}", report["warnings"]);
}

#[test]
fn a_signal_before_the_window_reports_who_was_connected() {
    let child = begin(&["--ramp", "60s"]);
    interrupt_after(&child, 1500);
    let output = end(child);
    let report = last_line(&output);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report["run"]["interrupted"], true);
    let connections = &report["connections"];
    assert_eq!((connections["requested"].as_u64(), connections["established"].as_u64()), (Some(6), Some(1)));
    let seconds = report["window"]["seconds"].as_f64().unwrap();
    assert!(seconds < 0.5 && report["visible_ms"]["p99"].is_null(), "it had hardly begun: {report:#}");
    assert_eq!((faults(&report), report["final"]["clients"].as_u64()), ([0; 5], Some(1)));
}

#[test]
fn a_second_signal_ends_at_once_without_a_report() {
    let child = begin(&[]);
    interrupt_after(&child, 1000);
    // The first one leaves 2 s for final values.
    interrupt_after(&child, 500);
    let output = end(child);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}
