//! The process of the real binary: configuration, exit codes, draining, and what an answered publish
//! promises (PROTOCOL.md, "Processes", "The admin listener" and "Draining").
#![forbid(unsafe_code)]

mod contract;

use std::time::{Duration, Instant};

use contract::{Gateway, Socket, command, http, output};

#[test]
fn what_was_accepted_is_seen_by_any_later_subscriber_on_every_shard() {
    let gateway = Gateway::start("shards = 3", "");
    for n in 0..60 {
        gateway.publish("read.back", &n.to_string());
        let mut socket = Socket::connect(&gateway.data, "/ws?topics=read.*").ok().unwrap();
        let snapshot = socket.until("snapshot");
        assert_eq!(snapshot["updates"][0]["data"], n, "{snapshot}");
    }
}

#[test]
fn an_interval_is_rounded_up_to_the_menu() {
    let gateway = Gateway::start("", "[fanout]\ninterval_ms_menu = [50, 200, 1000]");
    let mut socket = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    for (asked, holds) in [("0", 50), ("50", 50), ("51", 200), ("1000", 1000), ("5000", 1000)] {
        socket.send(&format!(r#"{{"op":"subscribe","topics":["a"],"interval_ms":{asked}}}"#));
        assert_eq!(socket.until("subscribed")["interval_ms"], holds, "{asked}");
    }
    socket.send(r#"{"op":"subscribe","topics":["a"],"sub":"none named"}"#);
    assert_eq!(socket.until("subscribed")["interval_ms"], 200);
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=a&interval_ms=60").ok().unwrap();
    assert_eq!(socket.until("subscribed")["interval_ms"], 200);
}

#[test]
fn an_array_is_no_message_whatever_it_holds() {
    let gateway = Gateway::start("", "");
    let mut socket = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    socket.send(r#"["ping",1,null,null,null,null]"#);
    let error = socket.until("error");
    assert_eq!(error["code"], 4000);
    assert!(error.get("id").is_none());
}

#[test]
fn the_first_line_says_that_admin_is_off_and_the_root_leads_nowhere() {
    let gateway = Gateway::start_config("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"\"\nshards = 2\n");
    assert_eq!(gateway.first_line, format!("listening data={} admin=off\n", gateway.data));
    assert!(!gateway.data.ends_with(":0"));
    http(&gateway.data, "GET", "/", "", "").assert_refusal(404, "no admin page");
}

#[test]
fn a_listener_that_others_reach_does_not_start_unless_it_is_written_out_whom_it_is_for() {
    let config = "[server]\ndata = \"0.0.0.0:0\"\nadmin = \"\"\nshards = 1\n";
    let ended = output(&mut command(config));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!((ended.status.code(), ended.stdout.is_empty()), (Some(2), true), "{told}");
    assert!(told.contains("data = \"0.0.0.0:0\"") && told.contains("clients = \"open\""), "{told}");
    let gateway = Gateway::start_config(&format!("{config}[access]\nclients = \"open\"\n"));
    assert!(gateway.first_line.starts_with("listening data=0.0.0.0:"), "{}", gateway.first_line);
}

#[test]
fn a_second_gateway_on_the_same_port_ends_with_1_and_names_it() {
    let gateway = Gateway::start("", "");
    let config = format!("[server]\ndata = \"{}\"\nadmin = \"\"\n", gateway.data);
    let second = output(&mut command(&config));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains(&gateway.data) && second.stdout.is_empty(), "{told}");
}

#[test]
fn a_bad_configuration_ends_with_2_its_line_and_what_to_write() {
    for (config, line, hint) in [
        ("[server]\ndata = \"127.0.0.1:0\"\n\n[fanout]\nintervall_ms = 5\n", ":5:", "interval_ms"),
        ("[limits]\nstall = 30\n", ":2:", "\"30ms\" or \"30s\""),
        ("[limits]\nping = \"5s\"\npong = \"6s\"\n", ":3:", "5s"),
        ("[server]\ndata = 9001\n", ":2:", "write an address and a port"),
        ("[[topic]]\npattern = \"a\"\nmode = \"last\"\n", ":3:", "\"keyed\""),
    ] {
        for check in [false, true] {
            let mut command = command(config);
            if check {
                command.arg("--check");
            }
            let ended = output(&mut command);
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(2), "{config}: {told}");
            assert!(told.contains(line) && told.contains(hint), "{config}: {told}");
            assert!(ended.stdout.is_empty());
        }
    }
}

#[test]
fn check_prints_a_configuration_that_checks_to_the_same() {
    let first = output(command("[limits]\nstall = \"7s\"\n[[source]]\nkind = \"host\"\n").arg("--check"));
    assert_eq!(first.status.code(), Some(0));
    let text = String::from_utf8(first.stdout).unwrap();
    assert!(text.contains("stall = \"7s\"") && text.contains("\nconnections = "), "{text}");
    let again = output(command(&text).arg("--check"));
    assert_eq!((again.status.code(), String::from_utf8(again.stdout).unwrap()), (Some(0), text));
}

#[test]
fn a_drain_ends_with_0_as_soon_as_nobody_is_left() {
    let mut gateway = Gateway::start("drain = \"60s\"\nshards = 2", "[fanout]\ninterval_ms = 60000");
    let mut sockets: Vec<Socket> =
        (0..4).map(|_| Socket::connect(&gateway.data, "/ws?topics=last.*").ok().unwrap()).collect();
    for socket in &mut sockets {
        socket.until("snapshot");
    }
    let began = Instant::now();
    gateway.signal("TERM");
    for socket in &mut sockets {
        assert!(socket.until("notice")["reconnect_after_ms"].as_u64().unwrap() > 0);
    }
    gateway.publish("last.t", "1");
    http(&gateway.admin, "GET", "/readyz", "", "").assert_refusal(503, "draining");
    assert_eq!(Socket::connect(&gateway.data, "/ws").err(), Some(503));
    drop(sockets);
    assert_eq!(gateway.exit_code(Duration::from_secs(10)), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_drained_client_gets_the_newest_values_then_1001() {
    let mut gateway = Gateway::start("drain = \"1s\"", "[fanout]\ninterval_ms = 60000");
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=last.*").ok().unwrap();
    socket.until("snapshot");
    gateway.signal("INT");
    socket.until("notice");
    gateway.publish("last.t", "\"newest\"");
    assert_eq!(socket.until("batch")["updates"][0]["data"], "newest");
    assert_eq!(socket.close_code(), 1001);
    drop(socket);
    assert_eq!(gateway.exit_code(Duration::from_secs(5)), Some(0));
}

#[test]
fn a_frame_to_hundreds_of_clients_takes_few_system_calls() {
    const CLIENTS: u64 = 300;
    const ROUNDS: u64 = 20;
    let mut command = command("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n");
    // With epoll each takes one.
    command.env("FANWIRE_SERVER__IO", "io_uring");
    let gateway = Gateway::spawn(&mut command);
    let _sockets: Vec<Socket> = (0..CLIENTS)
        .map(|_| {
            let mut socket = Socket::connect(&gateway.data, "/ws?topics=many.t&interval_ms=0").ok().unwrap();
            socket.until("snapshot");
            socket
        })
        .collect();
    let metric = |name: &str| -> u64 {
        let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    };
    let counts = || (metric("fanwire_ring_sends_total"), metric("fanwire_ring_enters_total"));
    let before = counts();
    for n in 0..ROUNDS {
        gateway.publish("many.t", &n.to_string());
        let end = Instant::now() + Duration::from_secs(5);
        while metric("fanwire_ring_sends_total") < before.0 + (n + 1) * CLIENTS && Instant::now() < end {}
    }
    let after = counts();
    let (sends, enters) = (after.0 - before.0, after.1 - before.1);
    assert!(sends >= ROUNDS * CLIENTS, "{sends} sends");
    assert!(enters * 5 < sends, "{enters} system calls for {sends} sends");
}

#[test]
fn a_class_too_many_is_refused_and_counted() {
    let gateway = Gateway::start("shards = 1", "[limits]\nclasses = 1");
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=a").ok().unwrap();
    socket.until("snapshot");
    let mut other = Socket::connect(&gateway.data, "/ws").ok().unwrap();
    other.send(r#"{"op":"subscribe","topics":["b"]}"#);
    assert!(other.until("error")["reason"].as_str().unwrap().contains("classes = 1"));
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(text.contains("\nfanwire_classes_refused_total 1\n"), "{text}");
}
