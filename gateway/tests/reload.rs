//! Reloading the configuration of the real binary: what holds at once, what needs a restart, and that nobody is dropped.
#![forbid(unsafe_code)]

mod contract;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use contract::{ADMIN, ADMIN_KEY, Answer, Gateway, Socket, command, config_file, http, output};
use serde_json::Value;

const SERVER: &str = "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 2\n";

/// A gateway, and its file, which a test writes anew.
struct Reloaded {
    gateway: Gateway,
    file: PathBuf,
}

impl Reloaded {
    fn start(rest: &str) -> Self {
        let file = config_file(&format!("{SERVER}{rest}"));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        let gateway = Gateway::spawn(command.arg("--config").arg(&file).env("RUST_LOG", "off"));
        Self { gateway, file }
    }

    fn write(&self, rest: &str) {
        fs::write(&self.file, format!("{SERVER}{rest}")).unwrap();
    }

    fn reload(&self) -> (u16, Value) {
        self.ask("/reload", ADMIN)
    }

    fn ask(&self, path: &str, headers: &str) -> (u16, Value) {
        let Answer { status, body, .. } = http(&self.gateway.admin, "POST", path, headers, "");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Writes the file, has it reloaded, and gives what was applied.
    fn apply(&self, rest: &str) -> Vec<String> {
        self.write(rest);
        let (status, answer) = self.reload();
        assert_eq!(status, 200, "{rest}: {answer}");
        texts(&answer["applied"])
    }

    fn metrics(&self) -> String {
        http(&self.gateway.admin, "GET", "/metrics", ADMIN, "").body
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_changed_is_told_and_the_digest_is_of_what_holds() {
    let gateway = Reloaded::start("[limits]\nstall = \"30s\"\n");
    let before = gateway.reload();
    assert_eq!((before.0, &before.1["applied"]), (200, &Value::Array(Vec::new())));
    assert!(before.1.get("restart").is_none());
    let digest = before.1["digest"].as_str().unwrap().to_owned();
    assert!(gateway.metrics().contains(&format!("\nfanwire_config_info{{digest=\"{digest}\"}} 1\n")));

    let (_, partial) = gateway.ask("/reload?partial=1", ADMIN);
    assert!(texts(&partial["applied"]).is_empty() && texts(&partial["restart"]).is_empty(), "{partial}");

    let applied = gateway.apply(
        "[limits]\nstall = \"60s\"\nvalue_bytes = \"2KiB\"\n[fanout]\ninterval_ms_menu = [50, 100]\n\
         [access]\nhosts = [\"a.example\"]\n",
    );
    assert_eq!(
        applied,
        [
            "fanout.interval_ms_menu: [] -> [50, 100]",
            "limits.stall: 30s -> 1m",
            "limits.value_bytes: 1MiB -> 2KiB",
            "access.hosts: [] -> [\"a.example\"]"
        ]
    );
    let (_, after) = gateway.reload();
    let newer = after["digest"].as_str().unwrap();
    assert!(newer != digest && texts(&after["applied"]).is_empty());
    let metrics = gateway.metrics();
    assert!(metrics.contains(&format!("fanwire_config_info{{digest=\"{newer}\"}} 1\n")), "{metrics}");
    assert!(metrics.contains("\nfanwire_config_reloads_total{result=\"applied\"} 4\n"), "{metrics}");
    let at_s = gateway.metric("fanwire_config_last_reload_success_timestamp_seconds");
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now_s - 60..=now_s + 1).contains(&at_s), "{at_s} {now_s}");
}

#[test]
fn a_mistake_in_the_file_changes_nothing() {
    let gateway = Reloaded::start("[limits]\npatterns = 2\n");
    gateway.write("[limits]\npatterns = 1\nstall = 30\n");
    let (status, answer) = gateway.reload();
    assert_eq!((status, &answer["code"]), (400, &Value::from(400)));
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains(":7: [limits] stall = 30: ") && reason.contains("\"30s\""), "{reason}");
    assert!(
        Socket::connect(&gateway.gateway.data, "/ws?topics=a,b").is_ok(),
        "two patterns are allowed still"
    );
    fs::remove_file(&gateway.file).unwrap();
    assert_eq!(gateway.reload().0, 400);
    assert!(gateway.metrics().contains("\nfanwire_config_reloads_total{result=\"invalid\"} 2\n"));
}

