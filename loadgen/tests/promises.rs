//! Every promise that a server breaks is counted under its name and under no other, and a server that
//! keeps them is clean.
#![forbid(unsafe_code)]

mod support;

use serde_json::{Value, json};
use support::{
    CONNECTIONS, Fault, expired_in_front_of, faults, in_front_of, loadgen, loadgen_at, loadgens, start,
};

const N: u64 = CONNECTIONS;
const CLEAN: [u64; 5] = [0; 5];
const VIOLATION: [u64; 5] = [0, 0, 0, 0, N];

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

const OURS: &[&str] = &["--topics", "loadgen.*", "--expect", "updates.lost==0"];
const STREAM: &[&str] = &["--topics", "*", "--stream", "loadgen.*", "--expect", "updates.lost==0"];
const ASKING: &[&str] = &["--topics", "*", "--interval-ms", "50"];

/// A fault with the load's flags, its counts (lost, duplicated, reordered, torn, violations), and
/// what the violation is called.
type Case = ((Fault, &'static [&'static str]), [u64; 5], &'static str);

const WRONG_ORDER: [Case; 16] = [
    ((Fault::Skip, OURS), [N, 0, 0, 0, 0], ""),
    ((Fault::BeginAbove, OURS), [N, 0, 0, 0, 0], ""),
    ((Fault::BeginBelow, OURS), CLEAN, ""),
    ((Fault::Repeat, OURS), [0, N, 0, 0, 0], ""),
    ((Fault::Old, OURS), [0, N, 0, 0, 0], ""),
    // Two topics each.
    ((Fault::RepeatValues, OURS), [0, 2 * N, 0, 0, 0], ""),
    ((Fault::Stale, OURS), [0, 0, 2 * N, 0, 0], ""),
    ((Fault::StaleSnapshot, OURS), [0, 0, 2 * N, 0, 0], ""),
    // The position as well.
    ((Fault::OldSnapshot, OURS), [0, 0, 3 * N, 0, 0], ""),
    ((Fault::Reorder, OURS), [0, 0, N, 0, 0], ""),
    ((Fault::Tear, OURS), [0, 0, 0, N, 0], ""),
    // One client, two topics.
    ((Fault::Withhold, OURS), [2, 0, 0, 0, 0], ""),
    ((Fault::Conflate, OURS), CLEAN, ""),
    ((Fault::Conflate, STREAM), [2 * N, 0, 0, 0, 0], ""),
    ((Fault::Gap, STREAM), CLEAN, ""),
    ((Fault::GapLie, STREAM), [2 * N, 0, 0, 0, 0], ""),
];

const WRONG_MESSAGES: [Case; 13] = [
    ((Fault::OtherClass, OURS), VIOLATION, "batch or snapshot of a class that was not subscribed"),
    ((Fault::OtherTopic, OURS), VIOLATION, "update of a topic that was not subscribed"),
    ((Fault::LateOldest, OURS), [0, 0, 0, 0, 2 * N], "oldest later than an update's ts"),
    ((Fault::NoOldest, OURS), VIOLATION, "batch with updates without oldest"),
    ((Fault::PartBroken, OURS), VIOLATION, "a frame of the same class between two parts"),
    ((Fault::SubscribedAgain, OURS), VIOLATION, "subscribed without being asked for"),
    ((Fault::SnapshotElsewhere, OURS), VIOLATION, "snapshot at another version than subscribed said"),
    ((Fault::BatchFirst, OURS), VIOLATION, "batch before the snapshot"),
    ((Fault::None, ASKING), VIOLATION, "interval shorter than asked for"),
    ((Fault::NotJson, OURS), VIOLATION, "a message that is not as the contract says"),
    ((Fault::NoVersion, OURS), VIOLATION, "a message that is not as the contract says"),
    ((Fault::NotUtf8, OURS), VIOLATION, "a server that breaks RFC 6455"),
    ((Fault::Binary, OURS), VIOLATION, "a binary message without a binary subprotocol"),
];

