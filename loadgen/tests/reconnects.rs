//! Connections that come, leave, are refused, cut or barred, and what is made of it.
#![forbid(unsafe_code)]

mod support;

use serde_json::{Value, json};
use support::{CONNECTIONS, Fault, faults, loadgen, loadgens, start};

const N: u64 = CONNECTIONS;

#[test]
fn slow_and_stalled_readers_catch_up_and_lose_nothing() {
    let flags =
        ["--topics", "*", "--slow", "40", "--stall", "30", "--stagger", "400ms", "--stall-for", "300ms"];
    let (_, report) = loadgen(start(Fault::None), &flags);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    assert_eq!(report["final"]["clients"], N);
    assert!(
        report["slow"]["visible_ms"]["max"].as_f64().unwrap() > 200.0,
        "some stalled: {}",
        report["slow"]
    );
    assert!(report["clients"]["judged"].as_u64().unwrap() < N, "those are not judged by their evenness");
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
fn since_is_resumed_without_a_snapshot_and_from_nowhere_else() {
    let flags: &[&str] = &["--topics", "*", "--since-reconnects", "20"];
    let faulty = [Fault::Resume, Fault::ResumeElsewhere, Fault::ResumeLater];
    let [resumed, earlier, later] = loadgens(faulty.map(|fault| (fault, flags))).map(|(_, report)| report);
    for report in [&resumed, &earlier, &later] {
        let connections = &report["connections"];
        assert!(connections["left"].as_u64().unwrap() >= 10, "{connections}");
        assert_eq!(connections["returned"], connections["left"]);
        assert_eq!(
            (&connections["resumed_by_snapshot"], &report["frames"]["snapshots"]),
            (&json!(0), &json!(N))
        );
    }
    let left = |report: &Value| report["connections"]["left"].as_u64().unwrap();
    assert_eq!(faults(&resumed), [0; 5], "{resumed:#}");
    assert_eq!(faults(&earlier), [0, 0, 0, 0, left(&earlier)], "{earlier:#}");
    assert_eq!(earlier["violations"], json!({"answer to since that does not begin there": left(&earlier)}));
    assert_eq!(faults(&later), [left(&later), 0, 0, 0, 0], "{later:#}");
}

#[test]
fn after_a_restart_everyone_is_back_in_another_life_and_nothing_counts_as_lost() {
    let (_, report) = loadgen(start(Fault::Restart), &["--topics", "*", "--reconnect", "--duration", "2s"]);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    let restart = &report["restart"];
    assert_eq!((&restart["cut"], &restart["returned"]), (&json!(N), &json!(N)), "{report:#}");
    // Down for 300 ms; a cut is noticed a little late, and the last back-off may be the longest.
    assert!(restart["seconds"].as_f64().is_some_and(|seconds| (0.2..3.5).contains(&seconds)), "{restart}");
    assert!(report["connections"]["retries"].as_u64().unwrap() >= N, "{report:#}");
    assert_eq!((&report["final"]["clients"], &report["final"]["lost"]), (&json!(N), &json!(0)));
}

#[test]
fn without_reconnect_those_that_were_cut_stay_away() {
    let (_, report) = loadgen(start(Fault::Restart), &["--topics", "*"]);
    assert_eq!((&report["restart"]["cut"], &report["restart"]["returned"]), (&json!(N), &json!(0)));
    assert_eq!((&report["restart"]["seconds"], &report["connections"]["closed"]), (&json!(null), &json!(N)));
}

#[test]
fn a_draining_server_is_left_and_come_back_to_when_it_asks_for_it() {
    let (_, report) = loadgen(start(Fault::Drain), &["--topics", "*", "--reconnect"]);
    assert_eq!(faults(&report), [0; 5], "{report:#}");
    assert_eq!((&report["notices"], &report["closes"]), (&json!({"draining": N}), &json!({"1001": N})));
    assert_eq!((&report["restart"]["cut"], &report["restart"]["returned"]), (&json!(N), &json!(N)));
    assert!(
        report["restart"]["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2),
        "it asked for 200 ms"
    );
}

#[test]
fn a_code_that_says_stay_away_is_obeyed() {
    let (_, report) = loadgen(start(Fault::Bar), &["--topics", "*", "--reconnect"]);
    assert_eq!(
        (&report["restart"]["cut"], &report["restart"]["returned"]),
        (&json!(N), &json!(0)),
        "{report:#}"
    );
    assert_eq!(report["closes"], json!({"4501 no": N}));
}

#[test]
fn refused_connects_are_tried_again_as_often_as_asked() {
    let (output, report) = loadgen(start(Fault::RefuseFirst), &["--topics", "*", "--retry", "5"]);
    assert_eq!((output.status.code(), faults(&report)), (Some(0), [0; 5]));
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["failed"]), (&json!(N), &json!(0)), "{report:#}");
    assert_eq!(connections["retries"], 4);
    let (_, report) = loadgen(start(Fault::RefuseFirst), &["--topics", "*"]);
    let connections = &report["connections"];
    assert_eq!(
        (&connections["established"], &connections["failed"]),
        (&json!(N - 4), &json!(4)),
        "{report:#}"
    );
    assert!(report["failures"].to_string().contains("HTTP 503"), "{}", report["failures"]);
}

#[test]
fn a_server_that_refuses_everyone_is_a_failure_that_says_why() {
    let (output, report) = loadgen(start(Fault::Refuse), &["--topics", "*"]);
    assert_eq!(output.status.code(), Some(1));
    let connections = &report["connections"];
    assert_eq!((&connections["failed"], &connections["established"]), (&json!(N), &json!(0)));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no connection was established: HTTP 503"), "{stderr}");
}