/// Keys that need a restart, each with another value than its default.
const RESTART: &[(&str, &str)] = &[
    // A topic of it lives.
    ("topic.here.*", "[[topic]]\npattern = \"here.*\"\nmode = \"keyed\""),
    ("limits.connections", "[limits]\nconnections = 77"),
    ("limits.topics", "[limits]\ntopics = 1000"),
    ("limits.classes", "[limits]\nclasses = 1000"),
    ("limits.shard_patterns", "[limits]\nshard_patterns = 10000"),
    ("limits.inbox_updates", "[limits]\ninbox_updates = 1000"),
    ("limits.inbox_bytes", "[limits]\ninbox_bytes = \"1MiB\""),
    ("limits.inbox_messages", "[limits]\ninbox_messages = 100"),
    ("limits.statuses", "[limits]\nstatuses = 10"),
    ("limits.tombstones", "[limits]\ntombstones = 10"),
    ("fanout.frame_bytes_max", "[fanout]\nframe_bytes_max = \"64KiB\""),
    ("fanout.flush_grid_ms", "[fanout]\nflush_grid_ms = 2"),
    ("fanout.flush_updates", "[fanout]\nflush_updates = 7"),
    ("state.path", "[state]\npath = \"reload-test.state\""),
    ("source.up", "[[source]]\nkind = \"fanwire\"\nname = \"up\"\nurl = \"ws://127.0.0.1:1/ws\""),
];

#[test]
fn what_needs_a_restart_is_told_and_nothing_is_applied() {
    let gateway = Reloaded::start("");
    gateway.gateway.publish("here.a", "1");
    for (key, text) in RESTART {
        gateway.write(&format!("[access]\nhosts = [\"a.example\"]\n{text}\n"));
        let (status, answer) = gateway.reload();
        assert_eq!((status, &answer["code"]), (409, &Value::from(409)), "{key}: {answer}");
        assert_eq!(texts(&answer["restart"]), [*key], "{answer}");
        assert!(!answer["reason"].as_str().unwrap().is_empty());
    }
    let moved = SERVER.replace("data = \"127.0.0.1:0\"", "data = \"127.0.0.1:1\"").replace("= 2", "= 1");
    fs::write(&gateway.file, moved).unwrap();
    assert_eq!(texts(&gateway.reload().1["restart"]), ["server.data", "server.shards"]);
    let mut count = RESTART.len() + 1;
    // Where the environment names it the file does not count.
    if std::env::var_os("FANWIRE_SERVER__IO").is_none() {
        let named = format!("[server]\nio = \"epoll\"\n{}", SERVER.trim_start_matches("[server]\n"));
        fs::write(&gateway.file, named).unwrap();
        assert_eq!(texts(&gateway.reload().1["restart"]), ["server.io"]);
        count += 1;
    }
    assert!(
        gateway
            .metrics()
            .contains(&format!("\nfanwire_config_reloads_total{{result=\"restart\"}} {count}\n"))
    );
    // The host was not taken either.
    let host = "Host: a.example\r\nConnection: close\r\n";
    assert_eq!(http(&gateway.gateway.admin, "GET", "/livez", host, "").status, 403);

    gateway.write("[access]\nhosts = [\"a.example\"]\n[limits]\nclasses = 1000\nclasses_per_ip = 500\n");
    let (status, answer) = gateway.ask("/reload?partial=1", ADMIN);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(texts(&answer["restart"]), ["limits.classes"]);
    assert_eq!(
        texts(&answer["applied"]),
        ["limits.classes_per_ip: 0 -> 500", "access.hosts: [] -> [\"a.example\"]"]
    );
    assert_eq!(http(&gateway.gateway.admin, "GET", "/livez", host, "").status, 200);
    // What waits for a restart does so still.
    assert_eq!(texts(&gateway.reload().1["restart"]), ["limits.classes"]);
    let again = gateway.ask("/reload?partial=1", ADMIN).1;
    assert!(texts(&again["applied"]).is_empty() && texts(&again["restart"]) == ["limits.classes"], "{again}");
}