fn check<const C: usize>(cases: &[Case; C]) {
    let outcomes = loadgens(cases.map(|(run, ..)| run));
    for (((fault, _), counts, violation), (output, report)) in cases.iter().zip(outcomes) {
        assert_eq!(faults(&report), *counts, "{fault:?}: {report:#}");
        let violations = if violation.is_empty() { json!({}) } else { json!({ *violation: counts[4] }) };
        assert_eq!(report["violations"], violations, "{fault:?}");
        let code = if counts[0] > 0 { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{fault:?}");
        let closed = if *fault == Fault::NotUtf8 { N } else { 0 };
        let connections = &report["connections"];
        assert_eq!(connections["closed"], closed, "{fault:?}: {}", report["closes"]);
        assert_eq!((&connections["failed"], &report["failures"]), (&json!(0), &json!({})), "{fault:?}");
    }
}

#[test]
fn what_is_missing_repeated_late_or_torn_is_counted_as_that_and_as_nothing_else() {
    check(&WRONG_ORDER);
}

#[test]
fn what_a_message_breaks_is_a_violation_by_its_name_and_nothing_else() {
    check(&WRONG_MESSAGES);
}

#[test]
fn a_value_left_out_is_conflated_where_it_is_not_lost_and_one_withheld_is_a_final_loss() {
    let runs =
        [(Fault::Conflate, OURS), (Fault::Gap, STREAM), (Fault::Conflate, STREAM), (Fault::Withhold, OURS)];
    let [latest, told, stream, withheld] = loadgens(runs).map(|(_, report)| report);
    assert_eq!([&latest, &told].map(|report| &report["updates"]["conflated"]), [&json!(2 * N); 2]);
    assert_eq!(stream["updates"]["conflated"], 0, "{stream:#}");
    assert_eq!(withheld["final"]["lost"], 2, "one client, two topics: {withheld:#}");
}

#[test]
fn a_table_that_differs_in_one_key_is_told_whatever_made_it_so() {
    let flags: &[&str] = &["--topics", "*", "--expect", "final.differ==0"];
    let faults_of_one = [Fault::KeyLeftOut, Fault::KeyStale, Fault::DelLeftOut, Fault::ResetTorn];
    let right = [Fault::Tables, Fault::TableBare];
    let [right, bare] = loadgens(right.map(|fault| (fault, flags)));
    assert_eq!((faults(&right.1), right.0.status.code()), (CLEAN, Some(0)), "{:#}", right.1);
    assert_eq!((&right.1["final"]["tables"], &right.1["final"]["differ"]), (&json!(N - 1), &json!(0)));
    assert_eq!(bare.1["violations"], json!({ "a table in a snapshot without reset": N }));
    for (fault, (output, report)) in
        faults_of_one.into_iter().zip(loadgens(faults_of_one.map(|fault| (fault, flags))))
    {
        assert_eq!((faults(&report), output.status.code()), (CLEAN, Some(3)), "{fault:?}: {report:#}");
        let (tables, differ) = (&report["final"]["tables"], report["final"]["differ"].as_u64().unwrap());
        // All are compared with the first: with that one where it is the one lied to.
        assert!(*tables == N - 1 && (differ == 1 || differ == N - 1), "{fault:?}: {differ} of {tables}");
    }
}

#[test]
fn a_server_that_compresses_or_packs_is_judged_by_what_its_messages_hold() {
    let flags: &[&str] = &["--topics", "loadgen.*", "--deflate"];
    let packed: &[&str] = &["--topics", "loadgen.*", "--msgpack"];
    let both: &[&str] = &["--topics", "loadgen.*", "--msgpack", "--deflate"];
    let packed =
        [(Fault::None, packed), (Fault::Skip, both), (Fault::Text, packed), (Fault::KeyLeftOut, both)];
    let [right, skip, text, table] = loadgens(packed).map(|(_, report)| report);
    assert_eq!(faults(&right), CLEAN, "{right:#}");
    assert_eq!(faults(&skip), [N, 0, 0, 0, 0], "{skip:#}");
    assert_eq!(text["violations"], json!({ "a text message where MessagePack was agreed": N }));
    assert_eq!((faults(&table), table["final"]["tables"].as_u64()), (CLEAN, Some(N - 1)));
    let runs = [(Fault::None, flags), (Fault::Skip, flags), (Fault::NotDeflate, flags), (Fault::None, OURS)];
    let [right, skip, broken, plain] = loadgens(runs).map(|(_, report)| report);
    assert_eq!(faults(&right), CLEAN, "{right:#}");
    assert_eq!(right["connections"]["deflating"], N);
    let bytes = |report: &Value, of: &str| report["bytes"][of].as_u64().unwrap();
    assert!(bytes(&right, "wire") * 10 < bytes(&right, "payload") * 9, "{}", right["bytes"]);
    assert!(bytes(&plain, "wire") > bytes(&plain, "payload") && plain["connections"]["deflating"] == 0);
    assert_eq!(faults(&skip), [N, 0, 0, 0, 0], "{skip:#}");
    assert_eq!(broken["violations"], json!({ "a server that breaks RFC 6455": N }));
}

#[test]
fn a_server_that_speaks_tls_is_judged_by_what_it_says_inside() {
    let (addr, ca) = in_front_of(start(Fault::None));
    let url = format!("wss://localhost:{}/ws", addr.port());
    let run = |url: &str, flags: &[&str]| loadgen_at(url, &[&["--topics", "*"], flags].concat());
    for flags in [&["--ca", ca.path()][..], &["--insecure"], &["--insecure", "--tls-resume"]] {
        let (_, report) = run(&url, flags);
        assert_eq!(faults(&report), CLEAN, "{flags:?}: {report:#}");
        assert_eq!((&report["connections"]["established"], &report["failures"]), (&json!(N), &json!({})));
        let bytes = |of: &str| report["bytes"][of].as_u64().unwrap();
        // A record has 22 bytes of its own at least.
        assert!(bytes("wire") > bytes("payload") + 20 * report["frames"]["total"].as_u64().unwrap());
    }
    let (skip, _ca) = in_front_of(start(Fault::Skip));
    let (_, report) = run(&format!("wss://localhost:{}/ws", skip.port()), &["--insecure"]);
    assert_eq!(faults(&report), [N, 0, 0, 0, 0], "{report:#}");
    // Whom nobody vouches for, who is somebody else, and who was vouched for once.
    let (old, old_ca) = expired_in_front_of(start(Fault::None));
    let expired = format!("wss://localhost:{}/ws", old.port());
    let other = format!("wss://127.0.0.1:{}/ws", addr.port());
    for (url, flags, told) in [
        (&url, &[][..], "UnknownIssuer"),
        (&other, &["--ca", ca.path()], "certificate not valid for name"),
        (&expired, &["--ca", old_ca.path()], "certificate expired"),
    ] {
        let (_, report) = run(url, flags);
        assert_eq!(
            (&report["connections"]["established"], &report["connections"]["failed"]),
            (&json!(0), &json!(N))
        );
        assert!(report["failures"].to_string().contains(told), "{}", report["failures"]);
    }
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
    for unjudged in ["lost", "duplicated", "reordered", "torn"] {
        assert_eq!(report["updates"][unjudged], Value::Null);
    }
    assert_eq!((&report["final"]["lost"], &report["updates"]["violations"]), (&Value::Null, &json!(0)));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("not judged") && !told.contains("0 lost"), "{told}");
}

/// Closes by kind.
fn closes(report: &Value) -> Vec<(String, u64)> {
    let closes = report["closes"].as_object().unwrap();
    closes.iter().map(|(kind, count)| (kind.clone(), count.as_u64().unwrap())).collect()
}

#[test]
fn every_early_end_is_counted_by_how_it_came() {
    let ends = [
        (Fault::Close, "1011 tired"),
        (Fault::End, "end of stream without a close frame"),
        (Fault::Reset, "Connection reset by peer (os error 104)"),
    ];
    let all: &[&str] = &["--topics", "*"];
    for ((fault, how), (_, report)) in ends.into_iter().zip(loadgens(ends.map(|(fault, _)| (fault, all)))) {
        assert_eq!(closes(&report), [(how.to_owned(), N)], "{fault:?}");
        assert_eq!((faults(&report), &report["connections"]["closed"]), (CLEAN, &json!(N)), "{fault:?}");
        assert_eq!(report["final"]["clients"], 0, "nobody is left to be judged");
    }
}
