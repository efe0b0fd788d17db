//! Keys of the admin listener: each route with each key, what a key may write, and keys that the gateway makes.
#![forbid(unsafe_code)]

mod contract;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use contract::{Answer, Gateway, command, config_file, http, output};
use gateway::admin_key::Digest;
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";
const PERMISSIONS: [&str; 4] = ["publish", "metrics", "read", "admin"];

/// `[[admin.key]]` of the key `fw_key_that_is_called_NAME`.
fn key(name: &str, allow: &str, topics: &str) -> String {
    let sha256 = Digest::of(text(name).as_bytes());
    format!("[[admin.key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nallow = [\"{allow}\"]\n{topics}\n")
}

fn text(name: &str) -> String {
    format!("fw_key_that_is_called_{name}")
}

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", text(name))
}

/// A gateway with a key for each permission, of its name.
fn gateway() -> Gateway {
    Gateway::start("shards = 1", &PERMISSIONS.map(|allow| key(allow, allow, "")).concat())
}

/// Each route: what it takes, a body, who may ask (empty: everyone), and what it is answered then.
const ROUTES: &[(&str, &str, &str, &[&str], u16)] = &[
    ("GET", "/", "", &[], 200),
    ("HEAD", "/", "", &[], 200),
    ("GET", "/livez", "", &[], 200),
    ("GET", "/healthz", "", &[], 200),
    ("GET", "/readyz", "", &[], 200),
    ("HEAD", "/readyz", "", &[], 200),
    ("POST", "/livez", "", &[], 405),
    ("POST", "/publish", r#"{"topic":"a","data":1}"#, &["publish", "admin"], 200),
    ("GET", "/topics", "", &["read", "admin"], 200),
    ("HEAD", "/topics", "", &["read", "admin"], 200),
    ("GET", "/topics/a", "", &["read", "admin"], 200),
    ("HEAD", "/topics/a", "", &["read", "admin"], 200),
    ("GET", "/status", "", &["read", "admin"], 200),
    ("POST", "/status", r#"{"topics":["b"],"state":"live"}"#, &["publish", "admin"], 200),
    ("GET", "/sources", "", &["read", "admin"], 200),
    ("GET", "/config", "", &["admin"], 200),
    ("GET", "/drain", "", &PERMISSIONS, 405),
    ("GET", "/metrics", "", &["metrics", "admin"], 200),
    ("HEAD", "/metrics", "", &["metrics", "admin"], 200),
    ("DELETE", "/topics/none", "", &["publish", "admin"], 404),
    ("POST", "/token", "{}", &["admin"], 200),
    ("POST", "/revoke", r#"{"jti":"none"}"#, &["admin"], 200),
    ("POST", "/reload", "", &["admin"], 200),
    ("GET", "/publish", "", &PERMISSIONS, 405),
    ("GET", "/revoke", "", &PERMISSIONS, 405),
    ("PUT", "/topics/a", "", &PERMISSIONS, 405),
    ("GET", "/nothing", "", &PERMISSIONS, 404),
];

fn ask(gateway: &Gateway, (method, path, body): (&str, &str, &str), headers: &str) -> Answer {
    let typed = if body.is_empty() { "" } else { JSON };
    http(&gateway.admin, method, path, &format!("{headers}{typed}"), body)
}

#[test]
fn each_route_with_each_key() {
    let gateway = gateway();
    for (method, path, body, may, status) in ROUTES {
        let what = format!("{method} {path}");
        let asked = (*method, *path, *body);
        let is_open = may.is_empty();
        for allow in PERMISSIONS {
            let answer = ask(&gateway, asked, &bearer(allow));
            let expected = if is_open || may.contains(&allow) { *status } else { 403 };
            assert_eq!(answer.status, expected, "{what} with {allow}: {answer:?}");
            let other = ask(&gateway, asked, &format!("x-api-key: {}\r\n", text(allow)));
            assert_eq!(other.status, expected, "{what} with {allow} in X-API-Key");
            if expected == 403 && *method != "HEAD" {
                answer.assert_refusal(403, &what);
                assert!(answer.body.contains(allow) && !answer.body.contains(&text(allow)), "{answer:?}");
            }
        }
        for shown in
            ["", "Authorization: Basic Zm9vOmJhcg==\r\n", &bearer("none"), "Authorization: Bearer\r\n"]
        {
            let answer = ask(&gateway, asked, shown);
            assert_eq!(answer.status, if is_open { *status } else { 401 }, "{what} with {shown:?}");
            if !is_open && *method != "HEAD" {
                answer.assert_refusal(401, &what);
                let challenge =
                    if shown.contains("Bearer") { "bearer error=\"invalid_token\"" } else { "bearer" };
                let field = format!("\r\nwww-authenticate: {challenge}\r\n");
                assert!(answer.head.contains(&field), "{what} with {shown:?}: {answer:?}");
            }
        }
    }
    let metrics = http(&gateway.admin, "GET", "/metrics", &bearer("admin"), "").body;
    for status in [401, 403] {
        let name = format!("\nfanwire_admin_keys_refused_total{{status=\"{status}\"}} ");
        let count: u64 = metrics.split(&name).nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        assert!(count > 20, "{status}: {count}");
    }
}

#[test]
fn without_keys_every_route_is_open_to_this_machine() {
    let gateway = Gateway::start("shards = 1", "");
    for (method, path, body, _, status) in ROUTES {
        for shown in ["", &bearer("none")] {
            let answer = ask(&gateway, (method, path, body), shown);
            assert_eq!(answer.status, *status, "{method} {path} with {shown:?}: {answer:?}");
        }
    }
}

#[test]
fn a_key_writes_its_topics_and_no_others() {
    let gateway = Gateway::start("shards = 1", &key("feed", "publish", "topics = [\"desk.*\", \"one\"]"));
    let with = bearer("feed");
    let publish = |content_type: &str, body: &str| {
        http(&gateway.admin, "POST", "/publish", &format!("{with}Content-Type: {content_type}\r\n"), body)
    };
    for topic in ["desk.a", "desk.a.b", "one"] {
        let answer = publish("application/json", &format!(r#"{{"topic":"{topic}","data":1}}"#));
        assert_eq!(answer.status, 200, "{topic}: {answer:?}");
    }
    for topic in ["desk", "desks.a", "one.more", "other"] {
        let answer = publish("application/json", &format!(r#"{{"topic":"{topic}","data":1}}"#));
        answer.assert_refusal_open(403, topic);
        assert!(
            answer.body.contains("\"accepted\":0,\"index\":0") && answer.body.contains(topic),
            "{answer:?}"
        );
    }
    let item = |topic: &str| format!(r#"{{"topic":"{topic}","data":2}}"#);
    let whole = publish("application/json", &format!("[{},{}]", item("desk.b"), item("other")));
    whole.assert_refusal_open(403, "an array is taken whole or not at all");
    assert!(whole.body.contains("\"accepted\":0,\"index\":1"), "{whole:?}");
    let lines = [item("desk.c"), String::new(), item("other"), item("desk.d")].join("\n");
    let lines = publish("application/x-ndjson", &lines);
    lines.assert_refusal_open(403, "lines up to the bad one");
    assert!(lines.body.contains("\"accepted\":1,\"index\":1"), "{lines:?}");

    let status = |topics: &str| {
        let body = format!(r#"{{"topics":["{topics}"],"state":"stale"}}"#);
        http(&gateway.admin, "POST", "/status", &format!("{with}{JSON}"), &body).status
    };
    assert_eq!([status("desk.*"), status("desk.*.x"), status("one")], [200; 3]);
    assert_eq!([status("*"), status("other"), status("one.*")], [403; 3]);
    let remove = |topic: &str| http(&gateway.admin, "DELETE", &format!("/topics/{topic}"), &with, "").status;
    assert_eq!([remove("desk.a"), remove("desk.a"), remove("other"), remove("desk.c")], [204, 404, 403, 204]);
}

#[test]
fn a_new_key_is_printed_with_its_digest() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
    let printed = String::from_utf8(output(command.arg("key")).stdout).unwrap();
    let (key, rest) = printed.split_once('\n').unwrap();
    assert!(key.starts_with("fw_") && key.len() > 40, "{printed}");
    assert_eq!(rest, format!("sha256 = \"{}\"\n", Digest::of(key.as_bytes())));
}

#[test]
fn a_key_file_that_is_missing_is_made_once_and_the_key_is_printed() {
    let config = config_file("");
    let (file, log) = (config.with_extension("key"), config.with_extension("log"));
    // Of an earlier run.
    let _ = fs::remove_file(&file);
    let text = format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"0.0.0.0:0\"\nshards = 1\n[admin]\nkey_file = \"{}\"\n",
        file.display()
    );
    let checked = output(command(&text).arg("--check"));
    assert!(checked.status.success() && !file.exists(), "{checked:?}");

    let run = || {
        let gateway = Gateway::spawn(command(&text).stderr(Stdio::from(fs::File::create(&log).unwrap())));
        let port = gateway.admin.rsplit(':').next().unwrap().to_owned();
        let key = fs::read_to_string(&file).unwrap();
        let shown = format!("X-API-Key: {}\r\n", key.trim_end());
        let status =
            |headers: &str| http(&format!("127.0.0.1:{port}"), "GET", "/metrics", headers, "").status;
        assert_eq!((status(&shown), status("")), (200, 401));
        (key, fs::read_to_string(&log).unwrap())
    };
    let (first, printed) = run();
    assert!(first.starts_with("fw_") && printed.contains(first.trim_end()), "{printed}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let (second, printed) = run();
    assert!(second == first && !printed.contains("fw_"), "{printed}");

    fs::write(&file, "short\n").unwrap();
    let refused = output(&mut command(&text));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && told.contains("5 bytes") && !told.contains("short"),
        "{told}"
    );
}

#[test]
fn the_configuration_that_holds_is_shown_as_check_prints_it() {
    let config = config_file(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n{}",
        key("all", "admin", "")
    ));
    let program = || {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        program.arg("--config").arg(&config).env("RUST_LOG", "error");
        program
    };
    let gateway = Gateway::spawn(&mut program());
    let ask = |method: &str, path: &str| http(&gateway.admin, method, path, &bearer("all"), "");
    let shown = ask("GET", "/config");
    let checked = output(program().arg("--check"));
    assert_eq!(shown.body, String::from_utf8(checked.stdout).unwrap());
    let longer = fs::read_to_string(&config).unwrap() + "[limits]\nping = \"7s\"\n";
    fs::write(&config, longer).unwrap();
    assert_eq!(ask("POST", "/reload").status, 200);
    assert!(ask("GET", "/config").body.contains("ping = \"7s\""));
}

#[test]
fn sources_are_listed_with_how_they_are() {
    let gateway = Gateway::start(
        "shards = 1",
        "[[source]]\nkind = \"synthetic\"\nname = \"made-up\"\nsymbols = 1\n\
         [[source]]\nkind = \"websocket\"\nname = \"away\"\nurl = \"ws://127.0.0.1:1/ws?t=hidden\"\n\
         topics = [\"up.*\"]\nsend = []\n\
         [[source.map]]\ntopic = \"up.a\"\ndata = \"/a\"\nwhen = { \"/b\" = \"*\" }\n",
    );
    let rows = || -> Vec<Value> {
        let answer = http(&gateway.admin, "GET", "/sources", "", "");
        assert!(!answer.body.contains("hidden"), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    };
    let until = Instant::now() + Duration::from_secs(10);
    let rows = loop {
        let rows = rows();
        if (&rows[0]["state"], &rows[1]["state"]) == (&json!("live"), &json!("down")) {
            break rows;
        }
        assert!(Instant::now() < until, "{rows:?}");
        thread::sleep(Duration::from_millis(20));
    };
    let told = |at: usize, key: &str| rows[at][key].clone();
    assert_eq!((told(0, "name"), told(0, "kind")), (json!("made-up"), json!("synthetic")));
    assert_eq!((told(0, "reason"), told(0, "connected")), (Value::Null, Value::Null));
    assert_eq!((told(1, "topics"), told(1, "connected")), (json!(["up.*"]), json!(false)));
    assert!(told(1, "reason").is_string() && told(1, "connects").as_u64() > Some(0));
}

#[test]
fn drain_ends_the_gateway_as_sigterm_does() {
    let mut gateway = Gateway::start("shards = 1\ndrain = \"3s\"", &key("all", "admin", ""));
    let answer = http(&gateway.admin, "POST", "/drain", &bearer("all"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told, json!({ "clients": 0, "drain_ms": 3000 }));
    assert_eq!(gateway.exit_code(Duration::from_secs(10)), Some(0));
}
