//! What a source that connects to a WebSocket server promises, against a server that keeps and breaks the rules.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread::sleep,
    time::{Duration, Instant},
};

use engine::{
    settings::Limits,
    shard::inbox::{Inbox, Message},
    topic::{epoch::Epoch, policy::Policies},
    update::Op,
};
use gateway::{
    config::Config,
    health::Health,
    intake::{clocked::ClockedSequencer, publisher::Publisher},
    source::{
        Source,
        activity::Activity,
        kind::{Context, Kind},
        websocket::counters::WebsocketCounters,
    },
    system::Machine,
};
use proto::encode::Opcode;

use contract::{Gateway, Socket, command, http};
use upstream::{Peer, Said};

const WAIT: Duration = Duration::from_secs(10);
const TICKER: &str =
    "[[source.map]]\nwhen = { \"/type\" = \"ticker\" }\ntopic = \"x.{/s}\"\nts = \"/t\"\ndata = \"/d\"\n";

/// A source called `x` that comes back quickly.
fn source(addr: SocketAddr, keys: &str, map: &str) -> String {
    format!(
        "[[source]]\nkind = \"websocket\"\nname = \"x\"\nurl = \"ws://{addr}/feed?a=b\"\n\
         backoff_min = \"10ms\"\nbackoff_max = \"40ms\"\n{keys}\n{map}"
    )
}

/// `n` stands in `d`, from which the topic `x.a` is made.
fn ticker(n: u64) -> String {
    format!(r#"{{"type":"ticker","s":"a","t":1700000000{:03},"d":{n}}}"#, n % 1000)
}

/// The value of a metric of source `x`; `labels` are those after the source's.
fn metric(gateway: &Gateway, name: &str, labels: &str) -> f64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let of = |kind: &str| {
        let begin = format!("fanwire_source_{name}{kind}{{source=\"x\"{labels}}} ");
        text.lines().find_map(|line| line.strip_prefix(&begin))
    };
    of("_total").or_else(|| of("")).unwrap_or_else(|| panic!("no {name}{labels} in {text}")).parse().unwrap()
}

/// Waits until the metric has the value.
fn await_metric(gateway: &Gateway, name: &str, labels: &str, value: f64) {
    let end = Instant::now() + WAIT;
    loop {
        let now = metric(gateway, name, labels);
        if now == value {
            return;
        }
        assert!(Instant::now() < end, "{name}{labels} is {now}, not {value}");
        sleep(Duration::from_millis(10));
    }
}

fn bad(kind: &str) -> String {
    format!(",kind=\"{kind}\"")
}

fn ended(reason: &str) -> String {
    format!(",reason=\"{reason}\"")
}

/// A gateway that writes its logs to a file.
fn logging(name: &str, config: &str) -> (Gateway, PathBuf) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.log", std::process::id()));
    let config = format!("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{config}");
    let mut command = command(&config);
    command.env("RUST_LOG", "gateway=info").stderr(fs::File::create(&path).unwrap());
    (Gateway::spawn(&mut command), path)
}

