//! What a configuration file is promised: every mistake is named by line, with what to write instead.
#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{
    http::proxies::Forwarded,
    topic::policy::{KeyTerms, Mode, Write},
    unit::Rate,
};
use gateway::{
    config::Config,
    document::environment::Environment,
    source::{Source, replay::Replay},
    system::Machine,
};

fn machine() -> Machine {
    Machine { cpus: vec![0, 1], cpus_busy: 2, nofile_hard: 20_000, no_io_uring: None }
}

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(text, "x.toml", &configs(), &machine()).map_err(|refused| refused.0)
}

/// The one complaint about `text`.
fn refused(text: &str) -> String {
    let complaints = parse(text).expect_err(text);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints[0].clone()
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn parse_in(environment: &[(&str, &str)], text: &str) -> Result<Config, Vec<String>> {
    let environment: Environment = environment.iter().copied().collect();
    Config::parse_with(text, "x.toml", &configs(), &environment, &machine()).map_err(|refused| refused.0)
}

#[test]
fn the_environment_names_keys_in_place_of_what_the_file_says() {
    let environment = [
        ("FANWIRE_SERVER__DATA", "0.0.0.0:7001"),
        ("FANWIRE_ACCESS__CLIENTS", "open"),
        ("FANWIRE_SERVER__CPUS", "[1]"),
        ("FANWIRE_LIMITS__PING", "\"7s\""),
        ("FANWIRE_CONFIG", "not looked at"),
        ("HOME", "/"),
    ];
    let config = parse_in(&environment, "[server]\ndata = \"127.0.0.1:1\"\nshards = 1\n").unwrap();
    assert_eq!((config.server.data, config.server.shards), (address("0.0.0.0:7001"), 1));
    assert_eq!((config.server.cpus.as_slice(), config.limits.ping.as_secs()), ([1].as_slice(), 7));
}

#[test]
fn what_is_wrong_with_the_environment_is_named_by_its_variable() {
    let refused = |name, value| parse_in(&[(name, value)], "[server]\nshards = 1\n").unwrap_err().join("\n");
    let unknown = refused("FANWIRE_SERVER__PORT", "1");
    assert!(unknown.starts_with("FANWIRE_SERVER__PORT: [server] port: unknown key"), "{unknown}");
    let section = refused("FANWIRE_SERVE__DATA", "1");
    assert!(section.starts_with("FANWIRE_SERVE__DATA: [serve] is unknown"), "{section}");
    let value = refused("FANWIRE_SERVER__SHARDS", "many");
    assert!(value.starts_with("FANWIRE_SERVER__SHARDS: [server] shards = \"many\": "), "{value}");
    let text = "[[source]]\nkind = \"host\"\n";
    let list = parse_in(&[("FANWIRE_SOURCE__KIND", "host")], text).unwrap_err().join("\n");
    assert_eq!(list, "FANWIRE_SOURCE__KIND: [[source]]: the environment names keys of sections only");
    assert!(refused("FANWIRE_SERVER__data", "1").contains("no such key"));
    // Lines of the file stay its own.
    let both = parse_in(&[("FANWIRE_SERVER__SHARDS", "1")], "[fanout]\n\nheartbeat = 0\n").unwrap_err();
    assert!(both[0].starts_with("x.toml:3: [fanout] heartbeat"), "{both:?}");
}

#[test]
fn texts_of_the_file_take_variables_and_one_that_is_not_set_is_an_error_with_its_line() {
    let text = "[server]\ndata = \"{env:HOST}:9001\"\n[access]\nhosts = [\"{env:HOST}\", \"b.example\"]\n";
    let config = parse_in(&[("HOST", "127.0.0.2")], text).unwrap();
    assert_eq!(config.server.data, address("127.0.0.2:9001"));
    let complaints = parse_in(&[], text).unwrap_err();
    assert!(
        complaints[0].starts_with("x.toml:2: {env:HOST}: the environment has no variable HOST"),
        "{complaints:?}"
    );
    assert!(complaints.iter().any(|complaint| complaint.starts_with("x.toml:4: ")), "{complaints:?}");
    // The error of a value that was filled in shows what the file says, which is no secret.
    let shown = parse_in(&[("HOST", "s3cret")], text).unwrap_err().join("\n");
    assert!(shown.contains("{env:HOST}") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_a_file_takes_from_the_environment_is_printed_as_the_file_has_it() {
    let text = "[server]\ndata = \"{env:HOST}:9001\"\nadmin = \"{env:HOST}:9002\"\n[access]\nhosts = [\"b.example\", \"{env:HOST}\"]\n\
                [[source]]\nkind = \"websocket\"\nname = \"feed\"\nurl = \"wss://venue.example/{env:KEY}\"\n\
                send = ['{\"key\":\"{env:KEY}\"}', \"x\"]\n[[source.map]]\ntopic = \"{env:TOPIC}\"\ndata = \"\"\n";
    let environment = [
        ("HOST", "127.0.0.2"),
        ("KEY", "s3cret"),
        ("TOPIC", "q.topic"),
        ("FANWIRE_SERVER__ADMIN", "127.0.0.3:9002"),
    ];
    let config = parse_in(&environment, text).unwrap();
    let printed = config.render(&machine());
    for (_, value) in &environment[..3] {
        assert!(!printed.contains(value), "{value}:\n{printed}");
    }
    for line in [
        "data = \"{env:HOST}:9001\"",
        "admin = \"127.0.0.3:9002\"",
        "hosts = [\"b.example\", \"{env:HOST}\"]",
        "url = \"wss://venue.example/{env:KEY}\"",
        "topic = \"{env:TOPIC}\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}:\n{printed}");
    }
    let again = parse_in(&environment[..3], &printed).unwrap();
    assert_eq!((&again.server, &again.sources), (&config.server, &config.sources));
}

#[test]
fn where_epoll_moves_the_bytes_the_limit_of_open_files_bounds_the_process() {
    let machine =
        |no_io_uring: Option<&str>| Machine { no_io_uring: no_io_uring.map(str::to_owned), ..machine() };
    let parse = |io: &str, machine: &Machine| {
        let text = format!("[server]\nshards = 2\nio = \"{io}\"\n[limits]\nconnections = 20000\n");
        Config::parse(&text, "x.toml", &configs(), machine).map_err(|refused| refused.0[0].clone())
    };
    assert!(parse("io_uring", &machine(None)).is_ok() && parse("auto", &machine(None)).is_ok());
    for refused in [parse("epoll", &machine(None)), parse("auto", &machine(Some("it is forbidden")))] {
        let refused = refused.unwrap_err();
        assert!(refused.contains("with epoll the process gives room for 19216 clients"), "{refused}");
        assert!(refused.contains("LimitNOFILE"), "{refused}");
    }
}

#[test]
fn trusted_proxies_are_addresses_and_prefixes_and_none_is_by_default() {
    let proxies = parse("").unwrap().server;
    assert!(proxies.proxies.trusted.0.is_empty() && proxies.proxies.forwarded.is_none());
    assert!(!proxies.proxy_protocol && proxies.warnings().is_empty());
    let text = "[server]\ntrusted_proxies = [\"10.1.2.3/8\", \"2001:db8::1\"]\nproxy_protocol = \"require\"\n\
        forwarded = \"x-forwarded-for\"\n";
    let config = parse(text).unwrap();
    let trusts = |ip: &str| config.server.proxies.trusted.contains(ip.parse().unwrap());
    assert!(trusts("10.9.9.9") && trusts("2001:db8::1") && !trusts("2001:db8::2"));
    assert_eq!(config.server.proxies.forwarded, Some(Forwarded::XForwardedFor));
    assert!(config.server.proxy_protocol && config.server.warnings().is_empty());
    let written = config.render(&machine());
    assert!(written.contains("trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]\n"), "{written}");
    assert_eq!(parse(&written).unwrap().server, config.server);
    let complaint = refused("[server]\n\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n");
    assert!(
        complaint
            .starts_with("x.toml:3: [server] trusted_proxies: \"10.0.0.0/33\" is no address and no prefix"),
        "{complaint}"
    );
    for (key, value) in [("proxy_protocol", "accept"), ("forwarded", "x-real-ip")] {
        let complaint = refused(&format!("[server]\n{key} = \"{value}\"\n"));
        assert!(complaint.contains(&format!("[server] {key} = \"{value}\": write \"off\"")), "{complaint}");
    }
    let nobody = parse("[server]\nproxy_protocol = \"require\"\nforwarded = \"forwarded\"\n").unwrap();
    let warnings = nobody.server.warnings();
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|text| text.contains("trusted_proxies is empty")), "{warnings:?}");
}

#[test]
fn shards_are_as_many_as_cpus_may_be_kept_busy() {
    let limited = Machine { cpus: (0..8).collect(), cpus_busy: 2, ..machine() };
    let config = Config::parse("", "x.toml", &configs(), &limited).unwrap();
    assert_eq!((config.server.shards, config.server.cpus.len()), (2, 8));
}

#[test]
fn an_empty_file_means_the_defaults_of_the_contract() {
    let config = parse("").unwrap();
    assert_eq!([config.server.data, config.server.admin], ["127.0.0.1:9001", "127.0.0.1:9002"].map(address));
    assert_eq!((config.server.shards, config.server.cpus.as_slice()), (2, [0, 1].as_slice()));
    assert_eq!(config.server.drain, Duration::from_secs(10));
    assert_eq!(
        (config.fanout.interval, config.fanout.interval_min),
        (Duration::from_millis(100), Duration::ZERO)
    );
    assert_eq!((config.fanout.frame_bytes_max, config.fanout.heartbeat), (256 << 10, Duration::from_secs(5)));
    let limits = &config.limits;
    assert_eq!((limits.connections, config.connections_max(&machine())), (None, 2 * (20_000 - 256)));
    assert_eq!((limits.connections_per_ip, limits.message_bytes, limits.messages_per_s), (0, 64 << 10, 100));
    assert_eq!((limits.control_per_s, limits.subscriptions, limits.patterns), (20, 8, 1000));
    assert_eq!((limits.topics, limits.publish_bytes, limits.pinned_bytes), (200_000, 16 << 20, 64 << 20));
    let seconds =
        [limits.stall, limits.handshake, limits.idle, limits.ping, limits.pong].map(|d| d.as_secs());
    assert_eq!(seconds, [30, 5, 60, 30, 10]);
    assert_eq!((limits.tombstones, limits.inbox_updates, limits.classes), (10_000, 65_536, 100_000));
    assert_eq!(
        (limits.shard_patterns, limits.inbox_bytes, limits.value_bytes),
        (1_000_000, 64 << 20, 1 << 20)
    );
    assert_eq!((limits.topics_bytes, limits.history_bytes), (512 << 20, 1 << 30));
    assert_eq!((limits.admin_connections, limits.admin_publishes), (256, 32));
    assert_eq!([limits.admin_body, limits.admin_idle].map(|d| d.as_secs()), [60, 30]);
    assert_eq!((limits.admin_bytes_per_s, limits.admin_answer_bytes), (16 << 10, 64 << 20));
    assert_eq!((limits.atomic_updates, config.access.hosts.len()), (10_000, 0));
    assert!(config.sources.is_empty());
}

