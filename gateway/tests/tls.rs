//! wss: the listener of `[server] tls`, as rustls' own client sees it.
#![forbid(unsafe_code)]

mod contract;
mod wss;

use std::io::{Read, Write};

use contract::{Gateway, Socket, command, dial, http, output};
use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};
use wss::{Files, Stream, client, connect, metric, subscribe, wait_until};

#[test]
fn subscribers_with_and_without_tls_get_the_same() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    assert!(gateway.first_line.contains(" tls=127.0.0.1:"), "{}", gateway.first_line);
    gateway.publish("a", "1");
    let mut plain = Socket::connect(&gateway.data, "/ws?topics=a").unwrap();
    let versions = [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ];
    let mut sealed: Vec<Socket<Stream>> = Vec::new();
    for (version, spoken) in versions {
        let mut socket = subscribe(&gateway.tls, &client(&[&files], &[version]), "localhost", "/ws?topics=a");
        assert_eq!(socket.stream().conn.protocol_version(), Some(spoken));
        sealed.push(socket);
    }
    let long = format!("\"{}\"", "x".repeat(100_000));
    gateway.publish("a", &long);
    let update = plain.update("a", |update| update["v"] == 2);
    for socket in &mut sealed {
        assert_eq!(socket.update("a", |update| update["v"] == 2), update);
        socket.send(r#"{"op":"ping","id":7}"#);
        assert_eq!(socket.until("pong")["id"], 7);
    }
    assert_eq!(metric(&gateway, "fanwire_tls_handshakes_total "), 2);
    assert_eq!(metric(&gateway, "fanwire_tls_sessions "), 2);
    gateway.signal("TERM");
    assert_eq!(sealed[0].close_code(), 1001);
    let mut rest = Vec::new();
    // An end that nobody has forged.
    sealed[0].stream().read_to_end(&mut rest).unwrap();
}

#[test]
fn subscribers_may_come_by_tls_alone() {
    let files = Files::new("localhost");
    let config = format!("[server]\ndata = \"\"\nadmin = \"127.0.0.1:0\"\nshards = 2\n{}\n", files.server());
    let gateway = Gateway::start_config(&config);
    assert_eq!(
        gateway.first_line,
        format!("listening data=off admin={} tls={}\n", gateway.admin, gateway.tls)
    );
    gateway.publish("a", "1");
    let client = client(&[&files], rustls::ALL_VERSIONS);
    for _ in 0..4 {
        let mut socket = subscribe(&gateway.tls, &client, "localhost", "/ws?topics=a");
        assert_eq!(socket.until("snapshot")["updates"][0]["data"], 1);
    }
    // It is the one that names of this machine are asked by.
    let mut stream = connect(&gateway.tls, &client, "localhost");
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    let page = http(&gateway.admin, "GET", "/", "", "");
    assert!(page.body.contains("SCHEME = 'wss'"), "the page subscribes there too");
}

#[test]
fn a_listener_of_tls_that_others_reach_wants_it_written_out_whom_it_is_for_too() {
    let server = Files::new("localhost").server().replace("127.0.0.1:0", "0.0.0.0:0");
    let config = format!("[server]\ndata = \"\"\nadmin = \"\"\nshards = 1\n{server}\n");
    let ended = output(&mut command(&config));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{told}");
    assert!(told.contains("tls = \"0.0.0.0:0\"") && told.contains("clients = \"open\""), "{told}");
    let gateway = Gateway::start_config(&format!("{config}[access]\nclients = \"open\"\n"));
    assert!(gateway.first_line.contains("data=off admin=off tls=0.0.0.0:"), "{}", gateway.first_line);
}

