//! RFC 6455, 4: the opening handshake, both sides.
#![forbid(unsafe_code)]
mod support;

use proto::{Conn, Event, HandshakeError, Limits, State, handshake};
use support::*;

fn server_answers(head: &[u8]) -> Seen {
    let mut conn = Conn::server();
    let mut seen = feed(&mut conn, head, &LIMITS);
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// The status that `upgrade` refuses with after `change`; 101 if it does not.
fn upgrade_status(change: impl Fn(&mut Vec<String>)) -> u16 {
    match server_answers(&request_head(change)) {
        Seen::Request { key, .. } => key.map_or_else(|status| status, |_| 101),
        Seen::BadRequest(status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc_example_is_accepted() {
    let seen = server_answers(&request_head(|_| ()));
    let key = Ok("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
    let (method, target) = ("GET".to_owned(), "/ws?topics=a".to_owned());
    assert_eq!(seen, Seen::Request { method, target, key, protocols: vec![] });

    let mut out = Vec::new();
    handshake::accept(&mut out, "dGhlIHNhbXBsZSBub25jZQ==", Some("fanwire.json.v1"), None);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: fanwire.json.v1\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn tokens_are_found_in_lists_in_any_case() {
    let status = upgrade_status(|lines| {
        lines[2] = "UPGRADE:\t h2c , WebSocket".into();
        lines[3] = "connection: keep-alive".into();
        lines.push("Connection: foo,upGRADE ".into());
    });
    assert_eq!(status, 101);
}

#[test]
fn what_is_missing_or_wrong_names_its_status() {
    for line in 1..=4 {
        assert_eq!(upgrade_status(|lines| drop(lines.remove(line))), 400, "without line {line}");
    }
    assert_eq!(upgrade_status(|lines| drop(lines.remove(5))), 426);
    assert_eq!(upgrade_status(|lines| lines[5] = "Sec-WebSocket-Version: 8".into()), 426);
    assert_eq!(upgrade_status(|lines| lines.push(lines[5].clone())), 426);
    assert_eq!(upgrade_status(|lines| lines[0] = "POST /ws HTTP/1.1".into()), 405);
    assert_eq!(upgrade_status(|lines| lines[0] = "GET /ws HTTP/1.0".into()), 400);
    assert_eq!(upgrade_status(|lines| lines[0] = "GET /ws HTTP/2.0".into()), 400);
    assert_eq!(upgrade_status(|lines| lines[2] = "Upgrade: websockets".into()), 400);
    assert_eq!(upgrade_status(|lines| lines[3] = "Connection: close".into()), 400);
    assert_eq!(upgrade_status(|lines| lines[1] = "Host:".into()), 400);
    assert_eq!(upgrade_status(|lines| lines.push("Host: other".into())), 400);
    assert_eq!(upgrade_status(|lines| lines.push("Content-Length: 5".into())), 400);
    assert_eq!(upgrade_status(|lines| lines.push("Transfer-Encoding: chunked".into())), 400);
    assert_eq!(upgrade_status(|lines| lines.push("Content-Length: 0".into())), 101);
}

#[test]
fn keys_that_are_not_16_bytes_are_refused() {
    for key in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ_==", "QUJD"]
    {
        let status = upgrade_status(|lines| lines[4] = format!("Sec-WebSocket-Key: {key}"));
        assert_eq!(status, 400, "{key:?}");
    }
    assert_eq!(upgrade_status(|lines| lines.push(lines[4].clone())), 400);
}

#[test]
fn protocols_come_from_all_fields_in_order() {
    let seen = server_answers(&request_head(|lines| {
        lines.push("Sec-WebSocket-Protocol: a,, b".into());
        lines.push("sec-websocket-protocol: c".into());
    }));
    let Seen::Request { protocols, .. } = seen else { panic!("{seen:?}") };
    assert_eq!(protocols, ["a", "b", "c"]);
}

#[test]
fn fields_and_targets_are_taken_apart() {
    let mut head = request_head(|lines| {
        lines[0] = "GET http://host:1/ws?a=b?c HTTP/1.1".into();
        lines.push("Origin: https://page.test".into());
        lines.push("X-Many: 1".into());
        lines.push("x-many:  2\t".into());
    });
    let mut conn = Conn::server();
    let Some(Event::Request(request)) = conn.receive(&mut head, &LIMITS).event else { panic!() };
    assert_eq!((request.path(), request.query()), ("/ws", Some("a=b?c")));
    assert_eq!(request.header_values("x-many").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.header("absent"), None);
    assert_eq!(request.upgrade().unwrap().origin(), Some("https://page.test"));
    for (target, path, query) in [
        ("/", "/", None),
        ("/a?", "/a", Some("")),
        ("*", "*", None),
        ("http://h", "/", None),
        ("ws://h?q", "/", Some("q")),
    ] {
        let mut head = request_head(|lines| lines[0] = format!("GET {target} HTTP/1.1"));
        let mut conn = Conn::server();
        let Some(Event::Request(request)) = conn.receive(&mut head, &LIMITS).event else { panic!() };
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn bytes_after_the_head_are_frames() {
    let mut bytes = request_head(|_| ());
    bytes.extend(masked(proto::encode::Opcode::Text, b"early"));
    let mut conn = Conn::server();
    let seen = feed(&mut conn, &bytes, &LIMITS);
    assert_eq!(seen[1..], [text("early")]);
    assert_eq!(conn.state(), State::Open);
}

#[test]
fn after_a_request_that_is_not_upgraded_input_is_discarded() {
    let mut conn = Conn::server();
    let twice = request_head(|lines| drop(lines.remove(2))).repeat(2);
    assert_eq!(feed(&mut conn, &twice, &LIMITS).len(), 1);
    assert_eq!((conn.state(), conn.buffered()), (State::Connecting, 0));
}

#[test]
fn malformed_heads_are_400() {
    for head in [
        "\x16\x03\x01",
        "GET\r\n",
        "GET /ws HTTP/1.1\r\nbad name: x\r\n",
        "GET /ws HTTP/1.1\r\n folded: x\r\n",
    ] {
        let mut conn = Conn::server();
        assert_eq!(feed(&mut conn, head.as_bytes(), &LIMITS), [Seen::BadRequest(400)], "{head:?}");
        assert_eq!((conn.state(), conn.buffered()), (State::Closed, 0));
    }
}

#[test]
fn heads_over_the_limits_are_431() {
    let padded = |bytes: usize| {
        let short = request_head(|lines| lines.push("X-Padding: ".into())).len();
        request_head(|lines| lines.push(format!("X-Padding: {}", "x".repeat(bytes - short))))
    };
    assert!(matches!(server_answers(&padded(16 << 10)), Seen::Request { key: Ok(_), .. }));
    assert_eq!(server_answers(&padded((16 << 10) + 1)), Seen::BadRequest(431));
    // Also where the end never comes, and not a byte later.
    let mut conn = Conn::server();
    let endless = format!("GET /{}", "x".repeat((16 << 10) - 5));
    assert_eq!(feed(&mut conn, &endless.as_bytes()[..16383], &LIMITS), []);
    assert_eq!(feed(&mut conn, &endless.as_bytes()[16383..], &LIMITS), [Seen::BadRequest(431)]);

    let many = |count: usize| request_head(|lines| lines.extend((5..count).map(|i| format!("X-{i}: y"))));
    assert!(matches!(server_answers(&many(64)), Seen::Request { key: Ok(_), .. }));
    assert_eq!(server_answers(&many(65)), Seen::BadRequest(431));
    let no_limit = Limits { headers: 1000, head_bytes: 1 << 20, ..LIMITS };
    assert!(matches!(feed(&mut Conn::server(), &many(256), &no_limit)[0], Seen::Request { key: Ok(_), .. }));
    assert_eq!(feed(&mut Conn::server(), &many(257), &no_limit), [Seen::BadRequest(431)]);
}

#[test]
fn refusals_are_whole_http_answers() {
    let mut out = Vec::new();
    handshake::refuse(&mut out, 426, "say \"13\"\n", &[]);
    let expected = "HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Content-Length: 41\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n\
        {\"code\":426,\"reason\":\"say \\\"13\\\"\\u000a\"}\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let mut out = Vec::new();
    handshake::refuse(&mut out, 429, "wait", &[("retry-after", "7")]);
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("retry-after: 7\r\n") && !out.contains("Retry-After"), "{out}");

    let mut out = Vec::new();
    handshake::respond(&mut out, 200, "text/plain", b"ok\n");
    let expected =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn both_roles_understand_each_other() {
    let mut request = Vec::new();
    handshake::request(&mut request, "host:9001", "/ws", NONCE, &["x", "fanwire.json.v1"], false);
    let mut server = Conn::server();
    let Some(Event::Request(parsed)) = server.receive(&mut request, &LIMITS).event else { panic!() };
    assert_eq!(parsed.header("host"), Some("host:9001"));
    let upgrade = parsed.upgrade().unwrap();
    let mut answer = Vec::new();
    handshake::accept(&mut answer, upgrade.key(), upgrade.protocols().nth(1), None);
    server.upgraded(None);

    proto::encode::frame(&mut answer, proto::encode::Opcode::Text, b"hi");
    let mut client = Conn::client(NONCE);
    let seen = feed(&mut client, &answer, &LIMITS);
    assert_eq!(seen, [Seen::Response(Some("fanwire.json.v1".into())), text("hi")]);
    assert_eq!((client.state(), client.buffered()), (State::Open, 0));
}

#[test]
fn a_client_takes_no_wrong_answer() {
    let answer = |change: &dyn Fn(String) -> String| {
        let mut answer = Vec::new();
        handshake::accept(&mut answer, &sent_key(), None, None);
        let answer = change(String::from_utf8(answer).unwrap());
        let mut conn = Conn::client(NONCE);
        let mut seen = feed(&mut conn, answer.as_bytes(), &LIMITS);
        assert_eq!((seen.len(), conn.state(), conn.buffered()), (1, State::Closed, 0));
        match seen.remove(0) {
            Seen::HandshakeFailed(error) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer(&|it| it.replace("Accept: ", "Accept: x")), HandshakeError::WrongAccept);
    assert_eq!(answer(&|it| it.replace("Accept", "Except")), HandshakeError::WrongAccept);
    assert_eq!(answer(&|it| it.replace("websocket", "h2c")), HandshakeError::NoUpgrade);
    assert_eq!(
        answer(&|it| it.replace("Connection: Upgrade", "Connection: close")),
        HandshakeError::NoConnection
    );
    let extension = HandshakeError::Extension("x-deflate".into());
    assert_eq!(
        answer(&|it| it.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-deflate\r\n\r\n")),
        extension
    );
    assert!(matches!(answer(&|it| it.replace("HTTP/1.1", "HTTP/1.0")), HandshakeError::Malformed(_)));
    assert!(matches!(answer(&|_| "SSH-2.0-x\r\n".into()), HandshakeError::Malformed(_)));
    assert_eq!(
        answer(&|it| it.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "y".repeat(20_000)))),
        HandshakeError::HeadTooLong(16 << 10)
    );
}

#[test]
fn a_client_is_told_of_a_refusal() {
    let mut conn = Conn::client(NONCE);
    let mut answer = Vec::new();
    handshake::refuse(&mut answer, 503, "full", &[]);
    let received = conn.receive(&mut answer, &LIMITS);
    let Some(Event::Refused { status: 503, reason, body, .. }) = received.event else { panic!() };
    assert_eq!(
        (reason.as_str(), body),
        ("Service Unavailable", &b"{\"code\":503,\"reason\":\"full\"}\n"[..])
    );
    assert_eq!(conn.state(), State::Closed);
}

/// What a client makes of an answer with these lines in it, which a firewall may have added.
fn amid(lines: &str) -> Vec<Seen> {
    amid_bytes(lines.as_bytes())
}

fn amid_bytes(lines: &[u8]) -> Vec<Seen> {
    let mut answer = Vec::new();
    handshake::accept(&mut answer, &sent_key(), None, None);
    answer.truncate(answer.len() - 2);
    answer.extend_from_slice(lines);
    answer.extend_from_slice(b"\r\n");
    proto::encode::frame(&mut answer, proto::encode::Opcode::Text, b"hi");
    let limits = Limits { head_bytes: 64 << 10, headers: 256, ..LIMITS };
    feed(&mut Conn::client(NONCE), &answer, &limits)
}

#[test]
fn lines_that_nobody_looks_at_harm_no_handshake() {
    let taken = [Seen::Response(None), text("hi")];
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("Set-Cookie: a={}\r\n", "c".repeat(4000)).repeat(14);
    for lines in [
        "",
        "Set-Cookie: a=dmo\u{1}OZPF; path=/\r\n",
        "X-Long: a\r\n\tb: c\r\n  d\r\n",
        "X-A : b\r\n",
        "no colon at all\r\n",
        ": no name\r\n",
        "X-(): brackets\r\n",
        "X-A: b\r\n Upgrade: h2c\r\n",
        "Sec-Websocke: x\r\n y\r\n",
        "X-A: a\0b\r\n",
        "X-A: a\rb\r\n",
        "X-A: a\r\r\n",
        "X\0A: b\r\nX\rA: b\r\n",
        "\0\r\n",
        "\r\r\n",
        "no\0colon\r\n folded\r\n",
        "X-A: b\r\n \0\r\n",
        "X-A: a\rUpgrade: h2c\r\n",
        // A well-written one is there.
        "Connection : close\r\n",
        "Upgrade\t: h2c\r\n",
        "Connection: close\0\r\n",
        "Sec-WebSocket-Accept: a\rb\r\n",
        "Sec-WebSocket-Protocol:\r\n",
        "Sec-WebSocket-Protocol: \t\r\n",
        &many,
        &long,
    ] {
        assert_eq!(amid(lines), taken, "{lines:.80}");
    }
    assert_eq!(amid_bytes(b"X-A: caf\xe9\r\nCaf\xe9: b\r\n"), taken);
}

#[test]
fn what_the_handshake_rests_on_is_read_in_one_way_or_not_at_all() {
    for (lines, name) in [
        ("Sec-WebSocket-Protocol : x\r\n", "Sec-WebSocket-Protocol"),
        ("Sec-WebSocket-Protocol:\r\n x\r\n", "Sec-WebSocket-Protocol"),
        ("sec-websocket-extensions: x\u{1}\r\n", "sec-websocket-extensions"),
        ("Sec-WebSocket-Anything: å\r\n", "Sec-WebSocket-Anything"),
        ("Sec-WebSocket-Protocol: x\0\r\n", "Sec-WebSocket-Protocol"),
        ("Sec-WebSocket-Extensions: a\rb\r\n", "Sec-WebSocket-Extensions"),
        ("Connection: close\r\n \0\r\n", "Connection"),
        ("UPGRADE: a\r\n\tb\r\n", "UPGRADE"),
        ("X: y\r\nUpgrade: å\r\n", "Upgrade"),
    ] {
        assert_eq!(amid(lines), [Seen::HandshakeFailed(HandshakeError::Dubious(name.to_owned()))], "{lines}");
    }
    // A second accept, however it is written, is none.
    assert_eq!(amid("Sec-WebSocket-Accept: x\r\n"), [Seen::HandshakeFailed(HandshakeError::WrongAccept)]);
}

#[test]
fn interim_answers_are_skipped_and_counted() {
    let mut answer = Vec::new();
    handshake::accept(&mut answer, &sent_key(), None, None);
    proto::encode::frame(&mut answer, proto::encode::Opcode::Text, b"hi");
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    for interim in ["", early, "HTTP/1.1 100 Continue\r\n\r\n", &early.repeat(16)] {
        let whole = [interim.as_bytes(), &answer].concat();
        let mut conn = Conn::client(NONCE);
        assert_eq!(feed(&mut conn, &whole, &LIMITS), [Seen::Response(None), text("hi")]);
        assert_eq!((conn.state(), conn.buffered()), (State::Open, 0));
    }
    let endless = [early.repeat(17).as_bytes(), &answer].concat();
    let seen = feed(&mut Conn::client(NONCE), &endless, &LIMITS);
    assert_eq!(seen, [Seen::HandshakeFailed(HandshakeError::TooManyInterim(16))]);
    // What comes after them may be a refusal.
    let mut refusal = early.as_bytes().to_vec();
    handshake::refuse(&mut refusal, 503, "full", &[]);
    let seen = feed(&mut Conn::client(NONCE), &refusal, &LIMITS);
    assert_eq!(seen, [Seen::Refused(503, "Service Unavailable".to_owned())]);
}

#[test]
fn a_refusal_says_where_to_go_and_how_long_to_wait() {
    let mut answer = Vec::new();
    let headers = [("Location", "wss://other.example/feed"), ("retry-after", "120")];
    handshake::refuse(&mut answer, 307, "there", &headers);
    let mut conn = Conn::client(NONCE);
    let Some(Event::Refused { headers, .. }) = conn.receive(&mut answer, &LIMITS).event else { panic!() };
    assert_eq!(headers.get("location"), Some("wss://other.example/feed"));
    assert_eq!((headers.get("Retry-After"), headers.get("x")), (Some("120"), None));

    let mut answer =
        b"HTTP/1.1 429 T\r\nX: \0\r\nRetry-After: 1\r2\r\nX\0: y\r\nRetry-After: 7\r\n\r\nbody\r\n\r\n"
            .to_vec();
    let mut conn = Conn::client(NONCE);
    let Some(Event::Refused { headers, body, .. }) = conn.receive(&mut answer, &LIMITS).event else {
        panic!()
    };
    assert_eq!((headers.get("Retry-After"), body), (Some("7"), &b"body\r\n\r\n"[..]));
}

#[test]
fn unreadable_lines_count_as_bytes_of_the_head_and_interim_answers_may_have_them() {
    let mut whole = b"\r\nHTTP/1.1 103 Early Hints\r\nX: \0\r\n\r\n".to_vec();
    handshake::accept(&mut whole, &sent_key(), None, None);
    proto::encode::frame(&mut whole, proto::encode::Opcode::Text, b"hi");
    assert_eq!(feed(&mut Conn::client(NONCE), &whole, &LIMITS), [Seen::Response(None), text("hi")]);
    let long = format!("HTTP/1.1 101 S\r\n{}", "X: \0\r\n".repeat(LIMITS.head_bytes / 6));
    let seen = feed(&mut Conn::client(NONCE), long.as_bytes(), &LIMITS);
    assert_eq!(seen, [Seen::HandshakeFailed(HandshakeError::HeadTooLong(LIMITS.head_bytes))]);
    let status = feed(&mut Conn::client(NONCE), b"HTTP/1.1 101\0 S\r\n\r\n", &LIMITS);
    assert!(matches!(status[..], [Seen::HandshakeFailed(HandshakeError::Malformed(_))]), "{status:?}");
}
