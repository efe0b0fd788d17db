//! Every promise that a server breaks is counted under its name, and a server that keeps them is clean.
#![forbid(unsafe_code)]

mod support;

use serde_json::{Value, json};
use support::{Fault, loadgen, start};

/// Lost, duplicated, reordered, torn, violations.
fn faults(report: &Value) -> [u64; 5] {
    ["lost", "duplicated", "reordered", "torn", "violations"]
        .map(|fault| report["updates"][fault].as_u64().unwrap_or(u64::MAX))
}

#[test]
fn a_server_that_keeps_its_promises_is_clean() {
    let path = std::env::temp_dir().join(format!("loadgen-report-{}.json", std::process::id()));
    let flags = ["--topics", "*", "--report", path.to_str().unwrap(), "--expect", "updates.lost==0"];
    let expectations = ["--expect", "visible.p99<2s", "--expect", "frames.per_s>10"];
    let (output, report) = loadgen(start(Fault::None), &[&flags[..], &expectations[..]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    assert_eq!(report["connections"]["established"], 6);
    assert_eq!((&report["connections"]["failed"], &report["connections"]["closed"]), (&json!(0), &json!(0)));
    assert_eq!((&report["final"]["clients"], &report["final"]["values"]), (&json!(6), &json!(12)));
    assert_eq!(report["frames"]["snapshots"], 6);
    let (frames, updates) = (report["frames"]["total"].as_u64(), report["updates"]["total"].as_u64());
    assert!(frames.is_some_and(|frames| frames >= 60) && updates == frames.map(|frames| frames * 2));
    assert!(report["visible_ms"]["p50"].as_f64().unwrap() >= 5.0, "oldest is 5 ms before the send");
    assert!(report["arrival_ms"]["p50"].as_f64() < report["visible_ms"]["p50"].as_f64());
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    for (key, value) in report.as_object().unwrap() {
        if !["timeline", "curves", "server"].contains(&key.as_str()) {
            assert_eq!(&written[key], value, "the file holds what the last line says");
        }
    }
    assert!(!written["curves"]["visible"].as_array().unwrap().is_empty());
}

#[test]
fn a_batch_left_out_is_lost() {
    let (output, report) = loadgen(start(Fault::Skip), &["--topics", "*", "--expect", "updates.lost==0"]);
    assert_eq!(faults(&report), [6, 0, 0, 0, 0], "{report:#}");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(report["expect"][0]["holds"], false);
}

#[test]
fn a_batch_sent_twice_is_duplicated() {
    let (output, report) = loadgen(start(Fault::Repeat), &["--topics", "*"]);
    assert_eq!(faults(&report), [0, 6, 0, 0, 0], "{report:#}");
    assert_eq!(output.status.code(), Some(0), "without an expectation");
}

#[test]
fn a_final_value_withheld_is_lost_though_every_batch_seemed_right() {
    let (_, report) = loadgen(start(Fault::Withhold), &["--topics", "*"]);
    assert_eq!(faults(&report), [2, 0, 0, 0, 0], "one client, two topics: {report:#}");
    assert_eq!(report["final"]["lost"], 2);
}

#[test]
fn a_group_in_two_batches_is_torn() {
    let (_, report) = loadgen(start(Fault::Tear), &["--topics", "loadgen.*"]);
    assert_eq!(report["updates"]["torn"], 6, "{report:#}");
    assert_eq!(report["updates"]["lost"], 0);
}

#[test]
fn slow_and_stalled_readers_catch_up_and_lose_nothing() {
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*", "--slow", "40", "--stall", "30"]);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    assert_eq!(report["final"]["clients"], 6);
}

#[test]
fn connections_that_leave_are_replaced() {
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*", "--churn", "20"]);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    let (left, returned) = (&report["connections"]["left"], &report["connections"]["returned"]);
    assert!(left.as_u64().unwrap() >= 10, "{left}");
    assert_eq!((left, &report["connections"]["closed"]), (returned, &json!(0)));
}

#[test]
fn connections_that_are_cut_come_back_and_take_a_snapshot_for_an_answer() {
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*", "--since-reconnects", "20"]);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    let connections = &report["connections"];
    assert!(connections["left"].as_u64().unwrap() >= 10, "{connections}");
    assert_eq!(connections["returned"], connections["left"]);
    assert_eq!(connections["resumed_by_snapshot"], connections["left"]);
}

#[test]
fn a_server_that_refuses_is_a_failure_that_says_why() {
    let (output, report) = loadgen(start(Fault::Refuse), &["--topics", "*"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (&report["connections"]["failed"], &report["connections"]["established"]),
        (&json!(6), &json!(0))
    );
    assert!(report["failures"].to_string().contains("503"), "{}", report["failures"]);
}

#[test]
fn any_other_server_is_measured_by_the_time_its_messages_carry() {
    let flags = ["--send", "hello", "--stamp", "json:data.ts", "--expect", "visible.p50<2s"];
    let (output, report) = loadgen(start(Fault::Stamped), &flags);
    assert_eq!(output.status.code(), Some(0));
    assert!(report["frames"]["total"].as_u64().unwrap() >= 60, "{report:#}");
    assert_eq!(faults(&report), [0; 5]);
}

#[test]
fn bad_usage_ends_with_2_before_anything_is_connected() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    for flags in [&["--topics", "*", "--scenario", "none"][..], &["--topics", "a..b"], &["--nonsense"], &[]] {
        let (output, _) = loadgen(nobody, flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