#[test]
fn keys_that_reload_are_listed() {
    let printed = output(command("").args(["--check", "--reloadable"]));
    let listed = String::from_utf8(printed.stdout).unwrap();
    let keys: Vec<&str> = listed.lines().collect();
    for key in ["limits.stall", "access.hosts", "admin.key.sha256", "server.drain", "compression.level"] {
        assert!(keys.contains(&key), "{key}: {listed}");
    }
    for (key, _) in RESTART {
        assert!(!keys.contains(key), "{key}");
    }
    assert!(!keys.contains(&"server.data") && !keys.contains(&"server.shards"), "{listed}");
}

#[test]
fn signals_that_come_together_are_few_reloads_and_the_last_one_counts() {
    let gateway = Reloaded::start("");
    let begun = Instant::now();
    for _ in 0..200 {
        gateway.gateway.signal("HUP");
    }
    gateway.write("[limits]\nstall = \"9s\"\n");
    gateway.gateway.signal("HUP");
    let ends = Instant::now() + Duration::from_secs(10);
    // What holds then is as if it was applied now: nothing is left to apply.
    while !gateway.metrics().contains("fanwire_config_reloads_total{result=\"applied\"}")
        || gateway.metric("fanwire_config_reloads_total{result=\"applied\"}") < 2
    {
        assert!(Instant::now() < ends, "it is never reloaded");
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(texts(&gateway.reload().1["applied"]), Vec::<String>::new());
    let (reloads, took) =
        (gateway.metric("fanwire_config_reloads_total{result=\"applied\"}"), begun.elapsed());
    assert!(u128::from(reloads) <= took.as_millis() / 100 + 2, "{reloads} reloads in {took:?}");
}

#[test]
fn a_signal_does_the_same() {
    let gateway = Reloaded::start("[limits]\npatterns = 3\n");
    gateway.write("[limits]\npatterns = 1\n");
    gateway.gateway.signal("HUP");
    let ends = Instant::now() + Duration::from_secs(10);
    while !gateway.metrics().contains("fanwire_config_reloads_total{result=\"applied\"} 1\n") {
        assert!(Instant::now() < ends);
    }
    assert_eq!(Socket::connect(&gateway.gateway.data, "/ws?topics=a,b").err(), Some(400));
}

#[test]
fn clients_stay_and_new_limits_hold_for_them() {
    let gateway = Reloaded::start("");
    let data = &gateway.gateway.data;
    let mut sockets: Vec<Socket> =
        (0..40).map(|_| Socket::connect(data, "/ws?topics=a.*&interval_ms=0").ok().unwrap()).collect();
    for socket in &mut sockets {
        socket.until("snapshot");
    }
    let all = "[fanout]\ninterval_ms = 200\ninterval_ms_min = 50\ninterval_ms_menu = [50, 200]\nbuild_bytes = \"2MiB\"\n\
        heartbeat = \"1s\"\npattern_keep = \"1s\"\n[limits]\nconnections_per_ip = 41\nmessage_bytes = \"1KiB\"\n\
        messages_per_s = 50\ntopics_looked_at_per_s = 1000\ncontrol_per_s = 10\nsubscriptions = 2\npatterns = 4\n\
        publish_bytes = \"8KiB\"\nstall = \"5s\"\npinned_bytes = \"1MiB\"\nhandshake = \"1s\"\nidle = \"1s\"\nping = \"2s\"\n\
        pong = \"900ms\"\nvalue_bytes = \"1KiB\"\ntopics_bytes = \"400MiB\"\nhistory_bytes = \"1MiB\"\n\
        kept_pattern_bytes = \"1MiB\"\npatterns_per_ip = 60\nclasses_per_ip = 50\nadmin_connections = 50\n\
        admin_publishes = 2\nadmin_body = \"2s\"\nadmin_idle = \"2s\"\nadmin_bytes_per_s = \"1KiB\"\n\
        admin_answer_bytes = \"1MiB\"\natomic_updates = 2\nhandshakes_per_turn = 4\nsealed_bytes = \"1MiB\"\n\
        status_bytes = \"1MiB\"\nbuild_bytes_per_ip = \"32MiB\"\n\
        handshakes = 1000\nhandshakes_per_ip = \"900/s\"\nhandshake_addresses = 1000\nconnection_age = \"1h\"\n\
        idle_subscribed = \"1h\"\npattern_topics = 999\nconnections_per_sub = 9\ntoken_checks = 99\ntoken_cache = 99\nrevocations = 99\n\
        publishes = \"9/s\"\nwrites = 99\nwrite_bytes = \"1MiB\"\nkeys_refused = [\"constructor\"]\nonce_for = \"1m\"\n\
        once_names = 99\ntimed_keys = 999\ntimed_keys_per_connection = 99\n\
        [compression]\nenabled = false\nlevel = 2\n\
        window_bits = 12\nbytes_min = 100\ncatch_up_bytes = \"128KiB\"\ninflate_ratio = 50\ndictionaries = \"32MiB\"\n\
        dictionaries_per_ip = \"1MiB\"\nuser_agents_off = []\n[overload]\nrungs = 2\nafter = \"1s\"\ncalm = \"2s\"\n\
        interval_ms_max = 500\nbusy_percent = 99\n[state]\ncheckpoint = \"1s\"\nstate_bytes = \"2GiB\"\n\
        [access]\nhosts = [\"a.example\"]\norigins = [\"same-host\", \"none\", \"https://a.example\"]\n\
        token_from = [\"op\"]\nclaim = \"/may\"\nissuer = [\"a\"]\naudience = [\"b\"]\nleeway = \"1s\"\n\
        lifetime_max = \"1h\"\n[access.anonymous]\nsubscribe = [\"*\"]\n[access.everyone]\nsubscribe = [\"a\"]\n\
        [[access.role]]\nwhen = { \"/a\" = \"b\" }\n[audit]\nqueue = 100\npath = \"reload-audit.jsonl\"\n[log]\nfilter = \"error\"\n";
    let raw = "[[raw]]\npath = \"/chat/{room}\"\ntopic = \"chat.{room}\"\n";
    let all = format!("{all}{raw}{ADMIN_KEY}");
    let applied = gateway.apply(&all);
    let listed = output(command("").args(["--check", "--reloadable"])).stdout;
    let listed = String::from_utf8(listed).unwrap();
    let told = |key: &&str| applied.iter().any(|told| told.starts_with(&format!("{key}:")));
    // Certificates need a TLS listener, tokens keys; [server] stands above.
    let other = |key: &&str| {
        let sections = ["server.", "certificate.", "admin.", "source", "topic"];
        let tokens = ["access.clients", "access.jwks", "access.csrf", "access.key"];
        sections.iter().chain(&tokens).any(|section| key.starts_with(section))
    };
    let missing: Vec<&str> = listed.lines().filter(|key| !other(key) && !told(key)).collect();
    assert!(missing.is_empty(), "not changed: {missing:?} of {applied:?}");
    assert!(applied.contains(&"admin.key: changed".to_owned()), "{applied:?}");

    // Nobody was dropped.
    let publish = |topic: &str, data: &str| {
        let body = format!(r#"{{"topic":"{topic}","data":{data}}}"#);
        let headers = format!("{ADMIN}Content-Type: application/json\r\n");
        http(&gateway.gateway.admin, "POST", "/publish", &headers, &body)
    };
    assert_eq!(publish("a.b", "1").status, 200);
    for socket in &mut sockets {
        socket.update("a.b", |update| update["data"] == 1);
    }
    // New limits hold: for values, for admin keys, for addresses and for subscriptions.
    let long = format!("\"{}\"", "x".repeat(2000));
    publish("a.c", &long).assert_refusal_open(400, "a value of 2000 bytes");
    assert_eq!(gateway.ask("/reload", "").0, 401);
    let mut last = Socket::connect(data, "/ws").unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(Socket::connect(data, "/ws").err(), Some(429));
    last.send(r#"{"op":"subscribe","topics":["a","b","c","d","e"]}"#);
    assert!(last.until("error")["reason"].as_str().unwrap().contains("4 are the most"));
    last.send(r#"{"op":"subscribe","topics":["a.b"],"interval_ms":0}"#);
    assert_eq!(last.until("subscribed")["interval_ms"], 50);
    // Those who came before are counted too: they hold 40 classes of 50 on two shards, and 40 connections.
    drop(last);
    drop(sockets.pop());
    // Deadlines that were an hour ahead are near now: an idle one is closed, a silent one pinged.
    let mut idle = loop {
        // The gateway may not have seen yet that they are gone.
        match Socket::connect(data, "/ws") {
            Ok(socket) => break socket,
            Err(status) => assert_eq!(status, 429),
        }
    };
    assert_eq!(idle.close_code(), 4000);
    let ping = loop {
        let (first, payload) = sockets[0].frame();
        if first == 0x89 {
            break payload;
        }
    };
    let mut pong = Vec::new();
    proto::encode::masked_frame(&mut pong, proto::encode::Opcode::Pong, &ping, [1, 2, 3, 4]);
    sockets[0].stream().write_all(&pong).unwrap();

    // And back.
    let back = gateway.apply("");
    assert_eq!(back.len(), applied.len(), "{back:?}");
    assert_eq!(gateway.ask("/reload", "").0, 200, "no key is needed any more");
    assert_eq!(publish("a.c", &long).status, 200);
    assert!(Socket::connect(data, "/ws").is_ok());
}

#[test]
fn sources_are_added_changed_and_removed_by_name() {
    let ticks = |symbols: u32| {
        format!(
            "[[source]]\nkind = \"synthetic\"\nsymbols = {symbols}\nupdates_per_s = 500.0\nstale_after = \"10s\"\n\
             topics = [\"tick.*\"]\n"
        )
    };
    let host = "[[source]]\nkind = \"host\"\nname = \"this\"\ninterval = \"100ms\"\n";
    let gateway = Reloaded::start(&ticks(3));
    let mut socket = Socket::connect(&gateway.gateway.data, "/ws?topics=*&interval_ms=0").ok().unwrap();
    socket.update("tick.S0002", |_| true);

    assert_eq!(gateway.apply(&format!("{}{host}", ticks(3))), ["source.this: added"]);
    socket.update("host.cpu", |_| true);
    assert_eq!(gateway.apply(&format!("{host}{}", ticks(3))), [""; 0], "their order does not matter");
    assert_eq!(gateway.apply(&format!("{host}{}", ticks(5))), ["source.synthetic: changed"]);
    socket.update("tick.S0004", |_| true);
    assert_eq!(gateway.metric("fanwire_sources"), 2);

    assert_eq!(gateway.apply(host), ["source.synthetic: removed"]);
    let status = loop {
        // The one that it began with may be told too.
        let status = socket.until("status");
        if status["reason"].as_str().is_some_and(|reason| reason.contains("removed from the configuration")) {
            break status;
        }
    };
    assert_eq!((&status["state"], &status["topics"][0]), (&"stale".into(), &"tick.*".into()));
    assert_eq!(
        http(&gateway.gateway.admin, "GET", "/topics/tick.S0004", "", "").status,
        200,
        "its topics stay"
    );
    assert_eq!(gateway.metric("fanwire_sources"), 1);
    assert!(!gateway.metrics().contains("source=\"synthetic\""), "nobody waits for it");

    assert_eq!(gateway.apply(&format!("{host}{}", ticks(5))), ["source.synthetic: added"]);
    while socket.until("status")["state"] != "live" {}
    socket.update("tick.S0001", |_| true);

    // One that cannot be leaves all as it was.
    gateway.write(&format!("{host}[[source]]\nkind = \"replay\"\npath = \"/nowhere.ndjson\"\n"));
    assert_eq!(gateway.reload().0, 400);
    socket.update("tick.S0003", |_| true);
}

#[test]
fn the_audit_has_clients_writes_refusals_and_reloads() {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}.jsonl", std::process::id()));
    let _ = fs::remove_file(&path);
    let audit = format!("[audit]\npath = \"{}\"\n{ADMIN_KEY}", path.display());
    let gateway = Reloaded::start(&audit);
    let socket = Socket::connect(&gateway.gateway.data, "/ws?topics=a");
    http(&gateway.gateway.data, "GET", "/nowhere", "", "");
    let headers = format!("{ADMIN}Content-Type: application/json\r\n");
    http(&gateway.gateway.admin, "POST", "/publish", &headers, r#"{"topic":"a","data":1}"#);
    http(&gateway.gateway.admin, "GET", "/topics", ADMIN, "");
    http(&gateway.gateway.admin, "DELETE", "/topics/a", "X-API-Key: none\r\n", "");
    // The file may be moved away: a reload begins another one.
    let moved = path.with_extension("moved");
    fs::rename(&path, &moved).unwrap();
    gateway.apply(&format!("[limits]\nstall = \"7s\"\n{audit}"));
    let lines = |path: &std::path::Path, count: usize| -> Vec<Value> {
        let ends = Instant::now() + Duration::from_secs(10);
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() == count {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            assert!(Instant::now() < ends, "{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let before = lines(&moved, 4);
    assert!(
        socket.is_ok() && before[0]["event"] == "connect" && before[0]["address"] == "127.0.0.1",
        "{before:?}"
    );
    assert!(before[1]["event"] == "refusal" && before[1]["status"] == 404, "{before:?}");
    let told = |line: &Value| {
        ["event", "method", "path", "key", "status"].map(|key| line[key].to_string()).join(" ")
    };
    assert_eq!(told(&before[2]), r#""write" "POST" "/publish" "test" 200"#);
    assert_eq!(told(&before[3]), r#""refusal" "DELETE" "/topics/a" null 401"#);
    assert_eq!(before[2]["address"], "127.0.0.1");
    let after = lines(&path, 2);
    assert_eq!((&after[0]["event"], &after[0]["result"]), (&"reload".into(), &"applied".into()));
    assert_eq!(after[0]["applied"][0], "limits.stall: 30s -> 7s");
    assert_eq!(told(&after[1]), r#""write" "POST" "/reload" "test" 200"#);
    assert!(!fs::read_to_string(&moved).unwrap().contains("fw_"), "no key stands there");
    assert_eq!(gateway.metric("fanwire_audit_lines_total"), 6);
}

#[test]
fn a_mode_holds_for_topics_that_are_born_after_the_reload() {
    let keyed = |pattern: &str| format!("[[topic]]\npattern = \"{pattern}\"\nmode = \"keyed\"\n");
    let gateway = Reloaded::start("");
    gateway.gateway.publish("plain.a", "1");
    assert_eq!(gateway.apply(&keyed("book.*")), ["topic.book.*: added"]);
    let headers = "Content-Type: application/json\r\n";
    let set = r#"{"topic":"book.a","set":{"k":1}}"#;
    assert_eq!(http(&gateway.gateway.admin, "POST", "/publish", headers, set).status, 200);
    // Its entry may go when the topic has.
    gateway.write("");
    let (status, answer) = gateway.reload();
    assert_eq!((status, texts(&answer["restart"])), (409, vec!["topic.book.*".to_owned()]));
    assert_eq!(gateway.apply(&format!("{}{}", keyed("book.*"), keyed("other.*"))), ["topic.other.*: added"]);
    // Deadlines begin to count.
    let silent = format!("{}[[topic]]\npattern = \"s.*\"\nexpiry = \"50ms\"\n", keyed("book.*"));
    assert_eq!(gateway.apply(&silent), ["topic.other.*: removed", "topic.s.*: added"]);
    gateway.gateway.publish("s.a", "1");
    let ends = Instant::now() + Duration::from_secs(10);
    while http(&gateway.gateway.admin, "GET", "/topics/s.a", "", "").status == 200 {
        assert!(Instant::now() < ends);
    }
}
