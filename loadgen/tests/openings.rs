//! The opening request and the texts of a connection are what the flags make of them, for each its own.
#![forbid(unsafe_code)]

mod support;

use std::sync::mpsc;

use serde_json::json;
use support::{CONNECTIONS, Temporary, loadgen_at, other_server};

#[test]
fn every_connection_asks_with_its_own_headers_path_and_text() {
    let tokens = Temporary::new("tokens.txt");
    std::fs::write(&tokens.0, "red\ngreen\n").unwrap();
    let (tell, told) = mpsc::channel();
    let server = other_server(
        |offered| offered.first().map(|name| (*name).to_owned()),
        move |peer| {
            let said = peer.hear()?;
            tell.send((peer.head.clone(), said)).unwrap();
            peer.hear().map(drop)
        },
    );
    let header = format!("Authorization: Bearer {{line:{}}}", tokens.path());
    let flags = [
        ["--header", &header],
        ["--header", "Host: example.com"],
        ["--origin", "https://{env:CARGO_PKG_NAME}.example"],
        ["--subprotocol", "second.v{conn}"],
        ["--subprotocol", "first"],
        ["--send", "hello {conn}"],
        ["--duration", "200ms"],
    ];
    let (output, report) = loadgen_at(&format!("ws://{server}/room/{{conn}}?x=y"), &flags.concat());
    assert_eq!((output.status.code(), &report["connections"]["established"]), (Some(0), &json!(CONNECTIONS)));
    let mut seen: Vec<(String, String)> = told.try_iter().collect();
    seen.sort_unstable();
    assert_eq!(seen.len() as u64, CONNECTIONS);
    for (conn, (head, said)) in seen.iter().enumerate() {
        let token = ["red", "green"][conn % 2];
        for line in [
            &format!("GET /room/{conn}?x=y HTTP/1.1"),
            "Host: example.com",
            &format!("Authorization: Bearer {token}"),
            "Origin: https://loadgen.example",
            &format!("Sec-WebSocket-Protocol: second.v{conn}, first"),
        ] {
            assert_eq!(head.lines().filter(|found| *found == line).count(), 1, "{line} in {head}");
        }
        assert_eq!(*said, format!("hello {conn}"));
    }
}

#[test]
fn a_server_that_chooses_no_subprotocol_or_another_has_failed_the_connect() {
    for (choose, why) in [
        ((|_| None) as fn(&[&str]) -> Option<String>, "the server chose none of the subprotocols"),
        (|_| Some("other".into()), "the server chose other, which is no --subprotocol"),
    ] {
        let server = other_server(choose, |peer| peer.hear().map(drop));
        let (output, report) =
            loadgen_at(&format!("ws://{server}/"), &["--send", "x", "--subprotocol", "mine"]);
        assert_eq!(output.status.code(), Some(1), "{report:#}");
        assert_eq!(report["failures"], json!({ why: CONNECTIONS }));
        assert_eq!(report["connections"]["failed"], json!(CONNECTIONS));
    }
}