#[test]
fn texts_are_sent_after_each_connect_and_values_arrive_with_their_time() {
    let (heard, hears) = mpsc::channel();
    let addr = upstream::start(move |number, mut peer| {
        let target = peer.accept()?;
        let said = [peer.hear()?, peer.hear()?];
        heard.send((target, said)).unwrap();
        peer.text(&ticker(number as u64))?;
        if number == 0 { peer.close(1012, "restart") } else { peer.wait() }
    });
    let send = r#"send = ['{"op":"subscribe"}', "again"]"#;
    let gateway = Gateway::start("shards = 2", &source(addr, send, TICKER));
    for number in 0..2 {
        let (target, said) = hears.recv_timeout(WAIT).unwrap();
        assert_eq!(target, "/feed?a=b");
        assert_eq!(
            said,
            [r#"{"op":"subscribe"}"#, "again"].map(|text| Said::Text(text.to_owned())),
            "{number}"
        );
    }
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    let update = socket.update("x.a", |update| update["data"] == 1);
    assert_eq!((&update["v"], &update["ts"]), (&2.into(), &1_700_000_000_001_000_i64.into()));
    await_metric(&gateway, "ended", &ended("closed"), 1.0);
    assert_eq!((metric(&gateway, "connects", ""), metric(&gateway, "reconnects", "")), (2.0, 1.0));
    assert_eq!((metric(&gateway, "messages", ""), metric(&gateway, "items", "")), (2.0, 2.0));
    assert_eq!(metric(&gateway, "connected", ""), 1.0);
    assert!(metric(&gateway, "age_seconds", "") < 10.0);
}

/// One connection after the other that goes wrong in its own way, and then one that does not.
fn misbehave(number: usize, mut peer: Peer) -> std::io::Result<()> {
    match number {
        0 => peer.refuse(503).map(drop),
        1 => {
            let answer =
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
            std::io::Write::write_all(&mut peer.stream, answer)?;
            peer.wait()
        }
        // No answer to the handshake.
        7 => {
            let mut request = Vec::new();
            std::io::Read::read_to_end(&mut peer.stream, &mut request).map(drop)
        }
        _ => {
            peer.accept()?;
            match number {
                2 => Ok(()),
                3 => {
                    peer.close(4007, "too many subscriptions")?;
                    assert_eq!(peer.hear()?, Said::Close(Some(4007)));
                    Ok(())
                }
                4 => {
                    std::io::Write::write_all(&mut peer.stream, &[0x83, 0x00])?;
                    assert_eq!(peer.hear()?, Said::Close(Some(1002)));
                    Ok(())
                }
                5 => {
                    peer.text(&"x".repeat(1001))?;
                    assert_eq!(peer.hear()?, Said::Close(Some(1009)));
                    Ok(())
                }
                // No answer to the ping.
                6 => {
                    assert_eq!(peer.hear()?, Said::Ping(Vec::new()));
                    peer.wait()
                }
                _ => {
                    peer.text(&ticker(42))?;
                    loop {
                        if let Said::Ping(payload) = peer.hear()? {
                            peer.send(Opcode::Pong, &payload)?;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn whatever_a_server_does_is_counted_told_once_and_followed_by_another_connect() {
    let addr = upstream::start(misbehave);
    let keys = "idle = \"300ms\"\nmessage_bytes = \"1000B\"";
    let other = "[[source]]\nkind = \"synthetic\"\nsymbols = 1\n";
    let (gateway, log) = logging("misbehave", &format!("{other}{}", source(addr, keys, TICKER)));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=*").ok().unwrap();
    let n = |update: &serde_json::Value| update["data"]["n"].as_u64().unwrap();
    let before = n(&socket.update("tick.S0000", |_| true));
    socket.update("x.a", |update| update["data"] == 42);
    let after = n(&socket.update("tick.S0000", |_| true));
    assert!(after > before + 50, "the other source goes on: {before}, {after}");
    for (reason, count) in [
        ("refused", 1),
        ("handshake", 1),
        ("cut", 1),
        ("closed", 1),
        ("protocol", 2),
        ("idle", 1),
        ("connect", 1),
    ] {
        assert_eq!(metric(&gateway, "ended", &ended(reason)), f64::from(count), "{reason}");
    }
    assert_eq!((metric(&gateway, "connects", ""), metric(&gateway, "reconnects", "")), (9.0, 5.0));
    // Answered pings keep a silent connection.
    sleep(Duration::from_millis(1000));
    assert_eq!((metric(&gateway, "connects", ""), metric(&gateway, "connected", "")), (9.0, 1.0));
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    for (text, times) in [
        ("refused the handshake with 503 Service Unavailable", 1),
        ("101 whose Sec-WebSocket-Accept does not belong to the key sent", 1),
        ("ended the connection without a close frame", 1),
        ("the server closed with 4007", 1),
        ("closed with 1002: reserved opcode 3", 1),
        ("closed with 1009: message of 1001 bytes or more; the limit is 1000; raise message_bytes", 1),
        ("no connection and no answer to the handshake within idle = \"300ms\"", 1),
        ("nothing came for idle = \"300ms\", nor for as long after a ping", 1),
    ] {
        assert_eq!(log.matches(text).count(), times, "{text}: {log}");
    }
}

#[test]
fn an_end_that_repeats_is_told_once_and_tried_less_often() {
    let addr = upstream::start(|_, mut peer| peer.refuse_with(429, &[("Retry-After", "0")]).map(drop));
    let begun = Instant::now();
    let (gateway, log) = logging("repeats", &source(addr, "", TICKER));
    while metric(&gateway, "connects", "") < 11.0 {
        assert!(begun.elapsed() < WAIT);
        sleep(Duration::from_millis(1));
    }
    // Ten waits, of 5, 10 and then 20 ms at least.
    assert!(begun.elapsed() >= Duration::from_millis(175), "{:?}", begun.elapsed());
    assert_eq!(metric(&gateway, "connected", ""), 0.0);
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("refused the handshake with 429").count(), 1, "{log}");
}

#[test]
fn a_server_that_asks_to_be_left_alone_is_left_alone() {
    let (heard, hears) = mpsc::channel();
    let addr = upstream::start(move |number, mut peer| {
        heard.send(Instant::now()).unwrap();
        match number {
            0 => peer.refuse_with(418, &[("Retry-After", "1")]).map(drop),
            1 => {
                let fields = [("Location", "ws://other.example/"), ("Retry-After", "1")];
                peer.refuse_with(302, &fields).map(drop)
            }
            _ => {
                peer.accept()?;
                peer.text(&ticker(3))?;
                peer.wait()
            }
        }
    });
    let (gateway, log) = logging("retry-after", &source(addr, "", TICKER));
    let times = [0; 3].map(|_| hears.recv_timeout(WAIT).unwrap());
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(1), "longer than backoff_max");
    }
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    socket.update("x.a", |update| update["data"] == 3);
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    for (text, count) in [("Retry-After: ", 2), ("ws://other.example/", 1)] {
        assert_eq!(log.matches(text).count(), count, "{text}: {log}");
    }
}

/// The answer to a handshake with `lines` in it, and after it a value.
fn answer_with(mut peer: Peer, before: &str, lines: &str, n: u64) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let mut accepted = Vec::new();
    proto::handshake::accept(&mut accepted, key, None, None);
    accepted.truncate(accepted.len() - 2);
    let mut value = Vec::new();
    proto::encode::frame(&mut value, Opcode::Text, ticker(n).as_bytes());
    peer.stream.write_all(&[before.as_bytes(), &accepted, lines.as_bytes(), b"\r\n", &value].concat())?;
    // Until the gateway has gone.
    let _ = peer.stream.read_to_end(&mut Vec::new());
    Ok(request)
}

#[test]
fn a_server_behind_a_firewall_is_understood_and_told_who_asks() {
    let (heard, hears) = mpsc::channel();
    let addr = upstream::start(move |_, peer| {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        let cookies = format!("Set-Cookie: a={}\u{1}\r\n", "c".repeat(4000)).repeat(6);
        let many: String = (0..150).map(|n| format!("X-{n}: y\r\n z\r\n")).collect();
        heard.send(answer_with(peer, early, &format!("{cookies}{many}X-A : b\r\n"), 5)?).unwrap();
        Ok(())
    });
    let gateway = Gateway::start("shards = 1", &source(addr, "", TICKER));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    socket.update("x.a", |update| update["data"] == 5);
    drop(gateway);
    let request = hears.recv_timeout(WAIT).unwrap();
    let agent = format!("\r\nUser-Agent: fanwire/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(request.contains(&agent), "{request}");
}

#[test]
fn a_subprotocol_that_nobody_asked_for_ends_the_connection() {
    let addr =
        upstream::start(|_, peer| answer_with(peer, "", "Sec-WebSocket-Protocol: v9\r\n", 1).map(drop));
    let (gateway, log) = logging("subprotocol", &source(addr, "", TICKER));
    let end = Instant::now() + WAIT;
    while metric(&gateway, "ended", &ended("handshake")) < 2.0 {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10));
    }
    assert_eq!(metric(&gateway, "messages", ""), 0.0);
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("which was not asked for").count(), 1, "{log}");
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gateway, log) = logging("nobody", &source(nobody, "", TICKER));
    let end = Instant::now() + WAIT;
    while metric(&gateway, "ended", &ended("connect")) < 3.0 {
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10));
    }
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches(&format!("cannot connect to {nobody}: ")).count(), 1, "{log}");
}