#[test]
fn who_comes_back_with_a_ticket_is_quick() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nshards = 2", files.server()), "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = client(&[&files], &[version]);
        let kinds: Vec<Option<HandshakeKind>> = (0..4)
            .map(|_| {
                // The ticket comes with or after the first answer.
                let mut socket = subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a");
                socket.until("subscribed");
                socket.stream().conn.handshake_kind()
            })
            .collect();
        // On whichever shard.
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 3], "{version:?}");
    }
    assert_eq!(metric(&gateway, "fanwire_tls_resumed_total "), 6);
}

#[test]
fn the_admin_listener_may_speak_tls_too() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nadmin_tls = true", files.server()), "");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let ask = |request: &str| {
        let mut stream = connect(&gateway.admin, &config, "localhost");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Who says `Connection: close` is not owed a close_notify.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let body = r#"{"topic":"a","data":1}"#;
    let publish = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(ask(&publish).ends_with(r#"{"accepted":1}"#));
    let page = ask("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let port = gateway.tls.rsplit_once(':').unwrap().1;
    assert!(page.contains("SCHEME = 'wss'") && page.contains(&format!("PORT = '{port}'")));
    let mut plain = dial(&gateway.admin);
    plain.write_all(b"\0\0\0\0GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(heard.first() == Some(&21), "an alert, not {heard:x?}");
    http(&gateway.admin, "GET", "/metrics", "", "").assert_refusal(400, "HTTP without TLS");
    let metrics = ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(metrics.contains("\nfanwire_admin_tls_failed_total 2\n"), "{metrics}");
    let redirect = http(&gateway.data, "GET", "/", "", "");
    assert!(redirect.head.contains(&format!("location: https://{}/", gateway.admin)), "{}", redirect.head);
}

#[test]
fn head_is_answered_without_a_body_behind_tls_too() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nadmin_tls = true", files.server()), "");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    for (address, path) in [(&gateway.tls, "/healthz"), (&gateway.tls, "/ws"), (&gateway.admin, "/readyz")] {
        let [get, head] = ["GET", "HEAD"].map(|method| {
            let mut stream = connect(address, &config, "localhost");
            let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            // Who says `Connection: close` is not owed a close_notify.
            let _ = stream.read_to_string(&mut answer);
            answer
                .lines()
                .filter(|line| !line.starts_with("date:"))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        });
        let (get_head, body) = get.split_once("\n\n").unwrap();
        assert_eq!(format!("{get_head}\n\n"), head, "{path}");
        assert!(!body.is_empty());
    }
    for address in [&gateway.tls, &gateway.admin] {
        let [get, head] = ["GET", "HEAD"].map(|method| http(address, method, "/healthz", "", ""));
        get.assert_refusal(400, "HTTP without TLS");
        assert_eq!((head.status, head.head, head.body.as_str()), (400, get.head, ""));
    }
}

#[test]
fn a_source_may_be_behind_tls() {
    let (files, other) = (Files::new("localhost"), Files::new("localhost"));
    let first = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    let port = first.tls.rsplit_once(':').unwrap().1;
    let chained = |ca: &Files| {
        let (url, ca) = (format!("wss://localhost:{port}/ws"), ca.cert.display());
        let source = format!("[[source]]\nkind = \"fanwire\"\nurl = \"{url}\"\nca = \"{ca}\"\n");
        Gateway::start("", &format!("[fanout]\ninterval_ms = 0\n{source}"))
    };
    let second = chained(&files);
    first.publish("a", "1");
    let mut client = Socket::connect(&second.data, "/ws?topics=a").unwrap();
    client.update("a", |update| update["data"] == 1);
    let long = format!("\"{}\"", "x".repeat(500_000));
    first.publish("a", &long);
    client.update("a", |update| update["v"] == 2);
    assert_eq!(metric(&first, "fanwire_tls_sessions "), 1);
    // A server that nobody vouches for is not believed.
    let third = chained(&other);
    wait_until(|| {
        metric(&third, &format!("fanwire_source_ended_total{{source=\"localhost:{port}\",reason=\"tls\"}} "))
            > 0
    });
    assert_eq!(metric(&third, "fanwire_topics "), 0);
}

#[test]
fn what_is_not_tls_gets_an_answer_by_name() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[limits]\nhandshake = \"300ms\"\n");
    let config = client(&[&files], rustls::ALL_VERSIONS);
    let mut held = subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a");
    let answer = http(&gateway.tls, "GET", "/ws", "", "");
    answer.assert_refusal(400, "HTTP without TLS");
    assert!(answer.body.contains("this listener speaks TLS"), "{}", answer.body);
    for (bytes, answer) in [
        (&[0u8; 40][..], &[21u8][..]),
        (b"SSH-2.0-OpenSSH_9.0\r\n", &[21]),
        // Too little to say: `handshake` ends it.
        (&[22, 3, 1, 2, 0, 1], &[]),
        (&[], &[]),
    ] {
        let mut stream = dial(&gateway.tls);
        stream.write_all(bytes).unwrap();
        let mut heard = Vec::new();
        // It may end with a reset.
        let _ = stream.read_to_end(&mut heard);
        assert!(heard.starts_with(answer), "{bytes:x?} was answered {heard:x?}");
    }
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"plain_http\"} "), 1);
    assert_eq!(metric(&gateway, "fanwire_tls_failed_total{reason=\"malformed\"} "), 2);
    held.send(r#"{"op":"ping"}"#);
    held.until("pong");
    assert_eq!(metric(&gateway, "fanwire_tls_sessions "), 1);
}

