//! Every promise that a server breaks is counted under its name and under no other, and a server that
//! keeps them is clean.
#![forbid(unsafe_code)]

mod support;

use serde_json::{Value, json};
use support::{CONNECTIONS, Fault, faults, loadgen, start};

const CLEAN: [u64; 5] = [0; 5];
const N: u64 = CONNECTIONS;

#[test]
fn a_server_that_keeps_its_promises_is_clean() {
    let flags = ["--topics", "*", "--expect", "updates.lost==0", "--expect", "visible.p99<2s"];
    let (output, report) = loadgen(start(Fault::None), &flags);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(faults(&report), CLEAN, "{report:#}");
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["failed"]), (&json!(N), &json!(0)));
    assert_eq!((&connections["closed"], &report["frames"]["snapshots"]), (&json!(0), &json!(N)));
    assert_eq!((&report["final"]["clients"], &report["final"]["values"]), (&json!(N), &json!(2 * N)));
    let (frames, updates) = (report["frames"]["total"].as_u64(), report["updates"]["total"].as_u64());
    assert!(frames.is_some_and(|frames| frames >= 60) && updates == frames.map(|frames| frames * 2));
    assert_eq!(report["updates"]["conflated"], 0);
    assert!(report["visible_ms"]["p50"].as_f64().unwrap() >= 5.0, "oldest is 5 ms before the send");
    assert!(report["arrival_ms"]["p50"].as_f64() < report["visible_ms"]["p50"].as_f64());
}

/// The fault, its counts (lost, duplicated, reordered, torn, violations), and what the violation is called.
const FAULTS: [(Fault, [u64; 5], &str); 15] = [
    (Fault::Skip, [N, 0, 0, 0, 0], ""),
    (Fault::Repeat, [0, N, 0, 0, 0], ""),
    (Fault::Reorder, [0, 0, N, 0, 0], ""),
    (Fault::Tear, [0, 0, 0, N, 0], ""),
    (Fault::BeginAbove, [N, 0, 0, 0, 0], ""),
    // Two topics each.
    (Fault::Stale, [0, 0, 2 * N, 0, 0], ""),
    (Fault::Withhold, [2, 0, 0, 0, 0], ""),
    (Fault::OtherClass, [0, 0, 0, 0, N], "batch or snapshot of a class that was not subscribed"),
    (Fault::OtherTopic, [0, 0, 0, 0, N], "update of a topic that was not subscribed"),
    (Fault::LateOldest, [0, 0, 0, 0, 2 * N], "oldest later than an update's ts"),
    (Fault::NoOldest, [0, 0, 0, 0, N], "batch with updates without oldest"),
    (Fault::NotJson, [0, 0, 0, 0, N], "a message that is not as the contract says"),
    (Fault::NotUtf8, [0, 0, 0, 0, N], "a server that breaks RFC 6455"),
    (Fault::Binary, [0, 0, 0, 0, N], "a binary message without a binary subprotocol"),
    (Fault::Conflate, CLEAN, ""),
];

#[test]
fn every_fault_is_reported_under_its_name_and_nothing_else_is() {
    let runs = FAULTS.map(|(fault, ..)| {
        std::thread::spawn(move || {
            loadgen(start(fault), &["--topics", "loadgen.*", "--expect", "updates.lost==0"])
        })
    });
    for ((fault, counts, violation), run) in FAULTS.iter().zip(runs) {
        let (output, report) = run.join().unwrap();
        assert_eq!(faults(&report), *counts, "{fault:?}: {report:#}");
        let violations: Vec<&String> = report["violations"].as_object().unwrap().keys().collect();
        let expected: Vec<&str> = if violation.is_empty() { vec![] } else { vec![violation] };
        assert_eq!(violations, expected, "{fault:?}");
        let code = if counts[0] > 0 { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{fault:?}");
        let closed = if *fault == Fault::NotUtf8 { N } else { 0 };
        assert_eq!(report["connections"]["closed"], closed, "{fault:?}: {}", report["closes"]);
    }
}

#[test]
fn a_value_left_out_is_conflation_for_latest_topics_and_a_loss_for_a_stream() {
    let (_, report) = loadgen(start(Fault::Conflate), &["--topics", "*"]);
    assert_eq!((faults(&report), &report["updates"]["conflated"]), (CLEAN, &json!(2 * N)), "{report:#}");
    let (_, report) = loadgen(start(Fault::Conflate), &["--topics", "*", "--stream", "loadgen.*"]);
    assert_eq!(faults(&report), [2 * N, 0, 0, 0, 0], "{report:#}");
    assert_eq!(report["updates"]["conflated"], 0);
}

#[test]
fn a_final_value_withheld_is_a_final_loss() {
    let (_, report) = loadgen(start(Fault::Withhold), &["--topics", "*"]);
    assert_eq!(report["final"]["lost"], 2, "one client, two topics: {report:#}");
}

#[test]
fn another_value_under_the_same_v_is_a_violation() {
    let (_, report) = loadgen(start(Fault::OtherValue), &["--topics", "*"]);
    let [rest @ .., violations] = faults(&report);
    assert!(rest == [0; 4] && violations >= 1, "{report:#}");
    assert_eq!(
        report["violations"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["two values under one v"]
    );
}

#[test]
fn ages_below_zero_are_counted_and_hide_nothing() {
    let (_, report) = loadgen(start(Fault::Future), &["--topics", "*"]);
    assert_eq!(faults(&report), CLEAN, "{report:#}");
    let (frames, negative) = (&report["frames"]["total"], &report["negative"]);
    assert_eq!(
        (&negative["visible"], negative["arrival"].as_u64()),
        (frames, frames.as_u64().map(|n| n * 2))
    );
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("below zero") && warnings.contains("--clock-offset"), "{warnings}");
}

#[test]
fn any_other_server_is_measured_by_the_time_its_messages_carry() {
    let flags = ["--send", "hello", "--stamp", "json:data.ts", "--expect", "visible.p50<2s"];
    let (output, report) = loadgen(start(Fault::Stamped), &flags);
    assert_eq!(output.status.code(), Some(0));
    assert!(report["frames"]["total"].as_u64().unwrap() >= 60, "{report:#}");
    assert_eq!(faults(&report), CLEAN);
}

/// Closes by kind.
fn closes(report: &Value) -> Vec<(String, u64)> {
    let closes = report["closes"].as_object().unwrap();
    closes.iter().map(|(kind, count)| (kind.clone(), count.as_u64().unwrap())).collect()
}

#[test]
fn every_early_end_is_counted_by_how_it_came() {
    for (fault, how) in [
        (Fault::Close, "1011 tired"),
        (Fault::End, "end of stream without a close frame"),
        (Fault::Reset, "Connection reset by peer (os error 104)"),
    ] {
        let (_, report) = loadgen(start(fault), &["--topics", "*"]);
        assert_eq!(closes(&report), [(how.to_owned(), N)], "{fault:?}");
        assert_eq!((faults(&report), &report["connections"]["closed"]), (CLEAN, &json!(N)), "{fault:?}");
        assert_eq!(report["final"]["clients"], 0, "nobody is left to be judged");
    }
}