#[test]
fn bad_messages_are_counted_by_kind_the_first_is_told_and_the_good_ones_arrive() {
    let addr = upstream::start(|_, mut peer| {
        peer.accept()?;
        for bad in ["{", "{\"type\":", r#"{"type":"ticker"}"#, r#"{"type":"ticker","s":"","t":1,"d":1}"#] {
            peer.text(bad)?;
        }
        peer.text(r#"{"type":"ticker","s":"a","t":"soon","d":1}"#)?;
        peer.text(r#"{"type":"ticker","s":"a","t":null,"d":1}"#)?;
        let long = format!(r#"{{"type":"ticker","s":"a","t":1,"d":"{}"}}"#, "x".repeat(100));
        peer.text(&long)?;
        peer.text(r#"{"type":"heartbeat"}"#)?;
        peer.send(Opcode::Binary, b"\x00\xff")?;
        peer.text(&ticker(7))?;
        peer.wait()
    });
    let (gateway, log) = logging("bad", &format!("[limits]\nvalue_bytes = 64\n{}", source(addr, "", TICKER)));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    socket.update("x.a", |update| update["data"] == 7);
    for (kind, count) in [("json", 3), ("pointer", 1), ("topic", 1), ("ts", 2), ("refused", 1)] {
        assert_eq!(metric(&gateway, "bad", &bad(kind)), f64::from(count), "{kind}");
    }
    assert_eq!((metric(&gateway, "ignored", ""), metric(&gateway, "messages", "")), (1.0, 10.0));
    assert_eq!((metric(&gateway, "items", ""), metric(&gateway, "connects", "")), (2.0, 1.0));
    drop(gateway);
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("not published").count(), 5, "{log}");
    assert!(log.contains("[limits] value_bytes is 64"), "{log}");
}

#[test]
fn an_odd_element_is_a_hole_of_its_own_topic_and_of_no_other() {
    const EACH: &str = "[[source.map]]\neach = \"/d\"\ntopic = \"x.{/s}\"\nts = \"/t\"\ndata = \"/v\"\n\
                        [[topic]]\npattern = \"x.*\"\nmode = \"stream\"\n";
    let (go, goes) = mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        goes.lock().unwrap().recv().unwrap();
        for (n, t) in [(1, "1700000000"), (2, "null"), (3, "1.7e9")] {
            let odd = r#"null,{"s":"","t":1,"v":0}"#;
            peer.text(&format!(r#"{{"d":[{{"s":"a","t":{t},"v":{n}}},{odd},{{"s":"b","t":1,"v":{n}}}]}}"#))?;
        }
        peer.wait()
    });
    let gateway = Gateway::start("shards = 1", &source(addr, "", EACH));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*&interval_ms=0").ok().unwrap();
    socket.until("snapshot");
    go.send(()).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        for update in socket.until("batch")["updates"].as_array().unwrap() {
            let topic = update["topic"].as_str().unwrap().to_owned();
            seen.push((topic, update["data"].as_u64().unwrap(), update["gap"].as_u64()));
        }
    }
    seen.sort();
    let expected =
        [("x.a", 1, None), ("x.a", 3, Some(1)), ("x.b", 1, None), ("x.b", 2, None), ("x.b", 3, None)];
    assert_eq!(seen, expected.map(|(topic, n, gap)| (topic.to_owned(), n, gap)));
    for (kind, count) in [("ts", 1), ("pointer", 3), ("topic", 3), ("refused", 0)] {
        assert_eq!(metric(&gateway, "bad", &bad(kind)), f64::from(count), "{kind}");
    }
}

#[test]
fn trades_that_stand_newest_first_arrive_once_each_in_their_order() {
    const TRADES: &str = "[[source.map]]\neach = \"/d\"\norder = \"newest-first\"\ntopic = \"x.{^/s}\"\nseq = \"\"\ndata = \"\"\n\
                          [[topic]]\npattern = \"x.*\"\nmode = \"stream\"\n";
    let (go, goes) = mpsc::channel::<String>();
    let goes = std::sync::Mutex::new(goes);
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        for text in goes.lock().unwrap().iter() {
            peer.text(&text)?;
        }
        Ok(())
    });
    let gateway = Gateway::start("shards = 1", &source(addr, "", TRADES));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*&interval_ms=0").ok().unwrap();
    socket.until("snapshot");
    // A past page, the newest again, pages that overlap, and one after a hole.
    for trades in ["[3, 2, 1]", "[3]", "[5, 4, 3, 2]", "[5]", "[6]", "[9, 8]"] {
        go.send(format!(r#"{{"s":"a","d":{trades}}}"#)).unwrap();
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&(9, None)) {
        for update in socket.until("batch")["updates"].as_array().unwrap() {
            seen.push((update["data"].as_u64().unwrap(), update["gap"].as_u64()));
        }
    }
    let expected = [1, 2, 3, 4, 5, 6, 8, 9].map(|n| (n, (n == 8).then_some(1)));
    assert_eq!(seen, expected);
}

#[test]
fn fragments_and_pings_between_them_are_understood() {
    let (pongs, answered) = mpsc::channel();
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        let message = ticker(9);
        let (first, rest) = message.split_at(10);
        let (second, third) = rest.split_at(1);
        peer.fragment(Opcode::Text, false, first)?;
        peer.send(Opcode::Ping, b"are you there")?;
        peer.fragment(Opcode::Continuation, false, second)?;
        pongs.send(peer.hear()?).unwrap();
        peer.fragment(Opcode::Continuation, true, third)?;
        peer.wait()
    });
    let gateway = Gateway::start("shards = 1", &source(addr, "", TICKER));
    assert_eq!(answered.recv_timeout(WAIT).unwrap(), Said::Pong(b"are you there".to_vec()));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    socket.update("x.a", |update| update["data"] == 9);
}

