//! What a server of another protocol asks is answered, and a connection is established when the server says so.
#![forbid(unsafe_code)]

mod support;

use serde_json::{Value, json};
use support::{CONNECTIONS, loadgen_at, other_server};

/// Runs a load for half a second against a server that talks like this.
fn run(
    talk: impl Fn(&mut support::Peer) -> std::io::Result<()> + Send + Clone + 'static,
    flags: &[&str],
) -> (Option<i32>, Value) {
    let url = format!("ws://{}/", other_server(|_| None, talk));
    let (output, report) = loadgen_at(&url, &[flags, &["--duration", "500ms"]].concat());
    (output.status.code(), report)
}

/// Established, failed, closed.
fn connections(report: &Value) -> [u64; 3] {
    ["established", "failed", "closed"].map(|count| report["connections"][count].as_u64().unwrap())
}

#[test]
fn a_server_that_asks_is_answered_by_text_and_by_what_a_pointer_finds() {
    let (code, report) = run(
        |peer| {
            peer.say("PING")?;
            assert_eq!(peer.hear()?, "PONG");
            peer.say(r#"{"challenge":"a\"b"}"#)?;
            let said = peer.hear()?;
            assert!(said.starts_with(r#"{"answer":"a\"b","conn":"#), "{said}");
            peer.say("42")?;
            peer.say("2")?;
            assert_eq!(peer.hear()?, "3", "42 is not 2");
            peer.say("welcome")?;
            peer.hear().map(drop)
        },
        &[
            "--reply",
            "PING=>PONG",
            "--reply",
            r#"json:/challenge=>{"answer":"{match}","conn":{conn}}"#,
            "--reply",
            "is:2=>3",
            "--ready",
            "is:welcome",
        ],
    );
    assert_eq!((code, connections(&report)), (Some(0), [CONNECTIONS, 0, 0]), "{report:#}");
    assert!(report["setup"]["snapshot_ms"]["max"].is_number(), "the time until it was ready");
}

#[test]
fn a_connection_that_is_closed_before_it_is_ready_has_failed_and_was_never_established() {
    let (code, report) = run(|peer| peer.close(4403, "Forbidden"), &["--ready", "json:/type=welcome"]);
    assert_eq!((code, connections(&report)), (Some(1), [0, CONNECTIONS, 0]), "{report:#}");
    assert_eq!(report["failures"], json!({ "4403 Forbidden": CONNECTIONS }));
    assert_eq!(report["closes"], json!({}));
    let (code, report) = run(|_| Ok(()), &["--ready", "json:/type=welcome"]);
    assert_eq!((code, connections(&report)), (Some(1), [0, CONNECTIONS, 0]), "{report:#}");
}

#[test]
fn a_connection_that_is_closed_once_it_was_ready_counts_as_closed() {
    let (_, report) = run(
        |peer| {
            peer.say("welcome")?;
            std::thread::sleep(std::time::Duration::from_millis(100));
            peer.close(1011, "tired")
        },
        &["--ready", "welcome"],
    );
    assert_eq!(connections(&report), [CONNECTIONS, 0, CONNECTIONS], "{report:#}");
    assert_eq!(report["closes"], json!({ "1011 tired": CONNECTIONS }));
}

#[test]
fn what_is_repeated_is_not_what_was_said_first() {
    let (code, report) = run(
        |peer| {
            assert_eq!(peer.hear()?, "join");
            assert_eq!(peer.hear()?, "beat");
            peer.say("welcome")?;
            loop {
                assert_eq!(peer.hear()?, "beat");
            }
        },
        &["--send", "join", "--repeat", "beat", "--send-every", "10ms"],
    );
    assert_eq!((code, connections(&report)), (Some(0), [CONNECTIONS, 0, 0]), "{report:#}");
    assert!(report["frames"]["total"].as_u64() <= Some(CONNECTIONS), "{report:#}");
}
