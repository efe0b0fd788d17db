//! What the log promises, whatever texts from outside are told in it and however often.
#![forbid(unsafe_code)]

mod contract;
mod upstream;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use contract::{Gateway, UPGRADE, command, http, until};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(20);

fn directory(name: &str) -> PathBuf {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("logs-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn start(directory: &Path, config: &str, format: &str) -> Gateway {
    let mut command =
        command(&format!("[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nshards = 1\n{config}"));
    let log = fs::File::create(directory.join("log")).unwrap();
    command.env("RUST_LOG", "info").args(["--log-format", format]).stderr(log);
    Gateway::spawn(&mut command)
}

fn log(directory: &Path) -> String {
    String::from_utf8(fs::read(directory.join("log")).unwrap()).unwrap()
}

fn metric(gateway: &Gateway, begin: &str) -> f64 {
    let text = http(&gateway.admin, "GET", "/metrics", "", "").body;
    let line = text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What would end the line, forge another, take hold of a terminal, or turn the text around.
const HOSTILE: &str = "no JSON\r\n2026-01-01T00:00:00.000000Z ERROR gateway::run: forged\u{1b}[2J\u{1b}]0;title\u{7}\
                       \u{9b}31m\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{0}\u{7f}é";

#[test]
fn what_a_venue_says_never_breaks_a_line() {
    for format in ["text", "json"] {
        let server = upstream::start(|_, mut peer| {
            peer.accept()?;
            peer.text(HOSTILE)?;
            peer.close(4000, "bye\u{1b}\u{2028}x")?;
            peer.wait()
        });
        let directory = directory(format);
        let source = format!(
            "[[source]]\nkind = \"websocket\"\nname = \"venue\"\nurl = \"ws://{server}/\"\n\
             [[source.map]]\ntopic = \"a\"\ndata = \"\"\n"
        );
        let _gateway = start(&directory, &source, format);
        until("it is told", || log(&directory).contains("forged") && log(&directory).contains("bye"));
        let log = log(&directory);
        for line in log.lines() {
            assert!(
                !line
                    .chars()
                    .any(|c| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}".contains(c))
            );
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap();
            } else {
                assert!(line.starts_with("20"), "a line of its own: {line}");
            }
        }
        let forged = log.lines().find(|line| line.contains("forged")).unwrap();
        assert!(forged.contains("not published") && forged.contains('é'), "{forged}");
        assert!(forged.contains("\\u202e") && forged.contains("1b"), "{forged}");
    }
}

#[test]
fn what_repeats_is_told_a_few_times_and_then_how_often() {
    let directory = directory("repeats");
    let state = directory.join("state");
    let config =
        format!("drain = \"100ms\"\n[state]\npath = \"{}\"\ncheckpoint = \"100ms\"\n", state.display());
    let mut gateway = start(&directory, &config, "text");
    fs::create_dir(directory.join("state.tmp")).unwrap();
    gateway.publish("a", "1");
    until("it fails again and again", || metric(&gateway, "fanwire_state_errors_total") >= 12.0);
    let left_out = metric(&gateway, "fanwire_log_lines_left_out_total");
    assert!(left_out >= 1.0, "{left_out}");
    until("it is told how often", || log(&directory).contains("log lines were left out"));
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(WAIT), Some(1));
    let log = log(&directory);
    let told = log.lines().filter(|line| line.contains(" no checkpoint: ") && !line.contains("left out"));
    assert!((5..=15).contains(&told.count()), "{log}");
    assert!(log.contains("the last checkpoint failed"), "{log}");
}

#[test]
fn a_page_that_may_not_connect_is_named_once_a_minute_and_each_is_counted() {
    let directory = directory("origins");
    let gateway = start(&directory, "", "text");
    for n in 0..5 {
        let page = format!("{UPGRADE}Origin: https://evil{n}.example\r\n");
        http(&gateway.data, "GET", "/ws", &page, "").assert_refusal(403, "a foreign page");
        let host = page.replace("Host: localhost", "Host: evil.example");
        http(&gateway.data, "GET", "/ws", &host, "").assert_refusal(403, "a foreign host");
    }
    let counted = |rule: &str| metric(&gateway, &format!("fanwire_refused_by_total{{rule=\"{rule}\"}}"));
    until("they are counted", || (counted("origins"), counted("hosts")) == (5.0, 5.0));
    let log = log(&directory);
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let pages = told("[access] origins");
    assert_eq!((pages.len(), told("[access] hosts").len()), (1, 1), "{log}");
    assert!(pages[0].contains("https://evil0.example") && pages[0].contains("localhost"), "{pages:?}");
}