#[test]
fn a_drain_ends_the_source_with_the_process() {
    let (gone, goes) = mpsc::channel();
    let addr = upstream::start(move |_, mut peer| {
        peer.accept()?;
        peer.text(&ticker(1))?;
        let gone_with = peer.wait().unwrap_err().kind();
        gone.send(gone_with).unwrap();
        Ok(())
    });
    let mut gateway = Gateway::start("shards = 1\ndrain = \"500ms\"", &source(addr, "", TICKER));
    let mut socket = Socket::connect(&gateway.data, "/ws?topics=x.*").ok().unwrap();
    socket.update("x.a", |update| update["data"] == 1);
    gateway.signal("TERM");
    assert_eq!(socket.close_code(), 1001);
    assert_eq!(gateway.exit_code(WAIT), Some(0));
    assert_eq!(goes.recv_timeout(WAIT).unwrap(), std::io::ErrorKind::UnexpectedEof);
}

/// A source that runs in the test's own runtime, and the inbox of its only shard.
struct Alone {
    sequencer: Arc<ClockedSequencer>,
    inbox: Arc<Inbox>,
    counters: Arc<WebsocketCounters>,
}

impl Alone {
    fn start(config: &str, inbox_updates: usize) -> Self {
        let machine = Machine { cpus: vec![0], cpus_busy: 1, nofile_hard: 20_000, no_io_uring: None };
        let config = Config::parse(config, "x.toml", Path::new(""), &machine).unwrap();
        let Source::Websocket(source) = config.sources[0].clone() else { panic!("{config:?}") };
        let limits = Limits { inbox_updates, ..config.limits };
        let inbox = Inbox::new(inbox_updates, usize::MAX, net::Waker::unconnected());
        let sequencer = ClockedSequencer::new(
            Epoch::from(1),
            vec![inbox.clone()],
            &limits,
            Policies::default(),
            Instant::now(),
        );
        let counters = Arc::new(WebsocketCounters::new(&Arc::new(Activity::new("x"))));
        tokio::spawn(source.run(Context {
            publisher: Publisher::new(sequencer.clone()),
            activity: counters.activity.clone(),
            limits,
            health: Health::new(&[], 1, 1 << 20),
            stale_after: config.freshness[0].stale_after,
            connections: Some(counters.clone()),
        }));
        Self { sequencer, inbox, counters }
    }

