//! What a run leaves behind: the report in its forms, exit codes, and who is told what.
#![forbid(unsafe_code)]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{CONNECTIONS, Fault, Temporary, last_line, loadgen, start};

const SCHEMA: &str = include_str!("../report.schema.json");

fn run(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap()
}

#[test]
fn the_published_schema_is_the_programs_own() {
    assert_eq!(
        String::from_utf8(run(&["schema"]).stdout).unwrap(),
        SCHEMA,
        "loadgen schema > loadgen/report.schema.json"
    );
}

#[test]
fn every_form_of_the_report_is_written_and_says_the_same() {
    let (json, html, hgrm) = (Temporary::new("r.json"), Temporary::new("r.html"), Temporary::new("r.hgrm"));
    let flags = ["--topics", "*", "--report", json.path(), "--html", html.path(), "--hgrm", hgrm.path()];
    let (_, last) = loadgen(start(Fault::None), &flags);
    let report: Value = serde_json::from_slice(&fs::read(&json.0).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    for form in [&report, &last] {
        let errors: Vec<String> = schema.iter_errors(form).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = report.clone();
        change(&mut changed);
        schema.is_valid(&changed)
    };
    assert!(!changed(&|report| report["updates"]["lost"] = json!("none")));
    assert!(!changed(&|report| report["frames"]["total"] = json!(-1)));
    assert!(!changed(&|report| drop(report.as_object_mut().unwrap().remove("visible_ms"))));
    assert!(changed(&|report| report["updates"]["later"] = json!(1)), "keys may be added");
    check_contract(&report);
    for (key, value) in last.as_object().unwrap() {
        if !["timeline", "curves", "server"].contains(&key.as_str()) {
            assert_eq!(&report[key], value, "the last line says what the file does");
        }
    }
    assert!(report["timeline"].as_array().is_some_and(|moments| moments.len() >= 2));
    check_page(&fs::read_to_string(&html.0).unwrap(), &report);
    let (frames, updates) = (&report["frames"]["total"], &report["updates"]["total"]);
    check_distribution(&fs::read_to_string(&hgrm.0).unwrap(), frames);
    for (beside, samples) in [("arrival", updates), ("handshake", &json!(CONNECTIONS))] {
        let path = hgrm.0.with_extension(format!("{beside}.hgrm"));
        check_distribution(&fs::read_to_string(&path).unwrap(), samples);
        fs::remove_file(path).unwrap();
    }
}

/// The keys that the protocol's description promises, with their types.
fn check_contract(report: &Value) {
    let counts = [
        ("connections", "requested established failed closed"),
        ("frames", "total"),
        ("updates", "total conflated lost duplicated reordered torn"),
        ("bytes", "payload wire"),
        ("server", "rss_bytes"),
    ];
    for (section, keys) in counts {
        for key in keys.split(' ') {
            assert!(report[section][key].is_u64(), "{section}.{key} is {}", report[section][key]);
        }
    }
    let figures = [
        ("/setup", "seconds per_s"),
        ("/setup/handshake_ms", "p50 p99 max"),
        ("/frames", "per_s"),
        ("/updates", "per_s"),
        ("/visible_ms", "p50 p90 p95 p99 p999 max"),
        ("/arrival_ms", "p50 p90 p95 p99 p999 max"),
        ("/server", "cpu_percent"),
    ];
    for (section, keys) in figures {
        for key in keys.split(' ') {
            let figure = &report.pointer(section).unwrap()[key];
            assert!(figure.is_number(), "{section}.{key} is {figure}");
        }
    }
}

fn check_page(page: &str, report: &Value) {
    let p99 = format!("<td>{:.1}</td>", report["visible_ms"]["p99"].as_f64().unwrap());
    assert!(page.contains(&p99) && page.contains(&format!("{CONNECTIONS} connections")), "{p99}");
    assert!(page.contains("<svg"));
    for outside in ["src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(outside), "the page needs nothing else: {outside}");
    }
}

/// Values and quantiles rise, counts rise to the number of samples.
fn check_distribution(text: &str, samples: &Value) {
    let rows = text.lines().skip(2).take_while(|line| !line.starts_with('#'));
    let rows: Vec<Vec<f64>> =
        rows.map(|row| row.split_whitespace().map(|word| word.parse().unwrap()).collect()).collect();
    assert!(
        rows.len() > 2 && rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]),
        "{text}"
    );
    let last = rows.last().unwrap();
    assert_eq!((last[1], last[2]), (1.0, samples.as_f64().unwrap()));
}

#[test]
fn every_operator_of_an_expectation_decides_the_exit_code() {
    let all = [
        "frames.total>0",
        "frames.total>=1",
        "updates.lost==0",
        "updates.lost!=1",
        "updates.lost<1",
        "updates.lost<=0",
    ];
    let flags = |expectations: &[&'static str]| {
        let expects = expectations.iter().flat_map(|expect| ["--expect", *expect]);
        ["--topics", "*"].into_iter().chain(expects).collect::<Vec<_>>()
    };
    let (output, report) = loadgen(start(Fault::None), &flags(&all));
    assert_eq!(output.status.code(), Some(0), "{}", report["expect"]);
    let none = [
        "frames.total<0",
        "frames.total<=0",
        "updates.lost!=0",
        "updates.lost==1",
        "updates.lost>0",
        "updates.lost>=1",
    ];
    let (output, report) = loadgen(start(Fault::None), &flags(&none));
    assert_eq!(output.status.code(), Some(3));
    assert!(report["expect"].as_array().unwrap().iter().all(|outcome| outcome["holds"] == false));
}