#[test]
fn who_fails_is_told_by_an_alert_in_the_handshake_and_later() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&files.server(), "[fanout]\ninterval_ms = 0\n");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for protocols in [&["h2"][..], &["mqtt", "http/1.0"]] {
            let mut config = (*client(&[&files], &[version])).clone();
            config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut stream = connect(&gateway.tls, &config.into(), "localhost");
            let alert = AlertDescription::NoApplicationProtocol;
            assert_eq!(alert_of(stream.read(&mut [0; 10])), Some(alert), "{version:?}");
        }
        // Subscribed, with frames on their way: a record that was changed.
        let config = client(&[&files], &[version]);
        let mut socket = subscribe(&gateway.tls, &config, "localhost", "/ws?topics=a");
        socket.until("snapshot");
        gateway.publish("a", &format!("\"{}\"", "x".repeat(1_000_000)));
        let stream = socket.stream();
        stream.conn.writer().write_all(b"hello").unwrap();
        let mut record = Vec::new();
        stream.conn.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        stream.sock.write_all(&record).unwrap();
        // What else it says must not cost it the answer.
        for _ in 0..100 {
            if stream.sock.write_all(&[0; 1000]).is_err() {
                break;
            }
        }
        let alert = alert_of(std::io::copy(stream, &mut std::io::sink()));
        assert_eq!(alert, Some(AlertDescription::BadRecordMac), "{version:?}");
    }
}

#[test]
fn a_handshake_message_without_end_is_told_by_an_alert_on_both_listeners() {
    let files = Files::new("localhost");
    let gateway = Gateway::start(&format!("{}\nadmin_tls = true", files.server()), "");
    let record = |payload: &[u8]| [&[22, 3, 1, 0x40, 0], payload, &vec![0; 0x4000 - payload.len()]].concat();
    // A ClientHello of 1 MiB, of which more comes than is held.
    let hello = [record(&[1, 0x0f, 0xff, 0xff]), record(&[]).repeat(19)].concat();
    for address in [&gateway.tls, &gateway.admin] {
        let mut stream = dial(address);
        stream.write_all(&hello).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.first(), Some(&21), "an alert, not {heard:x?}");
    }
}

/// The alert that a stream ended with.
fn alert_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<AlertDescription> {
    match result.unwrap_err().downcast::<rustls::Error>() {
        Ok(rustls::Error::AlertReceived(alert)) => Some(alert),
        other => panic!("{other:?}"),
    }
}
