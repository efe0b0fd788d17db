//! The admin listener over a real connection: publishing, topics, health.
#![forbid(unsafe_code)]

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use engine::{
    settings::Limits,
    shard::{
        inbox::{Inbox, Message},
        shared::Shared,
        stats::Stats,
    },
    topic::{epoch::Epoch, policy::Policies},
    update::Op,
};
use gateway::{
    config::Config,
    health::Health,
    http::{
        admin::{Admin, Rules},
        gate::Gate,
        listener::Listener,
        page::Page,
    },
    intake::{clocked::ClockedSequencer, publisher::Publisher},
    metrics::watched::Watched,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PUBLISH_BYTES: usize = 64 * 1024;
const SOON: Duration = Duration::from_millis(200);

fn limits() -> Limits {
    Limits { publish_bytes: PUBLISH_BYTES, ..Config::embedded_demo().limits }
}

struct Gateway {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    admin: Arc<Admin>,
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(limits())
    }

    fn start_with(limits: Limits) -> Self {
        let inbox = Inbox::new(100_000, usize::MAX, net::Waker::unconnected());
        let sequencer = ClockedSequencer::new(
            Epoch::from(1),
            vec![inbox.clone()],
            &limits,
            Policies::default(),
            Instant::now(),
        );
        let shared = Arc::new(Shared::new(sequencer.epoch(), None, 10, &Config::embedded_demo().settings()));
        let data = "127.0.0.1:9001".parse().unwrap();
        let watched = Watched {
            keys: Arc::new(gateway::access::keys::Keys::start(Default::default(), &limits, 1).unwrap()),
            revocation_file: Arc::default(),
            health: Health::new(sequencer.inboxes(), 10, 1 << 20),
            publisher: Publisher::new(sequencer),
            shared: shared.clone(),
            sources: Arc::default(),
            state: Arc::default(),
            tls: None,
            reloads: Arc::default(),
            audit: Arc::default(),
            io: Arc::new(gateway::system::Choice { io: net::Io::Epoll, reason: "a test".to_owned() }),
            baseline: Arc::default(),
        };
        let rules = Rules {
            gate: Gate::new(true, Vec::new()),
            keys: Vec::new(),
            limits: limits.clone(),
            access: Arc::default(),
            drain: Duration::ZERO,
            config: Default::default(),
            checks: Arc::default(),
        };
        let admin = Admin::new(watched, Page::new("ws", data), rules, tokio::sync::mpsc::channel(1).0);
        admin.listening.store(true, Ordering::Relaxed);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Listener::new(listener, &limits, None).unwrap().serve(admin.clone()));
        Self { address, inbox, shared, admin }
    }

    /// Status, head and body of the answer.
    async fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let typed =
            if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{typed}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn publish(&self, content_type: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.send("POST", "/publish", content_type, body.as_bytes()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn json(&self, body: &str) -> (u16, Value) {
        self.publish("application/json", body).await
    }

    async fn lines(&self, body: &str) -> (u16, Value) {
        self.publish("application/x-ndjson", body).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.send("GET", path, "", b"").await;
        (status, body)
    }

    /// Versions and JSON of the updates that a shard was given.
    fn taken(&self) -> Vec<(u64, String)> {
        let mut taken = Vec::new();
        while let Some(message) = self.inbox.pop() {
            let Message::Updates(batch) = message else { panic!("{message:?}") };
            for op in &batch.ops {
                if let Op::Update(update) = op {
                    taken.push((update.version, String::from_utf8(update.json.to_vec()).unwrap()));
                }
            }
        }
        taken
    }
}

#[tokio::test]
async fn data_is_passed_on_byte_for_byte() {
    let gateway = Gateway::start().await;
    let data = "{ \"b\" : 1.50,\n \"a\":\"\\u00e9 é\", \"b\":[ ] }";
    let answer = gateway.json(&format!(" {{\"ts\":{},\"data\": {data} ,\"topic\":\"t\"}}\n", now_us())).await;
    assert_eq!(answer, (200, json!({"accepted": 1})));
    let (version, update) = gateway.taken().remove(0);
    assert_eq!(version, 1);
    assert!(update.ends_with(&format!(",\"data\":{data}}}")), "{update}");
    assert_eq!(gateway.get("/topics/t").await, (200, update));
}

#[tokio::test]
async fn data_may_be_null_but_not_absent() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.json(r#"{"topic":"t","data":null}"#).await.0, 200);
    let (status, answer) = gateway.json(r#"{"topic":"t"}"#).await;
    assert_eq!((status, &answer["accepted"], &answer["index"]), (400, &json!(0), &json!(0)));
    assert_eq!(answer["reason"], "data is missing; write null where there is none");
}

#[tokio::test]
async fn an_array_is_one_version_or_nothing() {
    let gateway = Gateway::start().await;
    let good = r#"[{"topic":"a","data":1},{"topic":"b","data":2}]"#;
    assert_eq!(gateway.json(good).await, (200, json!({"accepted": 2})));
    assert_eq!(gateway.taken().iter().map(|update| update.0).collect::<Vec<_>>(), [1, 1]);
    for (bad, index) in [
        (r#"[{"topic":"a","data":1},{"topic":"b..c","data":2}]"#, 1),
        (r#"[{"topic":"a","data":1},{"topic":"b"},{"data":1}]"#, 1),
        (r#"[{"topic":"a","data":1},{"topic":"b","data":2},["c",3]]"#, 2),
        (r#"[{"topic":"a","data":1},{"topic":"b","data":tru}]"#, 1),
        (r#"[{"topic":"a","data":1}] x"#, 1),
        (r#"[{"topic":"a","data":1}"#, 1),
    ] {
        let (status, answer) = gateway.json(bad).await;
        assert_eq!(
            (status, &answer["accepted"], &answer["index"]),
            (400, &json!(0), &json!(index)),
            "{bad} {answer}"
        );
        assert!(!answer["reason"].as_str().unwrap().is_empty());
    }
    assert!(gateway.taken().is_empty());
    assert_eq!(gateway.json("[]").await, (200, json!({"accepted": 0})));
}

#[tokio::test]
async fn lines_stop_at_the_first_bad_one_and_count_exactly() {
    let gateway = Gateway::start().await;
    let good = "{\"topic\":\"a\",\"data\":1}\r\n\n  \n{\"topic\":\"b\",\"data\":2}";
    assert_eq!(gateway.lines(good).await, (200, json!({"accepted": 2})));
    let (status, answer) = gateway.lines(&format!("\n{good}\nnonsense\n{good}")).await;
    assert_eq!((status, &answer["accepted"], &answer["index"]), (400, &json!(2), &json!(2)));
    let (status, answer) = gateway.lines(&format!("{good}\n{{\"topic\":\"c.\",\"data\":1}}\n{good}")).await;
    assert_eq!((status, &answer["accepted"], &answer["index"]), (400, &json!(2), &json!(2)));
    assert!(answer["reason"].as_str().unwrap().starts_with("bad topic: c. "));
    assert_eq!(gateway.taken().len(), 6);
}

#[tokio::test]
async fn many_lines_are_counted_over_all_steps() {
    let gateway = Gateway::start().await;
    let mut body = r#"{"topic":"a","data":1}"#.to_owned() + "\n";
    body = body.repeat(2000);
    assert!(body.len() < PUBLISH_BYTES);
    assert_eq!(gateway.lines(&body).await, (200, json!({"accepted": 2000})));
}

#[tokio::test]
async fn a_time_in_another_unit_is_refused_with_a_hint() {
    let gateway = Gateway::start().await;
    let now_us = now_us();
    for (ts, unit) in [
        (now_us / 1_000_000, "seconds"),
        (now_us / 1_000, "milliseconds"),
        (now_us * 1_000, "nanoseconds"),
        (now_us + 25 * 3_600_000_000, "is in microseconds since the Unix epoch"),
    ] {
        let (status, answer) = gateway.json(&format!(r#"{{"topic":"t","data":1,"ts":{ts}}}"#)).await;
        assert_eq!(status, 400);
        assert!(answer["reason"].as_str().unwrap().ends_with(unit), "{answer}");
    }
    let (status, _) =
        gateway.json(&format!(r#"{{"topic":"t","data":1,"ts":{}}}"#, now_us - 3_600_000_000)).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_value_over_its_bound_is_refused_with_its_key() {
    let gateway = Gateway::start_with(Limits { value_bytes: 100, ..limits() });
    let long = format!(r#"{{"topic":"b","data":"{}"}}"#, "x".repeat(99));
    let good = format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(98));
    for (accepted, (status, answer)) in [
        (0, gateway.json(&format!("[{good},{long}]")).await),
        (1, gateway.lines(&format!("{good}\n{long}\n{good}")).await),
    ] {
        assert_eq!((status, &answer["accepted"], &answer["index"]), (400, &json!(accepted), &json!(1)));
        assert!(answer["reason"].as_str().unwrap().contains("[limits] value_bytes is 100"), "{answer}");
    }
}

#[tokio::test]
async fn each_item_refused_is_counted_wherever_it_fails() {
    let gateway = Gateway::start().await;
    for body in ["nonsense", r#"{"topic":"t"}"#, r#"[{"topic":"a","data":1},{"topic":"b","data":tru}]"#] {
        assert_eq!(gateway.json(body).await.0, 400);
    }
    for body in ["{\"topic\":\"a\",\"data\":1}\n{}", "{\"topic\":\"a b\",\"data\":1}"] {
        assert_eq!(gateway.lines(body).await.0, 400);
    }
    let metrics = gateway.get("/metrics").await.1;
    assert!(metrics.contains("\nfanwire_updates_refused_total 5\n"), "{metrics}");
}

#[tokio::test]
async fn changes_of_a_table_are_refused_beside_data_and_where_there_is_no_table() {
    let gateway = Gateway::start().await;
    for field in [r#""set":{}"#, r#""del":[]"#, r#""reset":true"#] {
        let (status, answer) = gateway.json(&format!(r#"{{"topic":"t","data":1,{field}}}"#)).await;
        assert_eq!(status, 400);
        assert!(
            answer["reason"].as_str().unwrap().contains("data stands beside set, del or reset"),
            "{answer}"
        );
        let (status, answer) = gateway.json(&format!(r#"{{"topic":"t",{field}}}"#)).await;
        assert_eq!(status, 400);
        assert!(
            answer["reason"].as_str().unwrap().contains("topic t is not keyed ([[topic]] mode)"),
            "{answer}"
        );
    }
    assert_eq!(gateway.json(r#"{"topic":"t","data":1,"note":[]}"#).await.0, 200);
}

#[tokio::test]
async fn every_refusal_is_one_line_of_json() {
    let gateway = Gateway::start().await;
    let long = vec![b' '; PUBLISH_BYTES + 1];
    for (method, path, content_type, body, status) in [
        ("POST", "/publish", "text/plain", b"x".as_slice(), 415),
        ("POST", "/publish", "", b"x", 415),
        ("POST", "/publish", "application/json", &long, 413),
        ("POST", "/publish", "application/json; charset=utf-8", b"1", 400),
        ("GET", "/publish", "", b"", 405),
        ("PUT", "/topics/a", "", b"", 405),
        ("POST", "/metrics", "", b"", 405),
        ("GET", "/nothing", "", b"", 404),
        ("GET", "/topics/none", "", b"", 404),
        ("GET", "/topics/", "", b"", 404),
        ("DELETE", "/topics/none", "", b"", 404),
        ("GET", "/topics/%ff", "", b"", 400),
        ("GET", "/topics?limit=x", "", b"", 400),
    ] {
        let (got, head, body) = gateway.send(method, path, content_type, body).await;
        assert_eq!(got, status, "{method} {path} {content_type}: {body}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["code"], json!(status));
        assert!(answer["reason"].is_string() && !body.contains('\n'));
    }
    let (_, head, _) = gateway.send("GET", "/publish", "", b"").await;
    assert!(head.contains("allow: post"), "{head}");
}

#[tokio::test]
async fn a_much_too_long_body_is_answered_before_it_is_read() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn topics_are_listed_shown_and_removed_by_any_spelling_of_their_name() {
    let gateway = Gateway::start().await;
    let body = r#"{"topic":"x/y:z@1","data":1}
                  {"topic":"b.2","data":1}
                  {"topic":"b.1","data":1}"#;
    gateway.lines(body).await;
    let (status, list) = gateway.get("/topics").await;
    let rows: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        rows.iter().map(|row| row["topic"].as_str().unwrap()).collect::<Vec<_>>(),
        ["b.1", "b.2", "x/y:z@1"]
    );
    assert!(
        rows.iter().all(|row| row["v"] == 1 && row["ts"].as_i64().unwrap() > 0 && row.get("data").is_none())
    );
    let (_, list) = gateway.get("/topics?prefix=b%2E&after=b.1&limit=100000").await;
    assert!(list.starts_with(r#"[{"topic":"b.2","v":1,"#), "{list}");
    assert_eq!(gateway.get("/topics?prefix=none").await, (200, "[]".to_owned()));
    for path in ["/topics/x/y:z@1", "/topics/x%2Fy%3Az%401"] {
        let (status, topic) = gateway.get(path).await;
        assert_eq!((status, &topic[..19]), (200, r#"{"topic":"x/y:z@1","#), "{path}");
    }
    gateway.taken();
    assert_eq!(gateway.send("DELETE", "/topics/x%2fy:z@1", "", b"").await.0, 204);
    let gone = gateway.taken();
    assert!(gone[0].1.contains(r#""v":2,"#) && gone[0].1.ends_with(r#""gone":true}"#), "{gone:?}");
    assert_eq!(gateway.get("/topics/x/y:z@1").await.0, 404);
}

#[tokio::test]
async fn a_publisher_waits_for_room_and_is_not_refused() {
    let gateway = Gateway::start().await;
    let many = vec![r#"{"topic":"a","data":1}"#; 1000].join("\n");
    for _ in 0..100 {
        assert_eq!(gateway.lines(&many).await.0, 200);
    }
    let waiting = gateway.lines(&many);
    let drained = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.taken().len()
    };
    let (answer, drained) = tokio::join!(waiting, drained);
    assert_eq!((answer.0, drained), (200, 100_000));
}

#[tokio::test]
async fn readiness_tells_of_starting_and_draining() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/readyz").await.0, 200);
    gateway.admin.listening.store(false, Ordering::Relaxed);
    assert_eq!(
        gateway.get("/readyz").await,
        (503, r#"{"code":503,"reason":"not every shard listens yet"}"#.to_owned())
    );
    gateway.shared.start_draining();
    assert_eq!(gateway.get("/readyz").await, (503, r#"{"code":503,"reason":"draining"}"#.to_owned()));
    assert_eq!(gateway.json(r#"{"topic":"t","data":1}"#).await.0, 200, "publishing goes on");
}

/// Answers scrapes as a shard does.
async fn answer_scrapes(inbox: Arc<Inbox>) {
    loop {
        if let Some(Message::Scrape(answer)) = inbox.pop() {
            let mut stats = Box::new(Stats { connections: 3, frames_out: 5, ..Stats::default() });
            stats.refused(429, None);
            stats.age_us.record(40_000).unwrap();
            answer(stats);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn metrics_and_health_ask_the_shards() {
    let gateway = Gateway::start().await;
    let (status, reason) = gateway.get("/healthz").await;
    assert_eq!((status, reason.as_str()), (503, r#"{"code":503,"reason":"shards [0] do not answer"}"#));
    assert!(gateway.get("/metrics").await.1.contains("fanwire_shard_up{shard=\"0\"} 0\n"));

    while gateway.inbox.pop().is_some() {}
    let shard = tokio::spawn(answer_scrapes(gateway.inbox.clone()));
    assert_eq!(gateway.get("/healthz").await, (200, "ok".to_owned()));
    let (status, metrics) = gateway.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "fanwire_shard_up{shard=\"0\"} 1",
        "fanwire_connections{shard=\"0\"} 3",
        "fanwire_frames_out_total 5",
        "fanwire_refused_total{status=\"429\"} 1",
        "fanwire_ended_total{reason=\"stalled\"} 0",
        "fanwire_age_seconds_bucket{le=\"0.02\"} 0",
        "fanwire_age_seconds_bucket{le=\"0.05\"} 1",
        "fanwire_age_seconds_bucket{le=\"+Inf\"} 1",
        "fanwire_age_seconds_count 1",
        "fanwire_source_errors_total 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
    for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        assert!(value.parse::<f64>().unwrap() >= 0.0);
    }
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("fanwire_") || line.starts_with("process_"), "{line}");
    }
    shard.abort();
}

#[tokio::test]
async fn the_page_is_one_file_that_knows_its_listener() {
    let gateway = Gateway::start().await;
    let (status, head, html) = gateway.send("GET", "/", "", b"").await;
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: text/html")
            && head.contains("content-security-policy: default-src 'none'")
    );
    assert!(html.contains("PORT = '9001'") && !html.contains("{{"), "host and port are filled in");
    for elsewhere in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
}

fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// Half of a request head, or nothing of one, on so many connections.
async fn crowd(gateway: &Gateway, said: &[u8], connections: usize) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        crowd.push(stream);
    }
    crowd
}

fn counted(metrics: &str, counter: &str) -> u64 {
    let name = format!("fanwire_admin_{counter}_total ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).expect(counter).parse().unwrap()
}

#[tokio::test]
async fn the_oldest_idle_connection_makes_room_for_the_next() {
    let gateway = Gateway::start_with(Limits { admin_connections: 2, ..limits() });
    for said in [&b""[..], b"GET /hea", b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut crowd = crowd(&gateway, said, 5).await;
        assert_eq!(gateway.json(r#"{"topic":"t","data":1}"#).await.0, 200, "{said:?}");
        let mut answer = String::new();
        // Closed, be it with a reset.
        let _ = crowd[0].read_to_string(&mut answer).await;
    }
    let metrics = gateway.get("/metrics").await.1;
    assert!(counted(&metrics, "connections_evicted") >= 6, "{metrics}");
    assert_eq!(counted(&metrics, "connections_refused"), 0);
}

#[tokio::test]
async fn while_all_places_are_busy_the_gateway_still_says_how_it_is() {
    let gateway = Gateway::start_with(Limits { admin_connections: 3, ..limits() });
    let head = b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let busy = crowd(&gateway, head, 3).await;
    // More than the reserve has.
    let _idle = crowd(&gateway, b"GET /hea", 40).await;
    for path in ["/readyz", "/metrics", "/healthz"] {
        let (status, _) = tokio::time::timeout(Duration::from_secs(5), gateway.get(path)).await.expect(path);
        assert_eq!(status, if path == "/healthz" { 503 } else { 200 }, "{path}: no shard answers here");
    }
    let (status, head, body) = gateway.send("POST", "/publish", "application/json", b"{}").await;
    assert_eq!(status, 503, "{body}");
    assert!(
        head.contains("retry-after: ") && body.contains("[limits] admin_connections = 3"),
        "{head} {body}"
    );
    assert_eq!(gateway.get("/topics").await.0, 503);
    drop(busy);
    let mut tries = 0;
    while gateway.json(r#"{"topic":"t","data":1}"#).await.0 != 200 {
        tries += 1;
        assert!(tries < 1000, "there is room again");
    }
    assert!(counted(&gateway.get("/metrics").await.1, "connections_refused") >= 2);
}

#[tokio::test]
async fn a_crowd_pushes_out_nobody_who_asks_how_the_gateway_is_while_its_shards_are_busy() {
    let gateway = Gateway::start_with(Limits { admin_connections: 3, ..limits() });
    let head = b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let _busy = crowd(&gateway, head, 3).await;
    for path in ["/healthz", "/metrics", "/readyz"] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let shard = tokio::spawn(answer_scrapes(gateway.inbox.clone()));
        assert_eq!(gateway.get("/healthz").await.0, 200);
        // From now on it has other things to do.
        shard.abort();
        let mut honest = TcpStream::connect(gateway.address).await.unwrap();
        honest.write_all(get.as_bytes()).await.unwrap();
        // More than the reserve has.
        let _crowd = crowd(&gateway, get.as_bytes(), 200).await;
        let mut answer = String::new();
        honest.read_to_string(&mut answer).await.expect(path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn who_sends_many_requests_at_once_lets_a_newcomer_be_answered_between_them() {
    const REQUESTS: usize = 400;
    let gateway = Gateway::start().await;
    let get = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Whatever is sent here waits until this task waits too, for it shares its thread with the listener.
    let connect = |said: &[u8]| {
        let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
        stream.write_all(said).unwrap();
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    };
    let eager: Vec<_> = (0..8).map(|_| connect(&get.repeat(REQUESTS))).collect();
    let newcomer = connect(get);
    newcomer.readable().await.unwrap();
    let mut answers = Vec::new();
    for stream in &eager {
        // Nothing may have come at all.
        let _ = stream.try_read_buf(&mut answers);
    }
    let answers = String::from_utf8(answers).unwrap().matches("HTTP/1.1 200 ").count();
    assert!(answers <= 3 * eager.len(), "{answers} answers came first");
}

#[tokio::test]
async fn a_request_head_has_its_time_however_it_comes() {
    let gateway = Gateway::start_with(Limits { handshake: SOON, ..limits() });
    for said in [&b""[..], b"GET /hea"] {
        let mut late = TcpStream::connect(gateway.address).await.unwrap();
        late.write_all(said).await.unwrap();
        late.read_to_end(&mut Vec::new()).await.unwrap();
    }
    let mut second = TcpStream::connect(gateway.address).await.unwrap();
    second.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        second.read_buf(&mut answer).await.unwrap();
    }
    second.write_all(b"GET /rea").await.unwrap();
    second.read_to_end(&mut answer).await.unwrap();
    // What comes byte by byte has no more time.
    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    let began = Instant::now();
    while slow.write_all(b"G").await.is_ok() && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    let metrics = gateway.get("/metrics").await.1;
    assert_eq!((counted(&metrics, "heads_late"), counted(&metrics, "connections_idle")), (4, 0));
}

#[tokio::test]
async fn a_request_head_has_64_kib_and_100_fields() {
    let gateway = Gateway::start_with(limits());
    let status = async |head: String| {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let begin = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for (bytes, expected) in [(60_000, "200"), (65_536, "200"), (65_537, "431"), (100_000, "431")] {
        let rest = bytes - begin.len() - "A: \r\n\r\n".len();
        assert_eq!(status(format!("{begin}A: {}\r\n\r\n", "a".repeat(rest))).await, expected, "{bytes}");
    }
    for (fields, expected) in [(99, "200"), (100, "200"), (101, "431")] {
        assert_eq!(
            status(format!("{begin}{}\r\n", "A: a\r\n".repeat(fields - 2))).await,
            expected,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_goes_idle_after_its_answer_is_closed() {
    let gateway = Gateway::start_with(Limits { admin_idle: SOON, ..limits() });
    let mut idle = TcpStream::connect(gateway.address).await.unwrap();
    idle.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    idle.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    assert_eq!(gateway.admin.counters.connections_idle.load(Ordering::Relaxed), 1);
}

/// The head of a publish with a body of so many bytes, which ends the connection.
fn publish_head(bytes: usize) -> String {
    format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {bytes}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_with_its_key() {
    let gateway = Gateway::start_with(Limits { admin_body: SOON, ..limits() });
    let mut late = TcpStream::connect(gateway.address).await.unwrap();
    late.write_all(format!("{}{{", publish_head(9)).as_bytes()).await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("[limits] admin_body = 200ms"),
        "{answer}"
    );
    assert_eq!(gateway.admin.counters.bodies_late.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_slower_than_the_least_rate_is_refused_however_long_it_may_take() {
    let gateway = Gateway::start_with(Limits {
        admin_body: Duration::from_secs(3_600),
        admin_bytes_per_s: 1000,
        ..limits()
    });
    let body = format!("\"{}\"", "x".repeat(60_000));
    let body = format!(r#"{{"topic":"t","data":{body}}}"#);
    // The clock of this test runs as soon as nothing else does.
    for (bytes_per_s, status) in [(2000, 200), (500, 408)] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(publish_head(body.len()).as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        let send = async {
            for piece in body.as_bytes().chunks(bytes_per_s) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if to.write_all(piece).await.is_err() {
                    break;
                }
            }
        };
        let mut answer = [0; 12];
        let read = from.read_exact(&mut answer);
        tokio::pin!(send);
        tokio::select! {
            read = read => drop(read.unwrap()),
            () = async { send.await; std::future::pending().await } => {}
        }
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes());
    }
    assert_eq!(gateway.admin.counters.bodies_slow.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn long_bodies_wait_for_a_place_and_short_ones_do_not() {
    let limits = Limits { admin_publishes: 1, publish_bytes: 1 << 20, ..limits() };
    let gateway = Gateway::start_with(limits);
    let long = format!(r#"{{"topic":"long","data":"{}"}}"#, "x".repeat(200_000));
    let mut holder = TcpStream::connect(gateway.address).await.unwrap();
    let all_but_one = &long.as_bytes()[..long.len() - 1];
    holder.write_all(publish_head(long.len()).as_bytes()).await.unwrap();
    holder.write_all(all_but_one).await.unwrap();
    while gateway.admin.publishes_free() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.json(r#"{"topic":"t","data":1}"#).await, (200, json!({"accepted": 1})));
    let waiting = gateway.json(&long);
    let end = async {
        while gateway.admin.counters.publishes_waited.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gateway.get("/topics/long").await.0, 404);
        holder.write_all(b"}").await.unwrap();
        let mut answer = String::new();
        holder.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    assert_eq!(tokio::join!(waiting, end).0, (200, json!({"accepted": 1})));
}

#[tokio::test]
async fn an_array_has_a_bound_in_updates_and_keys_and_lines_have_none() {
    let gateway = Gateway::start_with(Limits { atomic_updates: 3, ..limits() });
    let one = r#"{"topic":"a","data":1}"#;
    let array = |n: usize| format!("[{}]", vec![one; n].join(","));
    assert_eq!(gateway.json(&array(3)).await, (200, json!({"accepted": 3})));
    for many in
        [array(4), array(1000), format!(r#"[{one},{{"topic":"k","set":{{"x":1,"y":2}},"del":["z"]}}]"#)]
    {
        let (status, answer) = gateway.json(&many).await;
        assert_eq!((status, &answer["accepted"]), (413, &json!(0)), "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains("[limits] atomic_updates = 3"), "{answer}");
    }
    assert_eq!(gateway.lines(&vec![one; 1000].join("\n")).await.0, 200);
    assert_eq!(gateway.taken().len(), 1003);
}

#[tokio::test]
async fn a_publisher_that_finds_no_room_in_time_is_told_what_was_taken() {
    let gateway = Gateway::start_with(Limits { admin_body: SOON, ..limits() });
    let many = vec![r#"{"topic":"a","data":1}"#; 1000].join("\n");
    let mut taken = 0;
    let (status, head, body) = loop {
        // Nobody takes anything out of the inbox.
        let answer = gateway.send("POST", "/publish", "application/x-ndjson", many.as_bytes()).await;
        if answer.0 != 200 {
            break answer;
        }
        taken += 1000;
    };
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: "), "{head}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert!(answer["reason"].as_str().unwrap().contains("[limits] admin_body"), "{answer}");
    taken += answer["accepted"].as_u64().unwrap();
    assert_eq!(answer["index"], answer["accepted"]);
    assert_eq!(gateway.send("DELETE", "/topics/a", "", b"").await.0, 503);
    assert_eq!(gateway.taken().len() as u64, taken);
    assert_eq!(gateway.json(r#"{"topic":"a","data":1}"#).await.0, 200);
    assert_eq!(gateway.admin.counters.publishes_late.load(Ordering::Relaxed), 1);
}