#[test]
fn bad_usage_ends_with_2_before_anything_is_connected() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    for (flags, told) in [
        (&["--topics", "*", "--scenario", "none"][..], "no scenario is named none"),
        (&["--topics", "a..b"], "a..b"),
        (&["--nonsense"], "--nonsense"),
        (&[], "--topics"),
        (&["--topics", "*", "--expect", "visible.p98<1"], "visible.p98"),
    ] {
        let (output, _) = loadgen(nobody, flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn what_the_machine_cannot_hold_is_refused_beforehand_with_numbers() {
    let load =
        ["--url", "ws://127.0.0.1:1/ws", "--topics", "*", "--connections", "1000000000", "--threads", "1"];
    let output = run(&load);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--threads 1") || stderr.contains("epoll"), "{stderr}");
    assert!(stderr.contains("ulimit -n"), "{stderr}");
}

#[test]
fn stdout_is_for_programs_and_stderr_for_people_without_escape_codes_where_there_is_no_terminal() {
    let url = format!("ws://{}/ws", start(Fault::None));
    let load = ["--url", &url, "--topics", "*", "--duration", "1s", "--expect", "updates.lost>0"];
    let spawn = |no_color: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(load).env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [None, Some(""), Some("0"), Some("1")].map(spawn) {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "one line of JSON");
        let stderr = String::from_utf8(output.stderr).unwrap();
        for line in ["room for", "measure", "visible", "promises"] {
            assert!(stderr.contains(line), "{line}: {stderr}");
        }
        assert!(!stderr.contains('\x1b'), "no terminal, no escape codes: {stderr}");
    }
}

#[test]
fn a_scenario_file_is_a_load_and_flags_hold_before_it() {
    let file = Temporary::new("scenario.toml");
    fs::write(
        &file.0,
        "topics = [\"loadgen.g0.0\"]\nconnections = 1000\nexpect = [\"connections.failed==0\"]\n",
    )
    .unwrap();
    let (output, report) = loadgen(start(Fault::None), &["--scenario", file.path()]);
    assert_eq!((output.status.code(), &report["connections"]["requested"]), (Some(0), &json!(CONNECTIONS)));
    assert_eq!(report["expect"][0]["expect"], "connections.failed==0");
    fs::write(&file.0, "topics = [\"*\"]\n\nnonsense = 1\n").unwrap();
    let output = run(&["--url", "ws://127.0.0.1:1/ws", "--scenario", file.path()]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("line 3: unknown key nonsense"), "{stderr}");
}

#[test]
fn the_server_on_this_host_is_found_by_its_port_or_named() {
    // Any process will do for the name; ours is also the server.
    let named = ["--topics", "*", "--server-pid", "1", "--duration", "100ms"];
    assert_eq!(loadgen(start(Fault::None), &named).1["server"]["pid"], 1);
    let (_, report) = loadgen(start(Fault::None), &["--topics", "*"]);
    assert_eq!(report["server"]["pid"], std::process::id());
    let server = &report["server"];
    assert!(server["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{server}");
    // This process serves other tests too, whose threads may end meanwhile: then there is no figure.
    assert_ne!(server["context_switches_voluntary"], 0, "{server}");
    assert!(report["host"]["cpu_percent"].as_array().is_some_and(|cores| !cores.is_empty()));
    assert!(report["loadgen"]["cpu_percent"].as_f64().is_some());
}

#[test]
fn an_admin_listener_that_does_not_answer_costs_the_comparison_and_not_the_report() {
    let (output, report) = loadgen(start(Fault::None), &["--topics", "*", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(report["frames"]["total"].as_u64().is_some_and(|frames| frames > 0));
    assert_eq!(report["final"]["gateway_values"], 0);
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("among clients only") && warnings.contains("--admin"), "{warnings}");
}

#[test]
fn two_reports_are_compared_by_ratio_and_a_regression_ends_with_3() {
    let (a, b) = (Temporary::new("a.json"), Temporary::new("b.json"));
    let (_, mut report) = loadgen(start(Fault::None), &["--topics", "*"]);
    fs::write(&a.0, report.to_string()).unwrap();
    let p99 = report["visible_ms"]["p99"].as_f64().unwrap();
    report["visible_ms"]["p99"] = json!(p99 * 3.0);
    fs::write(&b.0, report.to_string()).unwrap();
    assert_eq!(run(&["compare", a.path(), a.path()]).status.code(), Some(0));
    let worse = run(&["compare", a.path(), b.path()]);
    assert_eq!(worse.status.code(), Some(3));
    let table = String::from_utf8(worse.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("visible_ms.p99")).unwrap();
    assert!(row.contains("3.00") && row.contains("worse"), "{row}");
    assert_eq!(run(&["compare", "--threshold", "250", a.path(), b.path()]).status.code(), Some(0));
    fs::write(&b.0, "{}").unwrap();
    assert_eq!(run(&["compare", a.path(), b.path()]).status.code(), Some(2), "not a report");
    assert_eq!(last_line(&run(&["--topics", "*"])), Value::Null);
}
