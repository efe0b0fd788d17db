//! The JSON report. Its keys are the contract's section 7; more may be added, none may go.

use serde_json::{Value, json};

use crate::{expect::Outcome, process::Usage, publish::Published, settle::Settled, tally::Tally};

/// All that a run brought.
#[derive(Debug, Default)]
pub struct Results {
    pub requested: u64,
    pub tally: Tally,
    /// From the start to the last established connection.
    pub setup_seconds: f64,
    /// Length of the measured window.
    pub window_seconds: f64,
    pub settled: Settled,
    pub published: Option<Published>,
    /// Usage of the server and our own at both ends of the window.
    pub server: Option<(Usage, Usage)>,
    pub own: Option<(Usage, Usage)>,
    pub threads: usize,
}

/// The report without `expect`.
pub fn build(results: &Results) -> Value {
    let tally = &results.tally;
    let faults = &tally.faults;
    let per_s = |count: u64, seconds: f64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let window = results.window_seconds;
    let published = results.published.unwrap_or_default();
    json!({
        "connections": {
            "requested": results.requested, "established": tally.established,
            "failed": tally.failed, "closed": tally.closed,
            "left": tally.left, "returned": tally.returned,
            "resumed_by_snapshot": tally.resumed_by_snapshot,
        },
        "setup": {
            "seconds": results.setup_seconds, "per_s": per_s(tally.established, results.setup_seconds),
            "handshake_ms": tally.handshake.report(),
        },
        "window": { "seconds": window, "threads": results.threads, "interval_ms": tally.interval_ms },
        "frames": {
            "total": tally.frames, "per_s": per_s(tally.frames, window), "snapshots": tally.snapshots,
        },
        "updates": {
            "total": tally.updates, "per_s": per_s(tally.updates, window), "conflated": tally.conflated,
            "lost": faults.lost, "duplicated": faults.duplicated,
            "reordered": faults.reordered, "torn": faults.torn,
            "violations": faults.violations.values().sum::<u64>(),
        },
        "bytes": { "payload": tally.payload_bytes, "wire": tally.wire_bytes },
        "visible_ms": tally.visible.report(),
        "arrival_ms": tally.arrival.report(),
        "slow": { "visible_ms": tally.slow_visible.report() },
        "final": {
            "clients": results.settled.clients, "values": results.settled.values, "lost": results.settled.lost,
        },
        "publish": {
            "accepted": published.accepted, "refused": published.refused,
            "per_s": per_s(published.accepted, published.seconds),
        },
        "server": usage(results.server, window),
        "loadgen": usage(results.own, window),
        "violations": faults.violations, "failures": tally.failures.0, "closes": tally.closes.0,
        "errors": tally.errors.0, "notices": tally.notices.0,
    })
}

/// CPU of the window in percent of one core, memory at its end; null where the process is not seen.
fn usage(ends: Option<(Usage, Usage)>, window_seconds: f64) -> Value {
    let cpu_percent = ends
        .filter(|_| window_seconds > 0.0)
        .map(|(begin, end)| (end.cpu_seconds - begin.cpu_seconds) / window_seconds * 100.0);
    json!({ "rss_bytes": ends.map(|(_, end)| end.rss_bytes), "cpu_percent": cpu_percent })
}

/// Adds how the expectations came out.
pub fn add_expectations(report: &mut Value, outcomes: &[Outcome]) {
    report["expect"] = json!(outcomes);
}

/// A report with every figure's key.
pub fn empty() -> Value {
    build(&Results::default())
}

/// The dotted names of all figures.
pub fn figures() -> Vec<String> {
    let mut names = Vec::new();
    collect(&empty(), "", &mut names);
    names
}

fn collect(value: &Value, name: &str, names: &mut Vec<String>) {
    let Value::Object(fields) = value else {
        names.push(name.to_owned());
        return;
    };
    for (key, value) in fields {
        let dot = if name.is_empty() { "" } else { "." };
        collect(value, &format!("{name}{dot}{key}"), names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_contract_is_there() {
        let promised = "connections.requested connections.established connections.failed connections.closed \
            setup.seconds setup.per_s setup.handshake_ms.p50 setup.handshake_ms.p99 setup.handshake_ms.max \
            frames.total frames.per_s updates.total updates.per_s updates.conflated updates.lost \
            updates.duplicated updates.reordered updates.torn bytes.payload bytes.wire \
            visible_ms.p50 visible_ms.p90 visible_ms.p99 visible_ms.p999 visible_ms.max \
            arrival_ms.p50 arrival_ms.p90 arrival_ms.p99 arrival_ms.p999 arrival_ms.max \
            server.rss_bytes server.cpu_percent";
        let figures = figures();
        for key in promised.split_whitespace() {
            assert!(figures.iter().any(|figure| figure == key), "{key} is missing");
        }
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let tally = Tally { frames: 300, updates: 900, established: 10, ..Tally::default() };
        let usage = |cpu_seconds| Usage { cpu_seconds, rss_bytes: 7 };
        let server = Some((usage(1.0), usage(2.5)));
        let results =
            Results { tally, setup_seconds: 0.5, window_seconds: 3.0, server, ..Results::default() };
        let report = build(&results);
        assert_eq!(report["frames"]["per_s"], 100.0);
        assert_eq!(report["updates"]["per_s"], 300.0);
        assert_eq!(report["setup"]["per_s"], 20.0);
        assert_eq!(report["server"]["cpu_percent"], 50.0);
        assert_eq!(report["loadgen"]["rss_bytes"], Value::Null);
    }
}