#[test]
fn the_shipped_files_are_valid() {
    for name in ["demo.toml", "replay.toml", "production.toml"] {
        let path = configs().join(name);
        Config::load(&path, &Environment::default(), &machine())
            .unwrap_or_else(|refused| panic!("{refused}"));
    }
    let demo = Config::embedded_demo();
    assert_eq!((demo.server.drain, demo.sources.len()), (Duration::from_secs(2), 2));
    let production =
        Config::load(&configs().join("production.toml"), &Environment::default(), &machine()).unwrap();
    let limits = &production.limits;
    assert!(limits.connections_per_ip > 0 && limits.patterns_per_ip > 0 && limits.classes_per_ip > 0);
    assert!(production.compression.dictionaries_per_ip < production.compression.dictionaries / 10);
    // Where only the whole is named, an address may have half of it.
    let compression = parse("[compression]\ndictionaries = \"1MiB\"").unwrap().compression;
    assert_eq!(compression.dictionaries_per_ip, 512 << 10);
}

#[test]
fn the_reference_is_what_the_binary_prints() {
    let file = std::fs::read_to_string(configs().join("reference.toml")).unwrap();
    let renew = "cargo run -p gateway -- --print-reference > configs/reference.toml";
    assert!(
        file == gateway::config::reference(),
        "configs/reference.toml is of other keys; renew it: {renew}"
    );
}

#[test]
fn the_reference_means_the_defaults() {
    let reference = gateway::config::reference();
    let (config, defaults) = (parse(&reference).unwrap(), parse("").unwrap());
    assert_eq!(config.render(&machine()), defaults.render(&machine()));
    assert_eq!(config, defaults);
}

#[test]
fn the_reference_explains_every_key_that_is_printed() {
    let topic =
        |pattern: &str, mode: &str| format!("[[topic]]\npattern = \"{pattern}\"\nmode = \"{mode}\"\n");
    let map = "[[source.map]]\ntopic = \"a\"\ndata = \"\"\n";
    let all = [
        topic("k", "keyed"),
        topic("s", "stream"),
        format!("{}deadband = 1\n", topic("l", "latest")),
        "[[source]]\nkind = \"replay\"\n[[source]]\nkind = \"synthetic\"\n[[source]]\nkind = \"host\"\n"
            .to_owned(),
        format!("[[source]]\nkind = \"websocket\"\nurl = \"ws://a\"\n{map}"),
    ];
    let chained = "[[source]]\nkind = \"fanwire\"\nurl = \"ws://a\"\n";
    let reference = gateway::config::reference();
    let lines: Vec<&str> = reference.lines().collect();
    for text in [&all.concat(), chained] {
        let rendered = parse(text).unwrap().render(&machine());
        for (key, _) in rendered.lines().filter_map(|line| line.split_once(" = ")) {
            let is_of_key = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            let at = lines.iter().position(is_of_key).unwrap_or_else(|| panic!("{key}"));
            assert!(lines[at - 1].starts_with("# "), "{key} is not explained");
        }
    }
}

#[test]
fn three_files_for_venues_are_valid_and_explain_the_keys_of_a_plain_feed() {
    // Those that reference.toml explains.
    const OTHERS: [&str; 7] =
        ["send_every", "symbols", "encoding", "renew", "snapshot_bytes", "memory_bytes", "whole"];
    for name in ["coinbase.toml", "binance.toml", "kraken.toml"] {
        let path = configs().join(name);
        let config = Config::load(&path, &Environment::default(), &machine())
            .unwrap_or_else(|refused| panic!("{refused}"));
        let Source::Websocket(source) = &config.sources[0] else { panic!("{:?}", config.sources) };
        assert_eq!(format!("{}.toml", source.link.name), name);
        let text = std::fs::read_to_string(path).unwrap();
        let rendered = config.render(&machine());
        let (_, rendered) = rendered.split_once("[[source]]").unwrap();
        let (rendered, _) = rendered.split_once("[[topic]]").unwrap();
        let keys = rendered.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key);
        for key in keys.filter(|key| !OTHERS.contains(key)).chain([
            "when",
            "each",
            "order",
            "topic",
            "ts",
            "seq",
            "seq_first",
            "seq_sparse",
            "data",
            "levels",
            "best",
            "reset",
            "depth",
            "gap",
            "reason",
        ]) {
            let named = ["#   {} ", "\n{} = ", "\n# {} = "].map(|form| form.replace("{}", key));
            let explained = named.iter().any(|form| text.contains(form));
            assert!(explained, "{name} does not explain {key}");
        }
    }
}

#[test]
fn the_file_of_a_chained_gateway_is_valid_and_names_every_key_of_its_source() {
    let path = configs().join("chained.toml");
    let config = Config::load(&path, &Environment::default(), &machine())
        .unwrap_or_else(|refused| panic!("{refused}"));
    assert!(config.is_chained());
    let text = std::fs::read_to_string(path).unwrap();
    let rendered = config.render(&machine());
    let (_, rendered) = rendered.split_once("[[source]]").unwrap();
    let (rendered, _) = rendered.split_once("[[topic]]").unwrap();
    for key in rendered.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
        assert!(text.contains(&format!("\n{key} = ")), "chained.toml does not explain {key}");
    }
}

#[test]
fn a_listener_that_others_reach_wants_it_written_out_whom_it_is_for() {
    let open = "[access]\nclients = \"open\"\n";
    for (address, is_exposed) in [
        ("127.0.0.1:1", false),
        ("127.9.9.9:1", false),
        ("[::1]:1", false),
        ("[::ffff:127.0.0.1]:1", false),
        ("0.0.0.0:1", true),
        ("[::]:1", true),
        ("192.0.2.1:1", true),
        ("[2001:db8::1]:1", true),
        ("[::ffff:192.0.2.1]:1", true),
    ] {
        let server = format!("[server]\nshards = 1\ndata = \"{address}\"\n");
        assert!(parse(&format!("{server}{open}")).is_ok(), "{address}");
        // Other keys of the section say nothing of it.
        for text in [server.clone(), format!("{server}[access]\norigins = [\"none\"]\n")] {
            if !is_exposed {
                assert!(parse(&text).is_ok(), "{address}");
                continue;
            }
            let complaint = refused(&text);
            assert!(complaint.starts_with("x.toml:3: [access] clients: "), "{complaint}");
            assert!(complaint.contains(&format!("data = \"{address}\"")), "{complaint}");
            assert!(complaint.contains("clients = \"open\""), "{complaint}");
        }
    }
    // What is printed has it written out.
    let config = parse(&format!("[server]\ndata = \"0.0.0.0:1\"\n{open}")).unwrap();
    assert_eq!(parse(&config.render(&machine())).unwrap().access, config.access);
    let data = ("FANWIRE_SERVER__DATA", "0.0.0.0:1");
    let complaint = parse_in(&[data], "").unwrap_err().join("\n");
    assert!(complaint.starts_with("FANWIRE_SERVER__DATA: [access] clients: "), "{complaint}");
    assert!(parse_in(&[data, ("FANWIRE_ACCESS__CLIENTS", "open")], "").is_ok());
    assert!(refused("[access]\nclients = \"all\"").contains("write \"open\" or \"token\""));
}

#[test]
fn origins_are_as_browsers_send_them_or_one_of_three_words() {
    let texts = |text: &str| parse(text).unwrap().access.origins.texts().collect::<Vec<_>>();
    assert_eq!(texts(""), ["same-host", "none"]);
    assert_eq!(texts("[access]\norigins = []"), [""; 0]);
    let all =
        "[access]\norigins = [\"any\", \"https://App.example.com:443\", \"https://*.example.com:8443\"]";
    assert_eq!(texts(all), ["any", "https://app.example.com", "https://*.example.com:8443"]);
    let config = parse(all).unwrap();
    assert_eq!(parse(&config.render(&machine())).unwrap().access, config.access);
    for bad in [
        "",
        "*",
        "app.example.com",
        "https://app.example.com/",
        "https://*",
        "null",
        "https://bücher.example",
    ] {
        let complaint = refused(&format!("[access]\norigins = [\"none\", \"{bad}\"]"));
        let begins = format!("x.toml:2: [access] origins: {bad:?} is no origin");
        assert!(complaint.starts_with(&begins), "{complaint}");
    }
}

#[test]
fn rates_are_so_many_in_so_long() {
    for (text, count, per_ms, shown) in [
        ("\"100/s\"", 100, 1_000, "\"100/s\""),
        ("\"100/1m\"", 100, 60_000, "\"100/1m\""),
        ("\"5/10s\"", 5, 10_000, "\"5/10s\""),
        ("\"5/250ms\"", 5, 250, "\"5/250ms\""),
        ("\"5/1s\"", 5, 1_000, "\"5/s\""),
        ("7", 7, 1_000, "\"7/s\""),
        ("0", 0, 1_000, "0"),
        ("\"0/10s\"", 0, 1_000, "0"),
    ] {
        let config = parse(&format!("[limits]\nhandshakes = {text}")).unwrap();
        assert_eq!(config.limits.handshakes, Rate { count, per: Duration::from_millis(per_ms) }, "{text}");
        let rendered = config.render(&machine());
        assert!(rendered.contains(&format!("\nhandshakes = {shown}\n")), "{text}: {rendered}");
        assert_eq!(parse(&rendered).unwrap().limits.handshakes, config.limits.handshakes);
    }
    for bad in
        ["\"100\"", "\"100/\"", "\"100/10\"", "\"-1/s\"", "1.5", "true", "\"5/0s\"", "\"2000000000/s\""]
    {
        let complaint = refused(&format!("[limits]\nhandshakes_per_ip = {bad}"));
        let begins = format!("x.toml:2: [limits] handshakes_per_ip = {bad}: ");
        assert!(complaint.starts_with(&begins) && complaint.contains("write"), "{complaint}");
    }
    // All are off unless they are named, and on for clients that nobody knows.
    let defaults = parse("").unwrap().limits;
    assert_eq!((defaults.handshakes, defaults.handshakes_per_ip), (Rate::NONE, Rate::NONE));
    assert_eq!((defaults.connection_age, defaults.idle_subscribed), (Duration::ZERO, Duration::ZERO));
    let production = configs().join("production.toml");
    let production = Config::load(&production, &Environment::default(), &machine()).unwrap().limits;
    assert!(production.handshakes.count > 0 && production.handshakes_per_ip.count > 0);
    assert!(!production.connection_age.is_zero() && !production.idle_subscribed.is_zero());
}