    /// What the shard would take now: values by topic, in order.
    fn take(&self, values: &mut BTreeMap<String, Vec<u64>>) {
        while let Some(Message::Updates(batch)) = self.inbox.pop() {
            for op in &batch.ops {
                let Op::Update(update) = op else { continue };
                let json: serde_json::Value = serde_json::from_slice(&update.json).unwrap();
                let topic = json["topic"].as_str().unwrap().to_owned();
                values.entry(topic).or_default().push(json["data"].as_u64().unwrap());
            }
        }
    }
}

/// Lets the runtime go on until it holds.
async fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// 20,000 values of five topics; the last ones are 19,995 to 19,999.
fn flood(_: usize, mut peer: Peer) -> std::io::Result<()> {
    peer.accept()?;
    for n in 0..20_000 {
        peer.text(&format!(r#"{{"type":"ticker","s":"s{}","t":1700000000,"d":{n}}}"#, n % 5))?;
    }
    peer.wait()
}

#[tokio::test]
async fn while_an_inbox_is_full_the_newest_value_of_each_topic_waits() {
    let alone = Alone::start(&source(upstream::start(flood), "", TICKER), 10);
    until(|| alone.counters.messages.load(Relaxed) == 20_000).await;
    let mut values = BTreeMap::new();
    alone.take(&mut values);
    let conflated = alone.sequencer.counters().conflated;
    assert!(conflated > 10_000, "{conflated}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    alone.take(&mut values);
    for (topic, values) in &values {
        assert!(values.is_sorted() && values.last() >= Some(&19_995), "{topic}: {values:?}");
    }
    let published: usize = values.values().map(Vec::len).sum();
    assert_eq!((values.len(), published as u64 + conflated), (5, 20_000));
}

#[tokio::test]
async fn more_waiting_topics_than_an_inbox_takes_stop_receiving_until_there_is_room() {
    let alone = Alone::start(&source(upstream::start(flood), "", TICKER), 3);
    until(|| alone.counters.waits.load(Relaxed) > 0).await;
    let stopped = alone.counters.messages.load(Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(alone.counters.messages.load(Relaxed), stopped);
    assert!(stopped < 20_000);
    let mut values = BTreeMap::new();
    let end = Instant::now() + WAIT;
    while values.values().filter(|values: &&Vec<u64>| values.last() >= Some(&19_995)).count() < 5 {
        alone.take(&mut values);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(Instant::now() < end);
    }
    assert_eq!(alone.counters.messages.load(Relaxed), 20_000);
    assert!(values.values().all(|values| values.is_sorted()), "{values:?}");
}
