//! What `--check` says of memory: every key of `[limits]` that bounds some counts, and the sum is printed.
#![forbid(unsafe_code)]

use std::{fs, path::Path};

use engine::settings::{Keys, Limits};
use gateway::{config::Config, system::Machine};

/// Keys that bound memory, each with a value above its default.
const BOUNDS: [(&str, &str); 30] = [
    ("writes", "8192"),
    ("write_bytes", "\"32MiB\""),
    ("once_names", "200000"),
    ("connections", "19000"),
    ("handshake_addresses", "1000000"),
    ("message_bytes", "\"1MiB\""),
    ("patterns", "2000"),
    ("topics", "400000"),
    ("topics_bytes", "\"1GiB\""),
    ("tombstones", "20000"),
    ("history_bytes", "\"2GiB\""),
    ("publish_bytes", "\"32MiB\""),
    ("pinned_bytes", "\"2GiB\""),
    ("inbox_updates", "100000"),
    ("inbox_bytes", "\"128MiB\""),
    ("inbox_messages", "8192"),
    ("classes", "200000"),
    ("shard_patterns", "2000000"),
    ("pattern_topics", "20000000"),
    ("kept_pattern_bytes", "\"32MiB\""),
    ("admin_connections", "512"),
    ("admin_publishes", "64"),
    ("admin_answer_bytes", "\"128MiB\""),
    ("atomic_updates", "20000"),
    ("sealed_bytes", "\"128MiB\""),
    ("statuses", "2000"),
    ("status_bytes", "\"32MiB\""),
    ("token_checks", "2048"),
    ("token_cache", "20000"),
    ("revocations", "20000"),
];

/// Rates, times, shares of what is bounded otherwise, and counts that are bounded by others.
const NONE: [&str; 26] = [
    "publishes",
    "keys_refused",
    "once_for",
    "connections_per_ip",
    "connections_per_sub",
    "handshakes",
    "handshakes_per_ip",
    "connection_age",
    "messages_per_s",
    "topics_looked_at_per_s",
    "control_per_s",
    "subscriptions",
    "stall",
    "handshake",
    "idle",
    "idle_subscribed",
    "ping",
    "pong",
    "value_bytes",
    "patterns_per_ip",
    "classes_per_ip",
    "admin_body",
    "admin_idle",
    "admin_bytes_per_s",
    "handshakes_per_turn",
    "build_bytes_per_ip",
];

fn machine() -> Machine {
    Machine { cpus: vec![0, 1], cpus_busy: 2, nofile_hard: 20_000, no_io_uring: None }
}

fn parse(server: &str, limits: &str) -> Config {
    let text = format!("[server]\nshards = 1\n{server}[limits]\n{limits}");
    Config::parse(&text, "x.toml", Path::new(""), &machine()).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Keys of `[server]` for a listener with TLS.
fn tls() -> String {
    let made = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [cert, key] = ["memory-cert.pem", "memory-key.pem"].map(|name| directory.join(name));
    fs::write(&cert, params.self_signed(&made).unwrap().pem()).unwrap();
    fs::write(&key, made.serialize_pem()).unwrap();
    format!("tls = \"127.0.0.1:1\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", cert.display(), key.display())
}

fn sum(config: &Config) -> u64 {
    config.memory(&machine()).iter().map(|part| part.bytes).sum()
}

#[test]
fn the_sum_is_printed_with_its_parts_and_is_read_again_as_nothing() {
    let config = parse("", "");
    let printed = config.render(&machine());
    let line = format!("\n# at most {} bytes of memory, ", sum(&config));
    assert!(printed.contains(&line), "{line}: {printed}");
    for part in config.memory(&machine()) {
        assert!(printed.contains(&format!("  {}\n", part.keys)), "{}: {printed}", part.keys);
    }
    let again = Config::parse(&printed, "x.toml", Path::new(""), &machine()).unwrap();
    assert_eq!(again.render(&machine()), printed);
}

#[test]
fn every_limit_that_bounds_memory_counts_and_every_other_one_is_known() {
    let names: Vec<&str> = Limits::KEYS.iter().map(|key| key.name).collect();
    let known: Vec<&str> = BOUNDS.iter().map(|(key, _)| *key).chain(NONE).collect();
    for name in &names {
        let count = known.iter().filter(|known| *known == name).count();
        assert_eq!(count, 1, "{name}: does it bound memory? src/config/memory.rs has to know");
    }
    assert_eq!(known.len(), names.len(), "{known:?}");
    let tls = tls();
    let before = sum(&parse(&tls, "connections = 10000\n"));
    for (key, value) in BOUNDS {
        let base = if key == "connections" { "" } else { "connections = 10000\n" };
        let after = sum(&parse(&tls, &format!("{base}{key} = {value}\n")));
        assert!(after > before, "{key} = {value}: {before} -> {after}");
    }
}

#[test]
fn more_shards_and_compression_and_an_audit_take_more() {
    let before = sum(&parse("", "connections = 10000\n"));
    let text = |more: &str, shards: usize| {
        let text = format!("[server]\nshards = {shards}\n[limits]\nconnections = 10000\n{more}");
        sum(&Config::parse(&text, "x.toml", Path::new(""), &machine()).unwrap())
    };
    assert!(text("", 2) > before);
    assert!(text("[compression]\ndictionaries = \"1GiB\"\n", 1) > before);
    assert!(text("[audit]\npath = \"audit.jsonl\"\n", 1) > before);
}
