//! A browser sends requests of any page to this machine: no page drives the admin listener.
#![forbid(unsafe_code)]

mod contract;

use contract::{ADMIN_KEY, Answer, Gateway, UPGRADE, http};

const JSON: &str = "Content-Type: application/json\r\n";
const CLOSE: &str = "Connection: close\r\n";

/// A publish with these headers, and whether it took place.
fn publish(gateway: &Gateway, headers: &str) -> (Answer, bool) {
    let body = r#"{"topic":"written.by.a.page","data":1}"#;
    let answer = http(&gateway.admin, "POST", "/publish", &format!("{headers}{CLOSE}{JSON}"), body);
    let written = http(&gateway.admin, "DELETE", "/topics/written.by.a.page", "", "").status == 204;
    (answer, written)
}

#[test]
fn a_listener_on_loopback_answers_only_to_its_own_names() {
    let gateway = Gateway::start("", "[access]\nhosts = [\"ops.example\", \"::2\"]");
    let port = gateway.admin.rsplit(':').next().unwrap();
    for host in [
        "localhost",
        &format!("localhost:{port}"),
        "LocalHost.:8080",
        "desk.localhost",
        "127.0.0.1",
        "127.3.2.1:1",
        "[::1]:9002",
        "[::ffff:127.0.0.1]",
        "ops.example",
        "OPS.Example.:443",
        "[::2]",
    ] {
        let (answer, written) = publish(&gateway, &format!("Host: {host}\r\n"));
        assert!(answer.status == 200 && written, "{host}: {answer:?}");
    }
    for host in [
        "Host: evil.example\r\n",
        &format!("Host: evil.example:{port}\r\n"),
        "Host: localhost.evil.example\r\n",
        "Host: a.ops.example\r\n",
        "Host: 192.0.2.1\r\n",
        "Host: 0.0.0.0\r\n",
        "Host: [::]\r\n",
        "Host: evil@localhost\r\n",
        "Host: localhost, evil.example\r\n",
        "Host:\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: evil.example\r\nHost: localhost\r\n",
        "X: Host:\r\n",
    ] {
        let (answer, written) = publish(&gateway, host);
        answer.assert_refusal(403, host);
        assert!(!written, "{host}");
        assert!(answer.body.contains("[access] hosts"), "{answer:?}");
        for path in ["/", "/topics", "/metrics", "/healthz", "/nothing"] {
            http(&gateway.admin, "GET", path, &format!("{host}{CLOSE}"), "").assert_refusal(403, path);
        }
    }
    // An absolute target is what the request asks for (RFC 9112, section 3.2.2).
    let absolute = |host: &str| http(&gateway.admin, "GET", &format!("http://{host}/readyz"), "", "").status;
    assert_eq!((absolute("127.0.0.1:1"), absolute("evil.example")), (200, 403));
    // Without a Host, as HTTP/1.0 allows.
    let answer = contract::raw(&gateway.admin, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 403 ") || answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let metrics = http(&gateway.admin, "GET", "/metrics", "", "").body;
    assert!(metrics.contains("\nfanwire_admin_pages_refused_total 80\n"), "{metrics}");
}

#[test]
fn a_websocket_that_a_proxy_passes_on_is_no_pages_whatever_host_it_names() {
    let gateway = Gateway::start("", "");
    let upgrade = UPGRADE.replace("localhost", "evil.example").replace(": Upgrade", ": Upgrade, close");
    let status = |path: &str, headers: &str| http(&gateway.admin, "GET", path, headers, "").status;
    for field in
        ["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1", "x-real-ip: 192.0.2.1", "Via: 1.1 p"]
    {
        for (path, expected) in [("/ws", 404), ("/", 200), ("/healthz", 200)] {
            assert_eq!(status(path, &format!("{upgrade}{field}\r\n")), expected, "{path} {field}");
        }
        // A page can send these.
        assert_eq!(status("/ws", &format!("Host: evil.example\r\n{CLOSE}{field}\r\n")), 403, "{field}");
        let origin = format!("{upgrade}{field}\r\nOrigin: http://other.example\r\n");
        assert_eq!(status("/ws", &origin), 403, "{field}");
    }
    for path in ["/ws", "/", "/healthz"] {
        assert_eq!(status(path, &upgrade), 403, "{path}");
    }
}

#[test]
fn a_listener_that_others_may_reach_answers_to_any_name() {
    let gateway = Gateway::start_config(&format!(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"0.0.0.0:0\"\nshards = 1\n{ADMIN_KEY}"
    ));
    let port = gateway.admin.rsplit(':').next().unwrap();
    let answer = http(
        &format!("127.0.0.1:{port}"),
        "GET",
        "/readyz",
        &format!("Host: gateway.example\r\n{CLOSE}"),
        "",
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn where_hosts_are_named_a_listener_that_others_may_reach_answers_to_those_and_to_addresses() {
    let gateway = Gateway::start_config(
        "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"0.0.0.0:0\"\nshards = 1\n[access]\nhosts = [\"ops.example\"]\n\
         [[admin.key]]\nname = \"ops\"\nallow = [\"metrics\"]\n\
         sha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
    );
    let address = format!("127.0.0.1:{}", gateway.admin.rsplit(':').next().unwrap());
    for (host, expected) in [
        ("ops.example:9002", 200),
        ("localhost", 200),
        ("127.0.0.1:9002", 200),
        ("192.0.2.1", 200),
        ("[2001:db8::1]:9002", 200),
        ("rebound.example", 403),
        ("192.0.2.1.rebound.example", 403),
    ] {
        let answer = http(&address, "GET", "/readyz", &format!("Host: {host}\r\n{CLOSE}"), "");
        assert_eq!(answer.status, expected, "{host}: {answer:?}");
        assert_eq!(answer.body.contains("[access] hosts"), expected == 403, "{answer:?}");
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let gateway = Gateway::start("", "[access]\nhosts = [\"ops.example\"]");
    for headers in [
        "Host: localhost\r\nOrigin: http://localhost:3000\r\n",
        "Host: 127.0.0.1:9002\r\nOrigin: http://[::1]:9002\r\n",
        "Host: ops.example\r\nOrigin: https://OPS.example\r\nSec-Fetch-Site: same-origin\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
    ] {
        let (answer, written) = publish(&gateway, headers);
        assert!(answer.status == 200 && written, "{headers}: {answer:?}");
    }
    for headers in [
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: http://localhost.evil.example\r\n",
        "Host: ops.example\r\nOrigin: https://www.ops.example\r\n",
        "Host: localhost\r\nOrigin: https://ops.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: file://\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: Cross-Site\r\n",
    ] {
        let (answer, written) = publish(&gateway, headers);
        answer.assert_refusal(403, headers);
        assert!(!written, "{headers}");
        for path in ["/", "/topics", "/status", "/metrics"] {
            http(&gateway.admin, "GET", path, &format!("{headers}{CLOSE}"), "").assert_refusal(403, path);
        }
        http(&gateway.admin, "DELETE", "/topics/a", &format!("{headers}{CLOSE}"), "")
            .assert_refusal(403, headers);
    }
}

#[test]
fn what_a_form_may_send_is_no_body_of_any_route() {
    let gateway = Gateway::start("", "");
    let status = r#"{"topics":["a.*"],"state":"stale"}"#;
    for headers in [
        "Content-Type: text/plain\r\n",
        "Content-Type: text/plain; charset=application/json\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain, application/json\r\n",
        "",
    ] {
        for (path, body) in [("/status", status), ("/publish", r#"{"topic":"a","data":1}"#)] {
            let answer = http(&gateway.admin, "POST", path, headers, body);
            answer.assert_refusal_open(415, headers);
        }
    }
    let lines = http(&gateway.admin, "POST", "/status", "Content-Type: application/x-ndjson\r\n", status);
    lines.assert_refusal_open(415, "a status is no list of lines");
    assert_eq!(http(&gateway.admin, "GET", "/status", "", "").body, "[]");
    assert_eq!(http(&gateway.admin, "GET", "/topics", "", "").body, "[]");
    for content_type in [JSON, "content-type: Application/JSON; charset=utf-8\r\n"] {
        assert_eq!(
            http(&gateway.admin, "POST", "/status", content_type, status).status,
            200,
            "{content_type}"
        );
    }
}

#[test]
fn no_answer_is_shown_in_a_frame_or_taken_for_what_it_is_not() {
    let gateway = Gateway::start("", "");
    for (path, headers) in [
        ("/", ""),
        ("/metrics", ""),
        ("/topics", ""),
        ("/topics/none", ""),
        ("/publish", ""),
        ("/", "Host: evil.example\r\nConnection: close\r\n"),
    ] {
        let head = http(&gateway.admin, "GET", path, headers, "").head;
        assert!(head.contains("\r\nx-content-type-options: nosniff"), "{path}: {head}");
        let policy = head.lines().find(|line| line.starts_with("content-security-policy: ")).expect(path);
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}
