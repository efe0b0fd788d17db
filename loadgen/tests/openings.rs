//! The opening request and the texts of a connection are what the flags make of them, for each its own.
#![forbid(unsafe_code)]

mod support;

use std::sync::mpsc;

use serde_json::json;
use support::{CONNECTIONS, Fault, Temporary, in_front_of_known, loadgen_at, other_server, start};

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

#[test]
fn a_client_certificate_opens_what_is_shut_without() {
    let (addr, ca, [cert, key]) = in_front_of_known(start(Fault::None));
    let url = format!("wss://localhost:{}/ws", addr.port());
    let flags = ["--topics", "*", "--duration", "300ms", "--ca", ca.path()];
    let (_, report) = loadgen_at(&url, &flags);
    assert_eq!(report["connections"]["established"], 0, "{report:#}");
    let shown = ["--cert", cert.path(), "--key", key.path()];
    let (output, report) = loadgen_at(&url, &[&flags[..], &shown].concat());
    assert_eq!((output.status.code(), &report["connections"]["established"]), (Some(0), &json!(CONNECTIONS)));
    let (output, _) = loadgen_at(&url, &[&flags[..], &["--cert", cert.path(), "--key", ca.path()]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--key"));
}

#[test]
fn addresses_of_a_name_are_taken_in_turn_and_the_next_one_where_nobody_listens() {
    let (tell, told) = mpsc::channel();
    let tell_both = tell.clone();
    let server = other_server(
        |_| None,
        move |peer| {
            tell_both.send(peer.local().ip().to_string()).unwrap();
            peer.hear().map(drop)
        },
    );
    let url = format!("ws://name.invalid:{}/", server.port());
    let names = ["127.0.0.1", "127.0.0.2"].map(|ip| format!("name.invalid:{}:{ip}", server.port()));
    let run = |names: &[&String]| {
        let resolve = names.iter().flat_map(|name| ["--resolve", name]);
        let flags: Vec<&str> = ["--send", "x", "--duration", "200ms"].into_iter().chain(resolve).collect();
        let (_, report) = loadgen_at(&url, &flags);
        assert_eq!(report["connections"]["established"], json!(CONNECTIONS), "{report:#}");
        assert_eq!(report["failures"], json!({}));
        let mut seen: Vec<String> = told.try_iter().collect();
        seen.sort_unstable();
        seen
    };
    let half = CONNECTIONS as usize / 2;
    let both = run(&[&names[0], &names[1]]);
    assert_eq!(
        (&both[..half], &both[half..]),
        (&vec!["127.0.0.1".to_owned(); half][..], &vec!["127.0.0.2".to_owned(); half][..])
    );
    // Where the second one has nobody behind it.
    let nobody = format!("name.invalid:{}:::1", server.port());
    assert_eq!(run(&[&names[0], &nobody]), vec!["127.0.0.1"; CONNECTIONS as usize]);
    drop(tell);
}
