//! What connections do besides reading at full speed, and that it is counted as what it is.
#![forbid(unsafe_code)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{CONNECTIONS, Fault, faults, loadgen, start};

fn clean(report: &Value) {
    assert_eq!(faults(report), [0; 5], "{report:#}");
    let connections = &report["connections"];
    assert_eq!((&connections["failed"], &connections["closed"]), (&json!(0), &json!(0)), "{connections}");
}

#[test]
fn a_stalled_reader_reads_on_and_its_latencies_stand_apart() {
    let flags = ["--topics", "*", "--stall", "50", "--stall-for", "400ms"];
    let (_, report) = loadgen(start(Fault::None), &flags);
    clean(&report);
    let slow_ms = report["slow"]["visible_ms"]["max"].as_f64().unwrap();
    assert!(slow_ms >= 300.0, "{slow_ms} ms, though nothing was read for 400 ms");
    let others_ms = report["visible_ms"]["p50"].as_f64().unwrap();
    assert!(others_ms < 200.0, "{others_ms} ms without having stalled");
}

#[test]
fn without_a_time_to_read_on_a_stalled_reader_sees_nothing_in_the_window() {
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*", "--stall", "100"]);
    clean(&report);
    assert_eq!(report["visible_ms"]["max"], Value::Null, "all are stalled");
    assert_eq!(report["final"]["clients"], CONNECTIONS, "everyone reads on after it");
}

#[test]
fn stalls_that_are_staggered_begin_one_after_the_other() {
    let samples = |flags: &[&str]| {
        let all = ["--topics", "*", "--stall", "100"];
        let (_, report) = loadgen(start(Fault::None), &[&all[..], flags].concat());
        clean(&report);
        report["frames"]["total"].as_u64().unwrap()
    };
    let (together, staggered) = (samples(&[]), samples(&["--stagger", "1s"]));
    assert!(staggered >= together + 60, "{together} frames, {staggered} when staggered");
}

#[test]
fn pings_are_answered_and_timed() {
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*", "--pings", "50"]);
    clean(&report);
    let pings = &report["pings"];
    assert!((45..=50).contains(&pings["sent"].as_u64().unwrap()), "{pings}");
    assert_eq!((&pings["answered"], &pings["unanswered"]), (&pings["sent"], &json!(0)), "{pings}");
    assert!(pings["answered_ms"]["p50"].as_f64().unwrap() > 0.0, "{pings}");
}

#[test]
fn the_age_of_a_pong_counts_from_when_its_ping_was_due() {
    let flags = ["--topics", "*", "--pings", "50", "--stall", "100"];
    let (_, report) = loadgen(start(Fault::None), &flags);
    let pings = &report["pings"];
    assert_eq!(pings["answered"], pings["sent"], "everyone reads on after the window: {pings}");
    assert!(pings["answered_ms"]["max"].as_f64().unwrap() >= 700.0, "not read for a second: {pings}");
}

#[test]
fn threads_without_a_connection_leave_the_pings_to_the_others() {
    let url = format!("ws://{}/ws", start(Fault::None));
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--url", &url, "--topics", "*", "--connections", "1", "--threads", "2", "--duration", "1s"])
        .args(["--pings", "50", "--expect", "pings.unanswered==0", "--expect", "pings.sent>=45"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn hostile_connections_are_none_of_the_connections() {
    let flags = ["--topics", "*", "--hostile", "100", "--hostile-kinds", "half-open,slow-handshake"];
    let (_, report) = loadgen(start(Fault::None), &flags);
    clean(&report);
    assert_eq!(report["connections"]["established"], CONNECTIONS);
    let open = json!({ "still open at the end": 3 });
    assert_eq!(report["hostile"], json!({ "half-open": open, "slow-handshake": open }));
}

#[test]
fn a_hostile_connection_that_is_ended_comes_again_and_how_it_ended_is_counted() {
    let flags = ["--topics", "*", "--hostile", "50", "--hostile-kinds", "garbage"];
    let (_, report) = loadgen(start(Fault::None), &flags);
    clean(&report);
    let ends = &report["hostile"]["garbage"];
    for (how, turn) in
        [("end of stream", "after the handshake"), ("HTTP 400", "in place of the next request")]
    {
        assert!(ends[how].as_u64().is_some_and(|count| count >= 3), "{turn}: {ends}");
    }
}