#[test]
fn subscribers_may_be_served_by_tls_alone() {
    let complaint = refused("[server]\ndata = \"\"");
    assert!(complaint.starts_with("x.toml:2: [server] data = \"\": clients need a listener"), "{complaint}");
    let complaint = refused("[server]\ndata = \"\"\ntls = \"127.0.0.1:9443\"");
    assert!(complaint.contains("needs tls_cert and tls_key"), "{complaint}");
}

#[test]
fn hosts_are_names_without_scheme_port_and_path() {
    for host in
        ["https://ops.example", "ops.example:443", "ops.example/x", "*.example", "bücher.example", "a b"]
    {
        let complaint = refused(&format!("[access]\nhosts = [\"localhost\", \"{host}\"]"));
        assert!(
            complaint.starts_with("x.toml:2: [access] hosts: ") && complaint.contains(host),
            "{complaint}"
        );
    }
    let hosts = parse("[access]\nhosts = [\"Ops.example.\", \"::2\", \"[::3]\"]").unwrap().access.hosts;
    assert_eq!(hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ops.example", "[::2]", "[::3]"]);
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let sources = "[[source]]\nkind = \"replay\"\nspeed = 0\n[[source]]\nkind = \"synthetic\"\nupdates_per_s = 2.5\n\
                   [[source]]\nkind = \"host\"\ninterval = \"1500ms\"\n\
                   [[source]]\nkind = \"websocket\"\nurl = \"ws://[::1]:1/a?b\"\nsend = ['{\"a\":\"b\"}', \"c'\\n\"]\n\
                   [[source.map]]\nwhen = { \"/a~1b\" = \"x\", \"/c'\\\"d\" = \"*\", \"/e\" = 7, \"/f\" = true }\neach = \"/g\"\n\
                   topic = \"t.{^/h}.{}\"\nts = \"/t\"\nseq = \"^/s\"\nseq_first = \"^/r\"\ndata = \"\"\n\
                   [[source.map]]\ntopic = \"k\"\nlevels = [{ key = \"b\", path = \"/b\" }, { key = { 's\"' = \"a\" }, path = \"\" }]\n\
                   reset = true\n[[topic]]\npattern = \"k\"\nmode = \"keyed\"\nexpiry = \"1h\"\n\
                   [[topic]]\npattern = \"q.*\"\ndeadband = 0.25\ndeadband_at = \"/a/0\"\n";
    let every = format!(
        "[server]\ndata = \"[::1]:0\"\nadmin = \"\"\nshards = 3\ncpus = [1]\ndrain = \"90s\"\n\
         [fanout]\ninterval_ms_menu = [0, 50, 1000]\n[limits]\nmessage_bytes = 1000\nconnections = 12\nadmin_bytes_per_s = \"0\"\n\
         [access]\nhosts = [\"Ops.example.\", \"::2\", \"192.0.2.1\"]\n{sources}"
    );
    for text in ["", &every] {
        let config = parse(text).unwrap();
        let rendered = config.render(&machine());
        let again = parse(&rendered).unwrap_or_else(|refused| panic!("{refused:?}\n{rendered}"));
        let connections = Some(config.connections_max(&machine()));
        let effective =
            Config { limits: engine::settings::Limits { connections, ..config.limits.clone() }, ..config };
        assert_eq!(again, effective);
    }
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    for (text, complaint) in [
        (
            "\n[fanout]\nframe_bytes = \"1KiB\"",
            "x.toml:3: [fanout] frame_bytes: unknown key; did you mean frame_bytes_max?",
        ),
        (
            "[limits]\npinned_byte = 1",
            "x.toml:2: [limits] pinned_byte: unknown key; did you mean pinned_bytes?",
        ),
        (
            "[server]\n\nheartbeat = \"1s\"",
            "x.toml:3: [server] heartbeat: unknown key; heartbeat belongs to [fanout]",
        ),
        (
            "[fan]\n",
            "x.toml:1: [fan] is unknown; there are access, admin, audit, certificate, compression, fanout, limits, log, overload, raw, server, source, state, topic",
        ),
        ("drain = \"1s\"", "x.toml:1: drain stands in no section; drain belongs to [server]"),
        (
            "[[source]]\nkind = \"host\"\nseed = 1",
            "x.toml:3: [source] seed: unknown key; there are interval, kind, name, names, stale_after, topics",
        ),
    ] {
        assert_eq!(refused(text), complaint, "{text}");
    }
}

#[test]
fn bad_values_are_refused_with_what_to_write() {
    for (text, complaint) in [
        (
            "[server]\ndrain = 10",
            "x.toml:2: [server] drain = 10: the unit is missing; write \"10ms\" or \"10s\"",
        ),
        (
            "[server]\ndrain = \"0\"",
            "x.toml:2: [server] drain = \"0\": out of range; write \"1ms\" to \"1h\"",
        ),
        (
            "[server]\ndata = \"localhost\"",
            "x.toml:2: [server] data = \"localhost\": write an address and a port, like \"127.0.0.1:9001\"",
        ),
        ("[server]\nshards = 0", "x.toml:2: [server] shards = 0: out of range; write 1 to 1024"),
        ("[server]\nshards = -1", "x.toml:2: [server] shards = -1: write a whole number, 0 or more"),
        (
            "[server]\ncpus = [0, 7]",
            "x.toml:2: [server] cpus: this process may not run on CPU 7; choose of [0, 1]",
        ),
        (
            "[fanout]\nframe_bytes_max = \"64KB\"",
            "x.toml:2: [fanout] frame_bytes_max = \"64KB\": write \"64KiB\"",
        ),
        (
            "[fanout]\ninterval_ms = \"100ms\"",
            "x.toml:2: [fanout] interval_ms = \"100ms\": write a whole number, 0 or more",
        ),
        ("[limits]\nsubscriptions = 9", "x.toml:2: [limits] subscriptions = 9: out of range; write 1 to 8"),
        (
            "[[source]]\nkind = \"synthetic\"\nupdates_per_s = inf",
            "x.toml:3: [source] updates_per_s = inf: write a number",
        ),
        (
            "[limits]\npatterns = 100\npatterns_per_ip = 99",
            "x.toml:3: [limits] patterns_per_ip = 99 is below patterns = 100: one connection could not have as many; write at least 100, or 0 for no limit",
        ),
        (
            "[limits]\nclasses = 50\nclasses_per_ip = 51",
            "x.toml:3: [limits] classes_per_ip = 51 is above classes = 50: an address could take all of it; write less than 50, or 0 for no limit",
        ),
        (
            "[limits]\npatterns = 1000\nshard_patterns = 50",
            "x.toml:2: [limits] patterns = 1000 is above shard_patterns = 50: no connection could have as many; write at most 50, or raise shard_patterns to 1000",
        ),
        (
            "[limits]\nclasses = 4\nsubscriptions = 8",
            "x.toml:3: [limits] subscriptions = 8 is above classes = 4: no connection could have as many; write at most 4, or raise classes to 8",
        ),
        (
            "[compression]\ndictionaries = \"1MiB\"\ndictionaries_per_ip = \"2MiB\"",
            "x.toml:3: [compression] dictionaries_per_ip = \"2MiB\" is above dictionaries = \"1MiB\": an address could take all of it; write at most \"1MiB\", or 0 for no limit",
        ),
        ("server = 1", "x.toml:1: server is a section; write [server] on a line of its own"),
    ] {
        assert_eq!(refused(text), complaint, "{text}");
    }
    assert!(refused("[server\n").starts_with("x.toml:1: not TOML: "));
    assert!(refused("[server]\ndrain = \"1s\"\ndrain = \"2s\"").starts_with("x.toml:3: not TOML: "));
    let missing = refused("[[source]]\nkind = \"replay\"\npath = \"none.ndjson\"");
    assert!(
        missing.starts_with("x.toml:3: [source] path: there is no file ") && missing.contains("none.ndjson")
    );
}

/// A WebSocket source with these keys of its own on line 4, and these of its one `map` from line 6 on.
fn websocket(keys: &str, map: &str) -> String {
    format!("[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n{keys}\n[[source.map]]\n{map}")
}

#[test]
fn mistakes_in_the_words_of_venues_are_refused_by_line() {
    const MAP: &str = "topic = \"a.{/b}\"\ndata = \"\"";
    const LEVELS: &str = "levels = [{ path = \"/b\", key = \"b\" }]";
    let of = |keys: &str| format!("topic = \"a\"\n{keys}");
    let levels = |keys: &str| format!("topic = \"a\"\n{LEVELS}\n{keys}");
    let list = |keys: &str| format!("topic = \"a\"\nlevels = [{{ path = \"/b\", key = \"b\", {keys} }}]");
    let source = [
        ("symbols = \"a\"", "symbols = \"a\": write a list of texts, like [\"btcusd\"]"),
        ("symbols = [\"\"]", "a symbol is a text of 1 to 255 bytes"),
        ("send = [\"{symbol}\"]", "{symbol} stands for nothing; there are {time_s}, {time_ms} and {time_us}"),
        (
            "symbols = [\"a\"]\nsend = [\"{simbol}\"]",
            "{simbol} stands for nothing; there are {symbol}, {time_s}",
        ),
        ("send = [\"{/a}\"]", "{/a}: there is no message to take it from"),
        ("send = [\"{@token/a}\"]", "there is no [source.token] to ask first"),
        ("send = [\"{sign}\"]", "there is no [source.sign] that says how to sign"),
        ("send_every = \"2h\"", "out of range; write \"0\" to \"1h\""),
        ("encoding = \"zip\"", "write \"none\", \"gzip\" or \"deflate\""),
        ("renew = \"1y\"", "renew = \"1y\": "),
        ("snapshot_bytes = 1", "snapshot_bytes = 1: out of range"),
        ("headers = [1]", "headers = (secret): write names and texts"),
        ("headers = { \"a b\" = \"s3cret\" }", "headers = (secret): \"a b\" is no name of a header field"),
        ("headers = { host = \"s3cret\" }", "host: the request has it by itself; leave it out"),
        ("headers = { A = \"s3cret\\n\" }", "A: what it is filled with holds what no header field may hold"),
        ("headers = { A = \"{sign}\" }", "A: {sign}: there is no [source.sign]"),
        ("ping = \"a\"", "ping is a section; write [source.ping] on a line of its own"),
        ("ping = { every = \"1s\" }", "[source.ping] text is missing; write what is sent"),
        ("ping = { text = \"a\" }", "[source.ping] every is missing; write the time between two"),
        ("ping = { every = \"1ms\", text = \"a\" }", "every = \"1ms\": out of range"),
        (
            "ping = { every = \"1s\", text = \"a\", tekst = 1 }",
            "[source.ping] tekst: unknown key; did you mean text?",
        ),
        ("reply = [{ send = \"a\" }]", "[source.reply] when is missing: every message would be answered"),
        ("reply = [{ when = { \"/a\" = 1 } }]", "[source.reply] send is missing; write what is said"),
        ("reply = [{ when = { \"@/a\" = 1 }, send = \"a\" }]", "it begins at the message; write \"/a\""),
        ("reply = [{ when = { \"/a\" = 1 }, send = \"{b}\" }]", "{b} stands for nothing"),
        (
            "reply = [{ when = { \"/a\" = \"{b}{c}\" }, send = \"a\" }]",
            "where b ends and c begins cannot be told",
        ),
        ("token = { method = \"GET\" }", "[source.token] url is missing; write whom to ask"),
        ("token = { url = \"ws://h/\" }", "url = \"ws://h/\": write https://HOST/PATH"),
        ("token = { url = \"https://h/\", method = \"PUT\" }", "method = \"PUT\": write \"GET\" or \"POST\""),
        ("sign = { secret = \"s3cret\" }", "[source.sign] text is missing"),
        ("sign = { text = \"a\" }", "[source.sign] secret is missing"),
        ("sign = { secret = 1, text = \"a\" }", "secret = (secret): write text in quotes"),
        (
            "sign = { secret = \"s3cret\", secret_form = \"hex\", text = \"a\" }",
            "secret is not hex, as secret_form says",
        ),
        ("sign = { secret = \"s3cret\", text = \"{a}\" }", "{a} stands for nothing"),
        (
            "sign = { secret = \"s3cret\", text = \"a\", algorithm = \"md5\" }",
            "write \"sha256\", \"sha384\" or \"sha512\"",
        ),
        (
            "sign = { secret = \"s3cret\", text = \"a\", form = \"x\" }",
            "form = \"x\": write \"hex\" or \"base64\"",
        ),
    ];
    let entries = [
        (of("data = \"\"\nwhen = { \"/a\" = \"{b}{c}\" }"), 8, "where b ends and c begins cannot be told"),
        (
            of("data = \"\"\nwhen = { \"^/a\" = 1 }"),
            8,
            "`when` begins at the message anyway; leave out the ^",
        ),
        (
            of("data = \"\"\nwhen = { \"@/a\" = 1 }"),
            8,
            "@ leads into what was remembered; write where its id stands",
        ),
        (
            "topic = \"a.{@/b}\"\ndata = \"\"".to_owned(),
            6,
            "@ leads into what was remembered; write where its id stands",
        ),
        (of("data = \"\"\nrecall = \"/0\""), 5, "nothing is ever remembered; write an entry with remember"),
        (of("data = \"\"\nrecall = 7"), 8, "recall = 7: write text in quotes"),
        (of("data = \"@/a\""), 7, "what was remembered is not published again; write \"/a\""),
        (of("data = \"\"\nseq = \"@/a\""), 8, "it is of this message, not of one that was remembered"),
        (
            of("remember = \"/a\""),
            6,
            "an entry with remember makes no topic; leave out all but when, recall, also and remember",
        ),
        ("remember = \"^/a\"".to_owned(), 6, "it begins at the message; write \"/a\""),
        ("remember = \"/a\"\ngap = [\"b\"]".to_owned(), 6, "gap and remember are both there"),
        (of("data = \"\"\nalso = 1"), 8, "also = 1: write true or false"),
        (of("data = \"\"\neach = \"b\""), 8, "\"b\" does not begin with /"),
        (
            of("data = \"\"\neach = \"/{b}\"\nwhen = { \"/a\" = \"{b}\" }"),
            8,
            "{b} stands in when and in each; give one of them another name",
        ),
        (of("data = \"\"\nseq_prev = \"/p\""), 8, "there is no seq to go with it"),
        (
            of("data = \"\"\nseq = \"/u\"\nseq_prev = \"/p\"\nseq_sparse = true"),
            9,
            "seq_prev tells what is missing, seq_sparse that it cannot be told; keep one",
        ),
        (
            levels("reset = \"last\""),
            8,
            "write true, false, or \"first\": each topic's first message after a connect",
        ),
        (levels("reset = true\nwhole = \"x\""), 9, "whole = \"x\": write \"compare\" or \"reset\""),
        (
            levels("whole = \"compare\""),
            8,
            "whole goes with reset, which says that all of the topic comes; leave it out",
        ),
        (levels("scale = 1.5"), 8, "write a whole number from -30 to 30, like -4: 12345 becomes 1.2345"),
        (levels("scale = -31"), 8, "write a whole number from -30 to 30"),
        (of("data = \"\"\nscale = 1"), 8, "scale is of the prices of levels"),
        (of("fields = \"/a\"\ndata = \"\""), 7, "data and fields are both there; keep one"),
        (levels("fields = \"/a\""), 8, "levels and fields are both there; keep one"),
        (levels("on_gap = \"x\""), 8, "write \"tell\" or \"reconnect\""),
        (levels("on_gap = \"reconnect\""), 8, "there is no seq that tells a gap"),
        (of("data = \"\"\nseq = \"/u\"\non_gap = \"reconnect\""), 9, "on_gap is of levels and fields"),
        (list("delete = 1"), 7, "write true, or what must hold of the level, like { \"/1\" = 0 }"),
        (list("delete = {}"), 7, "write true, or what must hold of the level"),
        (list("delete = { \"@/a\" = 0 }"), 7, "\"@/a\": write true, or what must hold of the level"),
        (list("delete = true, size = \"/1\""), 7, "each level of the list is deleted, whatever its size"),
        (
            list("price = \"@/p\""),
            7,
            "nothing is; write where the level's id stands, like remember = \"/id\"",
        ),
        (list("size = \"@/p\""), 7, "side, size and remember begin at the level; leave out the @"),
        (list("remember = \"^/p\""), 7, "side, size and remember begin at the level; leave out the ^"),
        (levels("snapshot = 1"), 8, "snapshot is a section; write [source.map.snapshot]"),
        (levels("seq = \"/u\"\nsnapshot = {}"), 9, "url is missing; write where the whole is asked for"),
        (levels("seq = \"/u\"\nsnapshot = {}"), 9, "seq is missing: nothing could be joined to it"),
        (levels("seq = \"/u\"\nsnapshot = {}"), 9, "levels is missing; write where they are in the answer"),
    ];
    for (keys, complaint) in source {
        let complaints = parse(&websocket(keys, MAP)).expect_err(keys);
        let told = |line: &String| line.starts_with("x.toml:") && line.contains(complaint);
        assert!(complaints.iter().any(told), "{keys}: {complaint}: {complaints:?}");
        assert!(!complaints.concat().contains("s3cret"), "{keys}: {complaints:?}");
    }
    let wrong = entries.iter().filter_map(|(map, line, complaint)| {
        let complaints = parse(&websocket("", map)).expect_err(map);
        let told = |told: &String| told.starts_with(&format!("x.toml:{line}: ")) && told.contains(complaint);
        (!complaints.iter().any(told))
            .then(|| format!("{map}\n{line}: {complaint}\n{}", complaints.join("\n")))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let asked = |keys: &str| {
        let snapshot = format!("url = \"https://h/\", seq = \"/u\", {LEVELS}");
        levels(&format!("{keys}\nsnapshot = {{ {snapshot} }}"))
    };
    for (map, complaint) in [
        (asked(""), "snapshot: there is no seq to join it by"),
        (asked("seq = \"/u\"\nreset = true"), "snapshot: with reset the whole comes by itself; keep one"),
        (
            asked("seq = \"/u\"\non_gap = \"reconnect\""),
            "on_gap: the snapshot is asked for after a gap; keep one",
        ),
        (asked("seq = \"/u\"").replace("https://h/", "https://h/{a}"), "{a} stands for nothing"),
        (asked("seq = \"/u\"").replace("https://h/", "h/"), "write https://HOST/PATH"),
        (
            asked("seq = \"/u\"").replace("seq = \"/u\", l", "seq = \"^/u\", l"),
            "everything begins at the answer; write \"/u\"",
        ),
    ] {
        let complaints = parse(&websocket("", &map)).expect_err(&map);
        let told = |line: &String| line.starts_with("x.toml:") && line.contains(complaint);
        assert!(complaints.iter().any(told), "{map}: {complaint}: {complaints:?}");
    }
}

/// Each file of configs/venues is a configuration, and reads back as it is printed.
#[test]
fn the_files_of_venues_are_valid() {
    let environment: Environment = [
        "OKX_KEY",
        "OKX_SECRET",
        "OKX_PASSPHRASE",
        "ALPACA_KEY",
        "ALPACA_SECRET",
        "MASSIVE_KEY",
        "FINNHUB_TOKEN",
    ]
    .map(|name| (name, "s3cret"))
    .into_iter()
    .collect();
    let readme = std::fs::read_to_string(configs().join("venues/README.md")).unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(configs().join("venues")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".toml") {
            continue;
        }
        files += 1;
        assert!(readme.contains(&format!("]({name}) |")), "README.md has no row of {name}");
        let config =
            Config::load(&path, &environment, &machine()).unwrap_or_else(|refused| panic!("{refused}"));
        let printed = config.render(&machine());
        assert!(!printed.contains("s3cret"), "{printed}");
        assert!(!format!("{:?}", config.sources).contains("s3cret"));
        if !printed.contains("(secret)") {
            let again = Config::parse_with(&printed, name, &configs(), &environment, &machine());
            assert_eq!(
                again.unwrap_or_else(|refused| panic!("{refused}\n{printed}")).sources,
                config.sources,
                "{name}"
            );
        }
    }
    assert_eq!(readme.matches(".toml) | ").count(), files, "README.md has rows of files that are not there");
}

#[test]
fn mistakes_of_a_websocket_source_are_refused_by_line() {
    const MAP: &str = "topic = \"a.{/b}\"\ndata = \"\"";
    for (keys, map, complaint) in [
        ("idle = \"1ms\"", MAP, "x.toml:4: [source] idle = \"1ms\": out of range; write \"100ms\" to \"1h\""),
        (
            "send = [1]",
            MAP,
            "x.toml:4: [source] send = [1]: write a list of texts, like ['{\"op\":\"subscribe\"}']",
        ),
        ("backof_min = \"1s\"", MAP, "x.toml:4: [source] backof_min: unknown key; did you mean backoff_min?"),
        ("host = \"a/b\"", MAP, "x.toml:4: [source] host = \"a/b\": write HOST or HOST:PORT"),
        ("host = \"a\\r\"", MAP, "x.toml:4: [source] host = \"a\\r\": write HOST or HOST:PORT"),
        ("name = \"\"", MAP, "x.toml:4: [source] name = \"\": write 1 to 64 bytes of text"),
        (
            "",
            "data = \"\"",
            "x.toml:5: [source.map] topic is missing; write topic = \"venue.ticker.{/symbol}\"",
        ),
        (
            "",
            "topic = \"a\"",
            "x.toml:5: [source.map] neither data nor levels nor fields; write data = \"\" to publish the message as it stands",
        ),
        (
            "",
            "topic = \"a.{b}\"\ndata = \"\"",
            "x.toml:6: [source.map] {b} stands for nothing: no text of when and no step of each has it; write it there, like when = { \"/channel\" = \"book.{b}\" }, or write a pointer, like {/b}",
        ),
        (
            "",
            "topic = \"a\"\ndata = \"b\"",
            "x.toml:7: [source.map] data = \"b\": \"b\" does not begin with /; write \"/b\", or \"\" for all of it",
        ),
        (
            "",
            "topic = \"a\"\nwhen = { \"/b\" = 1.5 }\ndata = \"\"",
            "x.toml:7: [source.map] when = { \"/b\" = 1.5 }: \"/b\": write text, a whole number, true, false, or \"*\" for anything",
        ),
        (
            "",
            "topic = \"a\"\nwhen = \"b\"\ndata = \"\"",
            "x.toml:7: [source.map] when = \"b\": write pointers and what stands there, like { \"/type\" = \"ticker\" }",
        ),
        (
            "",
            "topic = \"a\"\ndata = \"\"\nts = \"^/t\"",
            "x.toml:8: [source.map] \"^/t\": ^ leads out of `each`, of which there is none; write \"/t\"",
        ),
        (
            "",
            "topic = \"a\"\nseq_first = \"/u\"\ndata = \"\"",
            "x.toml:7: [source.map] there is no seq to go with it; write where the count stands, like seq = \"/u\"",
        ),
        (
            "",
            "topic = \"a\"\nseq = \"/u\"\nseq_first = \"/v\"\nseq_sparse = true\ndata = \"\"",
            "x.toml:8: [source.map] seq_first tells what is missing, seq_sparse that it cannot be told; keep one",
        ),
        (
            "",
            "topic = \"a\"\neach = \"^/e\"\ndata = \"\"",
            "x.toml:7: [source.map] each begins at the message anyway; leave out the ^",
        ),
        (
            "",
            "topic = \"a\"\neach = \"/e\"\ndata = \"^/d\"",
            "x.toml:8: [source.map] \"^/d\" would be published once for every element of each; begin at the element, without the ^",
        ),
        (
            "",
            "topic = \"a\"\ndata = \"\"\nreset = true",
            "x.toml:8: [source.map] reset is for levels and fields; data replaces what was there anyway; leave reset out",
        ),
        (
            "",
            "topic = \"a\"\ndata = \"\"\nlevels = [{ key = \"b\", path = \"/b\" }]",
            "x.toml:8: [source.map] data and levels are both there; keep one, or write two entries with also = true",
        ),
        (
            "",
            "topic = \"a\"\nlevels = [{ path = \"/b\" }]",
            "x.toml:7: [source.map.levels] key is missing; write what goes before the price, like key = \"b\", or by side key = { buy = \"b\", sell = \"a\" }",
        ),
        (
            "",
            "topic = \"a\"\nlevels = [{ key = \"b\", path = \"/b\", prize = \"/0\" }]",
            "x.toml:7: [source.map.levels] prize: unknown key; did you mean price?",
        ),
        (
            "",
            "topic = \"a\"\nlevels = [{ key = \"b\", path = \"/b\", side = \"/0\" }]",
            "x.toml:7: [source.map.levels] side chooses between keys, but key = \"b\" is one; write key = { buy = \"b\", sell = \"a\" } or leave side out",
        ),
        (
            "",
            "topic = \"a\"\ndata = \"\"\n[[source.map]]\ntopic = \"b\"\ndata = \"\"",
            "x.toml:8: [source.map] never reached: the entry of line 5 has no `when` and takes every message",
        ),
    ] {
        let complaints = parse(&websocket(keys, map)).expect_err(map);
        assert!(complaints.iter().any(|c| c == complaint), "{complaint}: {complaints:?}");
    }
    let both = "backoff_min = \"2s\"\nbackoff_max = \"1s\"";
    let complaint = refused(&websocket(both, MAP));
    assert_eq!(
        complaint,
        "x.toml:4: [source] backoff_min = \"2s\" is above backoff_max = \"1s\"; write at most \"1s\""
    );
    assert!(parse(&websocket("", MAP).replace("ws://", "wss://")).is_ok());
    let complaint = refused(&websocket("ca = \"no.pem\"", MAP));
    assert_eq!(complaint, "x.toml:4: [source] ca goes with a wss:// url");
    let complaint = refused(&websocket("ca = \"no.pem\"", MAP).replace("ws://", "wss://"));
    assert!(complaint.starts_with("x.toml:4: [source] cannot read the CA "), "{complaint}");
    let levels = "topic = \"a\"\nlevels = [{ key = \"b\", path = \"/b\" }]";
    let complaint = refused(&websocket("", levels));
    assert!(
        complaint
            .starts_with("x.toml:1: [source] levels become keys of a keyed topic, of which there is none;")
    );
    assert!(
        parse(&format!("{}\n[[topic]]\npattern = \"a\"\nmode = \"keyed\"", websocket("", levels))).is_ok()
    );
    let chained = "[[source]]\nkind = \"fanwire\"\nurl = \"ws://127.0.0.1:1/ws\"\n";
    assert!(
        refused(&format!("[[source]]\nkind = \"host\"\n{chained}")).starts_with(
            "x.toml:3: [source] a gateway of kind = \"fanwire\" takes its numbers from upstream"
        )
    );
    assert!(refused(&format!("{chained}[[topic]]\npattern = \"a\"\nexpiry = \"1s\"")).starts_with(
        "x.toml:1: [source] the upstream numbers all updates, so nothing is held back, expires or is counted here"
    ));
    assert!(
        refused(&format!("{chained}topics = [\"a*\"]"))
            .starts_with("x.toml:4: [source] topics = [\"a*\"]: \"a*\": ")
    );
    let config = parse(chained).unwrap();
    assert!(config.is_chained());
    assert_eq!(parse(&config.render(&machine())).unwrap().sources, config.sources);
    let bare = "[[source]]\nkind = \"websocket\"";
    let complaints = parse(bare).unwrap_err();
    assert!(
        complaints[0].contains("map is missing") && complaints[1].contains("url is missing"),
        "{complaints:?}"
    );
    let twice = format!("{0}\n{0}", websocket("", MAP));
    assert!(refused(&twice).starts_with("x.toml:8: [source] two sources are called \"127.0.0.1:1\""));
}

#[test]
fn where_one_back_off_is_named_the_other_follows() {
    let websocket = |keys| {
        let config = parse(&websocket(keys, "topic = \"a\"\ndata = \"\"")).unwrap();
        let Source::Websocket(source) = &config.sources[0] else { panic!("{config:?}") };
        [source.link.backoff_min, source.link.backoff_max].map(|wait| wait.as_millis())
    };
    assert_eq!(websocket(""), [500, 30_000]);
    assert_eq!(websocket("backoff_min = \"1m\""), [60_000, 60_000]);
    assert_eq!(websocket("backoff_max = \"100ms\""), [100, 100]);
}

#[test]
fn an_empty_text_is_as_good_as_none() {
    assert!(
        parse("[server]\ntls = \"\"\ntls_cert = \"\"\n[[topic]]\npattern = \"*.a\"\nmode = \"latest\"")
            .is_ok()
    );
}

#[test]
fn a_topics_policy_is_taken_whole_and_printed_again() {
    let text = "[[topic]]\npattern = \"*.book.*\"\nmode = \"keyed\"\nkeys = 7\nkey_tombstones = 3\ntable_bytes = \"1KiB\"\n\
                [[topic]]\npattern = \"*.trade.*\"\nmode = \"stream\"\nhistory = 2\nring_updates = 5\nring_bytes = \"2KiB\"\nring_age = \"3s\"\nbehind = \"close\"\n";
    let config = parse(text).unwrap();
    assert!(
        matches!(&*config.topics.of("x.book.y").mode, Mode::Keyed(k) if k.keys == 7 && k.key_tombstones == 3)
    );
    assert!(
        matches!(&*config.topics.of("x.trade.y").mode, Mode::Stream(s) if s.snapshot_updates == 2 && s.history_updates == 5)
    );
    assert_eq!(*config.topics.of("x.quote.y").mode, Mode::Latest);
    let stream = parse("[[topic]]\npattern = \"*\"\nmode = \"stream\"\nhistory = 0").unwrap();
    assert!(matches!(&*stream.topics.of("a").mode, Mode::Stream(s) if s.snapshot_updates == 0));
    let again = parse(&config.render(&machine())).unwrap();
    assert_eq!(again.topics, config.topics);
}

#[test]
fn what_clients_may_write_is_taken_whole_and_printed_again() {
    let text = "[[topic]]\npattern = \"room.*\"\nmode = \"keyed\"\nwrite = \"own-key\"\nbound = true\nlinger = \"7s\"\n\
                key_expiry = \"1m\"\ncount = true\nsanitize = [\"/text\", \"\"]\n\
                [[topic]]\npattern = \"news.*\"\nwrite = \"none\"\n[[topic]]\npattern = \"any.*\"\nmode = \"keyed\"\nbound = true\n";
    let config = parse(text).unwrap();
    let room = config.topics.of("room.a");
    let terms = KeyTerms {
        linger: Some(Duration::from_secs(7)),
        expiry: Some(Duration::from_secs(60)),
        are_counted: true,
    };
    assert_eq!((room.write, room.key_terms), (Write::OwnKey, terms));
    assert_eq!(config.topics.of("news.a").write, Write::None);
    assert_eq!(config.topics.of("any.a").key_terms.linger, Some(Duration::from_secs(5)));
    let sanitize = &config.checks.at(0).unwrap().sanitize;
    assert_eq!(sanitize.iter().map(|pointer| pointer.as_str()).collect::<Vec<_>>(), ["/text", ""]);
    let again = parse(&config.render(&machine())).unwrap();
    assert_eq!((&again.topics, &again.checks), (&config.topics, &config.checks));
}

#[test]
fn a_gateway_with_an_upstream_makes_no_updates_of_its_own() {
    for key in ["bound = true", "key_expiry = \"5s\"", "count = true"] {
        let text = format!(
            "[[source]]\nkind = \"fanwire\"\nurl = \"ws://127.0.0.1:1/ws\"\n[[topic]]\npattern = \"room.*\"\nmode = \"keyed\"\n{key}\n"
        );
        let complaint = refused(&text);
        assert!(
            complaint.starts_with("x.toml:1: ") && complaint.contains("the upstream numbers all"),
            "{complaint}"
        );
    }
}

#[test]
fn a_topics_policy_that_contradicts_itself_is_refused_with_its_line() {
    for (entry, line, part) in [
        ("pattern = \"a\"\nmode = \"last\"", 3, "write \"latest\", \"stream\" or \"keyed\""),
        ("pattern = \"a\"\nmode = \"keyed\"\nhistory = 2", 4, "history is for mode = \"stream\""),
        ("pattern = \"a\"\nmode = \"stream\"\nkeys = 2", 4, "keys is for mode = \"keyed\""),
        ("pattern = \"a\"\nring_updates = 2", 3, "this entry is \"latest\"; leave it out"),
        ("pattern = \"a\"\nmode = \"keyed\"\nkeys = 0", 4, "out of range; write 1 to 10000000"),
        ("pattern = \"a\"\nmode = \"stream\"\nhistory = 9\nring_updates = 8", 4, "write at most 8"),
        ("pattern = \"a\"\nmode = \"stream\"\nbehind = \"drop\"", 4, "write \"gap\" or \"close\""),
        ("pattern = \"a\"\nmode = \"keyed\"\ndeadband = 2", 4, "deadband is for mode = \"latest\""),
        ("pattern = \"a\"\ndeadband_at = \"/p\"", 3, "there is no deadband to go with it"),
        ("pattern = \"a\"\ndeadband = 1\ndeadband_at = \"p\"", 4, "does not begin with /; write \"/p\""),
        ("pattern = \"a\"\ndeadband = -1", 3, "deadband = -1: out of range; write 0 to 1000000000000000"),
        ("pattern = \"a\"\ndeadband = 1\nexpiry = \"1s\"", 4, "it is not above deadband_max = \"1s\""),
        ("pattern = \"a\"\nstale_after = \"2s\"\nexpiry = \"1s\"", 4, "it is not above stale_after = \"2s\""),
        ("pattern = \"a\"\ndeadband = 1\nstale_after = \"1s\"", 4, "it is not above deadband_max = \"1s\""),
        ("pattern = \"a\"\nexpiry = \"5ms\"", 3, "write at least \"10ms\""),
        ("pattern = \"a\"\nwrite = \"own\"", 3, "write \"any\", \"own-key\" or \"none\""),
        ("pattern = \"a\"\nwrite = \"own-key\"", 3, "write \"any\" or \"none\""),
        ("pattern = \"a\"\nmode = \"stream\"\nwrite = \"own-key\"", 4, "is for mode = \"keyed\""),
        ("pattern = \"a\"\nbound = true", 3, "bound is for mode = \"keyed\", this entry is \"latest\""),
        ("pattern = \"a\"\nmode = \"stream\"\nkey_expiry = \"5s\"", 4, "key_expiry is for mode = \"keyed\""),
        (
            "pattern = \"a\"\ncount = true",
            3,
            "count is for mode = \"keyed\", this entry is \"latest\"; leave it",
        ),
        ("pattern = \"a\"\nmode = \"keyed\"\nlinger = \"1s\"", 4, "write bound = true beside it"),
        ("pattern = \"a\"\nmode = \"keyed\"\nkey_expiry = \"5ms\"", 4, "write at least \"10ms\""),
        ("pattern = \"a\"\nschema = \"none.json\"", 3, "none.json: No such file"),
        ("pattern = \"a\"\nsanitize = [\"text\"]", 3, "write \"/text\""),
        ("pattern = \"a\"\nsanitize = [\"^/text\"]", 3, "leave out the ^ or @"),
        ("pattern = \"a*\"", 2, "a * may only stand for a whole segment; write one like"),
        ("pattern = \"a\"\nkeyz = 1", 3, "unknown key; did you mean keys?"),
    ] {
        let complaint = refused(&format!("[[topic]]\n{entry}"));
        assert!(complaint.contains(&format!("x.toml:{line}: ")) && complaint.contains(part), "{complaint}");
    }
}

#[test]
fn contradictions_that_the_file_names_are_refused() {
    for (text, line, part) in [
        ("[fanout]\ninterval_ms = 50\ninterval_ms_min = 100", 2, "raise it to 100"),
        ("[fanout]\ninterval_ms_menu = [100, 50]", 2, "50 comes after 100"),
        (
            "[fanout]\ninterval_ms_min = 100\ninterval_ms_menu = [50, 100]",
            3,
            "50 is below interval_ms_min = 100",
        ),
        ("[fanout]\ninterval_ms_menu = [50]\ninterval_ms = 60", 3, "write at most 50"),
        (
            "[fanout]\nframe_bytes_max = \"1MiB\"\n[limits]\npinned_bytes = \"512KiB\"",
            4,
            "below [fanout] frame_bytes_max = \"1MiB\"",
        ),
        ("[limits]\ntopics_bytes = \"2KiB\"\nvalue_bytes = \"3KiB\"", 3, "write at most \"2KiB\""),
        (
            "[limits]\ntopics_bytes = \"2MiB\"\n[[topic]]\npattern = \"*\"\nmode = \"keyed\"\ntable_bytes = \"3MiB\"",
            6,
            "raise that to \"3MiB\"",
        ),
        ("[limits]\npublish_bytes = \"2KiB\"\nvalue_bytes = \"3KiB\"", 3, "write at most \"2KiB\""),
        ("[limits]\nping = \"5s\"\npong = \"6s\"", 3, "write at most \"5s\""),
        ("[server]\ndata = \"127.0.0.1:9005\"\nadmin = \"127.0.0.1:9005\"", 3, "give admin another port"),
        ("[limits]\nconnection_age = \"999ms\"", 2, "write at least \"1s\", or \"0\" for any age"),
        ("[state]\npath = \"none/state\"", 2, "/none; make it"),
        ("[state]\npath = \".\"", 2, "is a directory; write a file in it"),
        (
            "[[source]]\nkind = \"fanwire\"\nurl = \"ws://127.0.0.1:1/ws\"\n[state]\npath = \"state\"",
            5,
            "gets everything from its upstream; leave it out",
        ),
        (
            "[[source]]\nkind = \"replay\"\nstale_after = \"1s\"",
            3,
            "stale_after needs to know of which topics it is told; write topics = [",
        ),
        (
            "[server]\nshards = 2\n[limits]\nconnections = 100000",
            4,
            "connections = 100000 does not fit: the hard limit nofile is 20000, 2 shards give room for 39488 clients; raise [server] shards to 6",
        ),
    ] {
        let complaint = refused(text);
        assert!(
            complaint.starts_with(&format!("x.toml:{line}: ")) && complaint.contains(part),
            "{complaint}"
        );
    }
}

const BOOK: &str = "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n\
                    [[source.map]]\ntopic = \"x.{/s}\"\nlevels = [{ path = \"/b\", key = \"b\" }, { path = \"/a\", key = \"a\" }]\n";

const DATA: &str = "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n\
                    [[source.map]]\ntopic = \"x.{/s}\"\ndata = \"\"\n";
const CHAINED: &str = "[[source]]\nkind = \"fanwire\"\nurl = \"ws://127.0.0.1:1/ws\"\n";

#[test]
fn keys_for_which_a_whole_table_has_no_room_are_refused_by_whatever_limit_it_meets() {
    let keyed = "[[topic]]\npattern = \"x.*\"\nmode = \"keyed\"\n";
    for (text, line, part) in [
        (
            format!("{keyed}keys = 200000"),
            4,
            "[limits] value_bytes is 1MiB: raise that to \"6250KiB\", or lower keys to 32768",
        ),
        (
            format!("[limits]\nvalue_bytes = \"31KiB\"\n{keyed}keys = 1000"),
            6,
            "value_bytes is 31KiB: raise that to \"32000B\", or lower keys to 992",
        ),
        (format!("{keyed}keys = 1000\ntable_bytes = \"16KiB\""), 4, "table_bytes is 16KiB: raise that"),
        (
            format!(
                "[limits]\nvalue_bytes = \"64MiB\"\npinned_bytes = \"64MiB\"\n{keyed}keys = 2500000\ntable_bytes = \"128MiB\""
            ),
            7,
            "[limits] value_bytes is 64MiB",
        ),
        (
            format!(
                "{}reset = true\n{keyed}keys = 30000",
                BOOK.replace("1/\"\n", "1/\"\nmessage_bytes = \"900KiB\"\n")
            ),
            4,
            "message_bytes = \"900KiB\": a whole book of keys = 30000, as the [[topic]] \"x.*\" has",
        ),
        (
            format!("[limits]\nvalue_bytes = \"16B\"\n{keyed}keys = 101"),
            6,
            "raise that to \"3232B\", or lower keys to 100",
        ),
        (
            format!("[limits]\nvalue_bytes = \"8MiB\"\n{DATA}{keyed}keys = 200000"),
            3,
            "message_bytes = \"4MiB\": a whole book of keys = 200000, as the [[topic]] \"x.*\" has",
        ),
        (
            format!(
                "[limits]\nvalue_bytes = \"8MiB\"\n{CHAINED}message_bytes = \"1MiB\"\n{keyed}keys = 200000"
            ),
            6,
            "message_bytes = \"1MiB\": a whole book of keys = 200000, as the [[topic]] \"x.*\" has",
        ),
        (
            format!("{BOOK}depth = 5000\n{keyed}table_bytes = \"16KiB\""),
            4,
            "depth = 5000 of each side makes 10000 keys, of 32 bytes each 320000B, but table_bytes of the [[topic]] \
             \"x.*\" is 16KiB: raise that to \"320000B\", or lower depth",
        ),
        (
            format!("{BOOK}depth = 6000\n{keyed}"),
            4,
            "depth = 6000 of each side makes 12000 keys, but keys of the [[topic]] \"x.*\" is 10000",
        ),
        (
            "[limits]\nvalue_bytes = \"2MiB\"\npinned_bytes = \"1MiB\"".to_owned(),
            3,
            "raise it to at least \"2MiB\"",
        ),
    ] {
        let complaints = parse(&text).expect_err(&text);
        assert!(complaints[0].starts_with(&format!("x.toml:{line}: ")), "{text}: {complaints:?}");
        assert!(complaints[0].contains(part), "{text}: {complaints:?}");
    }
    // What is not named contradicts nothing, and reads back as it is.
    for text in [
        format!("[limits]\nvalue_bytes = 64\n{keyed}"),
        format!("{keyed}table_bytes = \"1KiB\""),
        format!("{}reset = true\n{keyed}", BOOK.replace("1/\"\n", "1/\"\nmessage_bytes = 1000\n")),
        "[limits]\nvalue_bytes = \"32MiB\"".to_owned(),
        "[limits]\npublish_bytes = \"2KiB\"".to_owned(),
        format!("[limits]\nvalue_bytes = \"8MiB\"\n{keyed}keys = 200000"),
        format!("[limits]\nvalue_bytes = \"8MiB\"\n{CHAINED}{keyed}keys = 200000"),
        format!("{CHAINED}message_bytes = \"1MiB\"\n{keyed}"),
        format!(
            "[limits]\nvalue_bytes = \"8MiB\"\n{CHAINED}message_bytes = \"1MiB\"\ntopics = [\"y.*\"]\n{keyed}keys = 200000"
        ),
        format!("{BOOK}depth = 50\n{keyed}table_bytes = \"1KiB\""),
    ] {
        let config = parse(&text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
        let rendered = config.render(&machine());
        let again = parse(&rendered).unwrap_or_else(|refused| panic!("{refused:?}\n{rendered}"));
        assert_eq!(
            (again.topics, again.limits.value_bytes),
            (config.topics, config.limits.value_bytes),
            "{text}"
        );
    }
}

#[test]
fn an_entry_with_gap_takes_no_key_that_a_topic_has() {
    for key in [
        "topic = \"a\"",
        "ts = \"/t\"",
        "seq = \"/u\"",
        "seq_first = \"/u\"",
        "seq_sparse = true",
        "data = \"\"",
        "reset = true",
        "depth = 5",
        "levels = [{ path = \"/b\", key = \"b\" }]",
    ] {
        let source = "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\nstale_after = \"0s\"\n";
        let complaint = refused(&format!("{source}[[source.map]]\ngap = [\"a\"]\n{key}"));
        let text = "[source.map] an entry with gap makes no topic; leave out all but when, recall, also, each, order, gap and reason";
        assert_eq!(complaint, format!("x.toml:7: {text}"), "{key}");
    }
}

#[test]
fn entries_of_one_book_have_one_depth() {
    let map = |first: &str, second: &str| {
        format!(
            "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n\
             [[source.map]]\nwhen = {{ \"/t\" = \"s\" }}\ntopic = \"x.{{/s}}\"\n{first}\n\
             [[source.map]]\n{second}\n[[topic]]\npattern = \"*\"\nmode = \"keyed\""
        )
    };
    let levels = "levels = [{ path = \"/b\", key = \"b\" }, { path = \"/a\", key = \"a\" }]\ndepth = 5";
    let other = |depth: &str| format!("topic = \"x.{{/s}}\"\n{}", levels.replace("depth = 5", depth));
    for (second, has) in [(other("depth = 6"), "depth = 6"), (other(""), "none")] {
        let complaint = refused(&map(levels, &second));
        let text = "map: the entry of line 4 brings levels of the same topic and has depth = 5, this one has";
        assert_eq!(complaint, format!("x.toml:9: [source] {text} {has}: write the same in both"));
    }
    let spread = "topic = \"x.{/s}\"\nlevels = [{ path = \"/l\", key = \"last\" }]";
    for second in [other("depth = 5"), other("depth = 6").replace("x.", "y."), spread.to_owned()] {
        let text = map(levels, &second);
        assert!(parse(&text).is_ok(), "{text}: {:?}", parse(&text));
    }
}

#[test]
fn levels_of_topics_that_are_never_keyed_are_refused() {
    let topics = |topics: &[(&str, &str)]| {
        let entry = |(pattern, mode): &(&str, &str)| {
            format!("[[topic]]\npattern = \"{pattern}\"\nmode = \"{mode}\"\n")
        };
        format!("{BOOK}{}", topics.iter().map(entry).collect::<String>())
    };
    for (entries, because) in [
        (&[("y.*", "keyed")][..], "no [[topic]] matches it"),
        (
            &[("x.*", "latest"), ("*", "keyed")],
            "the [[topic]] \"x.*\", the first that matches, is \"latest\"",
        ),
        (
            &[("x.a", "stream"), ("*", "stream"), ("x.a", "keyed")],
            "the [[topic]] \"*\", the first that matches",
        ),
    ] {
        let complaint = refused(&topics(entries));
        let text = "x.toml:4: [source] map: levels become keys of a keyed topic, which \"x.{/s}\" is not: ";
        assert!(complaint.starts_with(&format!("{text}{because}")), "{complaint}");
    }
    for entries in [
        &[("x.a", "keyed")][..],
        &[("x.a", "latest"), ("x.*", "keyed")],
        &[("x.a", "keyed"), ("x.*", "latest")],
        &[("x.*.b", "latest"), ("*", "keyed")],
    ] {
        assert!(parse(&topics(entries)).is_ok(), "{entries:?}");
    }
}

#[test]
fn a_depth_knows_both_ends_of_a_book_or_is_refused() {
    let keyed = "[[topic]]\npattern = \"x.*\"\nmode = \"keyed\"\n";
    let map = |levels: &str| {
        format!(
            "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n[[source.map]]\ntopic = \"x.{{/s}}\"\n{levels}\n{keyed}"
        )
    };
    for levels in [
        "depth = 5\nlevels = [{ path = \"/b\", key = \"b\" }, { path = \"/a\", key = \"a\" }]",
        "depth = 5\nlevels = [{ path = \"/bids\", key = \"1\" }, { path = \"/asks\", key = \"2\" }]",
        "depth = 5\nlevels = [{ path = \"/c\", key = { Buy = \"x\", Sell = \"y\" } }]",
        "depth = 5\nlevels = [{ path = \"/c\", key = { \"0\" = \"x\", \"1\" = \"y\" }, best = { \"0\" = \"lowest\", \"1\" = \"highest\" } }]",
        "depth = 5\nlevels = [{ path = \"/yes\", key = \"y\", best = \"highest\" }, { path = \"/no\", key = \"n\", best = \"highest\" }]",
    ] {
        let config = parse(&map(levels)).unwrap_or_else(|refused| panic!("{levels}: {refused:?}"));
        let rendered = config.render(&machine());
        let again = parse(&rendered).unwrap_or_else(|refused| panic!("{refused:?}\n{rendered}"));
        assert_eq!(again.sources, config.sources, "{rendered}");
    }
    for (levels, part) in [
        ("depth = 5\ndata = \"\"", "write it beside levels"),
        ("depth = 0\nlevels = [{ path = \"/b\", key = \"b\" }]", "out of range; write 1 to 1000000"),
        (
            "depth = 5\nlevels = [{ path = \"/yes\", key = \"y\" }]",
            "best price of key \"y\" is the highest or the lowest is not known",
        ),
        (
            "depth = 5\nlevels = [{ path = \"/b\", key = \"b\", best = \"top\" }]",
            "write \"highest\" as of bids",
        ),
        (
            "depth = 5\nlevels = [{ path = \"/b\", key = \"\" }, { path = \"/asks\", key = \"a\" }]",
            "cannot be told apart",
        ),
        (
            "depth = 5\nlevels = [{ path = \"/b\", key = \"a\" }, { path = \"/a\", key = \"a\", best = \"highest\" }]",
            "cannot be told apart",
        ),
        (
            "levels = [{ path = \"/b\", key = \"b\", best = { b = \"highest\" } }]",
            "write best = \"highest\" or \"lowest\"",
        ),
    ] {
        let complaint = refused(&map(levels));
        assert!(complaint.contains(part), "{levels}: {complaint}");
    }
}

#[test]
fn a_share_that_is_above_its_whole_is_refused_where_both_are_named() {
    let keyed = "[[topic]]\npattern = \"x\"\nmode = \"keyed\"\ntable_bytes = \"7MiB\"\nkeys = 200000";
    let room = "[limits]\nvalue_bytes = \"7MiB\"\ntopics_bytes = ";
    let keys = format!("{room}\"13MiB\"\n{keyed}");
    for (both, line, part) in [
        ("[limits]\nconnections = 9\nconnections_per_ip = 10", 3, "write at most 9"),
        (&keys, 8, "of 72 bytes each, has 14400000B, but [limits] topics_bytes is 13MiB"),
        (
            "[limits]\nhistory_bytes = \"1KiB\"\n[[topic]]\npattern = \"x\"\nmode = \"stream\"\nring_bytes = 1025",
            6,
            "write at most \"1KiB\", or raise that to \"1025B\"",
        ),
        (
            "[limits]\ntopics_bytes = \"2GiB\"\n[state]\nstate_bytes = \"1GiB\"",
            4,
            "raise it to \"2GiB\", or lower that",
        ),
    ] {
        let complaint = refused(both);
        assert!(
            complaint.starts_with(&format!("x.toml:{line}: ")) && complaint.contains(part),
            "{both}: {complaint}"
        );
    }
    // Where one is named the other follows, or it does not matter, and what is printed reads back.
    for one in [
        "[limits]\npatterns = 9\nshard_patterns = 9",
        "[limits]\nshard_patterns = 8",
        "[limits]\npatterns_per_ip = 8",
        "[limits]\npatterns_per_ip = 2000000",
        "[limits]\nclasses = 4",
        "[limits]\nclasses_per_ip = 4",
        "[limits]\nconnections_per_ip = 1000000",
        "[limits]\nhistory_bytes = \"1KiB\"\n[[topic]]\npattern = \"x\"\nmode = \"stream\"",
        "[[topic]]\npattern = \"x\"\nmode = \"stream\"\nring_bytes = \"1GiB\"",
        "[limits]\ntopics_bytes = \"700GiB\"",
        "[limits]\ntopics_bytes = \"1KiB\"",
        "[limits]\ntopics = 10000000",
        "[limits]\ntopics = 10000000\n[state]\nstate_bytes = \"1KiB\"",
        "[state]\nstate_bytes = \"1KiB\"",
        "[limits]\nvalue_bytes = \"800MiB\"\npublish_bytes = \"1GiB\"\n[state]\nstate_bytes = \"1KiB\"",
        "[limits]\ntopics_bytes = \"1MiB\"\n[[topic]]\npattern = \"x\"\nmode = \"keyed\"\ntable_bytes = \"1MiB\"",
        "[limits]\ntopics_bytes = \"600KiB\"\nvalue_bytes = \"600KiB\"\n[[topic]]\npattern = \"x\"\nmode = \"keyed\"\ntable_bytes = \"600KiB\"",
        "[compression]\ndictionaries_per_ip = \"100MiB\"",
        &format!("{room}\"14MiB\"\n{keyed}"),
    ] {
        let config = parse(one).unwrap_or_else(|refused| panic!("{one}: {refused:?}"));
        let rendered = config.render(&machine());
        let again = parse(&rendered).unwrap_or_else(|refused| panic!("{one}: {refused:?}\n{rendered}"));
        assert_eq!(again.render(&machine()), rendered, "{one}");
        assert_eq!((again.topics, again.state), (config.topics, config.state), "{one}");
    }
}

#[test]
fn where_one_side_is_named_the_default_of_the_other_follows() {
    let config = parse("[fanout]\ninterval_ms_min = 250").unwrap();
    assert_eq!(config.fanout.interval, Duration::from_millis(250));
    let config = parse("[fanout]\ninterval_ms_menu = [20, 50]").unwrap();
    assert_eq!(config.fanout.interval, Duration::from_millis(50));
    let config = parse("[fanout]\nframe_bytes_max = \"64MiB\"\n[server]\nshards = 6").unwrap();
    assert_eq!(config.limits.pinned_bytes, 64 << 20);
    assert_eq!(config.connections_max(&machine()), 100_000);
    assert!(parse("[limits]\nping = \"1s\"").is_ok());
    let config = parse("[limits]\npublish_bytes = \"1GiB\"\nvalue_bytes = \"1GiB\"").unwrap();
    assert_eq!(config.limits.topics_bytes, (1 << 30) + 512, "a topic of the longest value");
    let config = parse("[limits]\ntopics_bytes = \"2KiB\"").unwrap();
    assert_eq!(config.limits.value_bytes, 2 << 10);
    // Where there may be more topics their places have room, and as much again.
    assert_eq!(parse("[limits]\ntopics = 500000").unwrap().limits.topics_bytes, 512 << 20);
    assert_eq!(parse("[limits]\ntopics = 1048576").unwrap().limits.topics_bytes, 1 << 30);
}

#[test]
fn a_number_of_when_reads_back_as_it_was() {
    let entry = "[[source.map]]\nwhen = { \"/a\" = -1, \"/b\" = -2e3, \"/c\" = 1e20, \"/d\" = -1e20, \"/e\" = 0x10 }\ntopic = \"x\"\ndata = \"\"\n";
    let config =
        parse(&format!("[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/a b\"\n{entry}")).unwrap();
    let again = parse(&config.render(&machine())).unwrap();
    assert_eq!(again.sources, config.sources);
    let complaint = refused(
        "[[source]]\nkind = \"websocket\"\nurl = \"ws://127.0.0.1:1/\"\n[[source.map]]\nwhen = { \"/a\" = -1.5 }\ntopic = \"x\"\ndata = \"\"",
    );
    assert!(complaint.contains("write text, a whole number"), "{complaint}");
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_their_lines() {
    let complaints = parse("[limits]\nidle = 5\nnone = 1\n[server]\nshards = 0").unwrap_err();
    let lines: Vec<&str> = complaints.iter().map(|c| &c[.."x.toml:1".len()]).collect();
    assert_eq!(lines, ["x.toml:2", "x.toml:3", "x.toml:5"]);
}

#[test]
fn who_names_no_kind_of_source_is_told_all_there_are() {
    let [others @ .., last] = &Source::NAMES.map(|name| format!("{name:?}"));
    let kinds = format!("{} or {last}", others.join(", "));
    for (text, told) in [
        ("[[source]]\nkind = \"nats\"", "x.toml:2: [source] kind = \"nats\": write "),
        ("[[source]]\nspeed = 1", "x.toml:1: [source] kind is missing; write kind = "),
    ] {
        assert_eq!(parse(text).unwrap_err(), [format!("{told}{kinds}")]);
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = Config::load(&configs().join("replay.toml"), &Environment::default(), &machine()).unwrap();
    let Source::Replay(replay) = &config.sources[0] else { panic!("{:?}", config.sources) };
    let Replay { path, speed, repeat } = &**replay;
    assert_eq!((path, *speed, *repeat), (&configs().join("feed.ndjson"), 1.0, true));
    let missing =
        Config::load(Path::new("/nowhere/x.toml"), &Environment::default(), &machine()).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read the configuration /nowhere/x.toml: "));
}

#[test]
fn keys_of_the_admin_listener_say_who_may_do_what() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let key = |rest: &str| format!("[[admin.key]]\nname = \"feed\"\n{rest}\n");
    let good = key(&format!("sha256 = \"{a}\"\nallow = [\"publish\", \"metrics\"]\ntopics = [\"desk.*\"]"));
    let config = parse(&good).unwrap();
    let held = &config.admin.keys[0].key;
    assert!(held.name == "feed" && held.digest.to_string() == a && held.writes("desk.x"));
    let rendered = config.render(&machine());
    assert_eq!(parse(&rendered).unwrap().admin, config.admin, "{rendered}");

    let allowed = "allow = [\"admin\"]";
    for (text, told) in [
        (
            key(&format!("sha256 = \"{a}\"")),
            "x.toml:1: [admin.key] allow is missing; write a list of \"publish\"",
        ),
        (format!("[[admin.key]]\nsha256 = \"{a}\"\n{allowed}\n"), "[admin.key] name is missing"),
        (key(allowed), "needs either sha256 or key_file"),
        (key(&format!("{allowed}\nsha256 = \"{a}\"\nkey_file = \"a\"")), "needs either sha256 or key_file"),
        (key(&format!("{allowed}\nsha256 = \"fw_0123\"")), "write 64 hexadecimal digits"),
        (key(&format!("sha256 = \"{a}\"\nallow = [\"write\"]")), "\"write\": there are \"publish\""),
        (key(&format!("sha256 = \"{a}\"\nallow = []")), "write a list of \"publish\""),
        (key(&format!("{allowed}\nsha256 = \"{a}\"\ntopics = []")), "write a list of patterns"),
        (key(&format!("{allowed}\nsha256 = \"{a}\"\ntopics = [\"a*\"]")), "x.toml:5: [admin.key] topics"),
        (format!("{good}{}", key(&format!("{allowed}\nsha256 = \"{b}\""))), "two keys are called \"feed\""),
        (
            format!("{good}[[admin.key]]\nname = \"other\"\n{allowed}\nsha256 = \"{a}\"\n"),
            "\"other\" is the same key as \"feed\"",
        ),
        ("[admin]\nkey_file = \".\"\n".to_owned(), "x.toml:2: [admin] key_file: cannot read "),
    ] {
        let complaint = refused(&text);
        assert!(complaint.contains(told), "{text}: {complaint}");
    }
}

#[test]
fn an_admin_listener_that_others_reach_wants_a_key() {
    for address in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[::ffff:192.0.2.1]:1"] {
        let server = format!("[server]\nshards = 1\nadmin = \"{address}\"\n");
        let complaint = refused(&server);
        assert!(complaint.starts_with("x.toml:3: [server] admin = "), "{complaint}");
        assert!(complaint.contains("gateway key") && complaint.contains("key_file"), "{complaint}");
        let key =
            format!("[[admin.key]]\nname = \"a\"\nallow = [\"read\"]\nsha256 = \"{}\"\n", "a".repeat(64));
        assert!(parse(&format!("{server}{key}")).is_ok());
        let made = format!("{server}[admin]\nkey_file = \"no-such-file.key\"\n");
        assert!(parse(&made).unwrap().admin.keys[0].is_missing);
    }
    for address in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", ""] {
        assert!(parse(&format!("[server]\nadmin = \"{address}\"\n")).is_ok(), "{address}");
    }
    let variable = parse_in(&[("FANWIRE_SERVER__ADMIN", "0.0.0.0:1")], "").unwrap_err();
    assert!(variable[0].starts_with("FANWIRE_SERVER__ADMIN: [server] admin"), "{variable:?}");
}
