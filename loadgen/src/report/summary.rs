//! The report for people, on a terminal: one unit, a line a subject.

use std::fmt::Write as _;

use super::{Kinds, Quantiles, Report};

/// Several lines, each ended.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let connections = &report.connections;
    line(
        &mut out,
        "connections",
        &format!(
            "{} of {} established in {:.2} s, {} failed, {} closed by the server, {} back",
            connections.established,
            connections.requested,
            report.setup.seconds,
            connections.failed,
            connections.closed,
            connections.returned
        ),
    );
    let _ =
        writeln!(out, "{:<14} {:>10} {:>10} {:>10} {:>10} {:>10}", "ms", "p50", "p90", "p99", "p99.9", "max");
    for (name, quantiles) in [
        ("visible", &report.visible_ms),
        ("arrival", &report.arrival_ms),
        ("handshake", &report.setup.handshake_ms),
        ("snapshot", &report.setup.snapshot_ms),
        ("slow readers", &report.slow.visible_ms),
        ("publish", &report.publish.answered_ms),
        ("ping", &report.pings.answered_ms),
    ] {
        latencies(&mut out, name, quantiles);
    }
    frames(&mut out, report);
    machine(&mut out, report);
    for (name, kinds) in [
        ("failed", &report.failures),
        ("closed", &report.closes),
        ("errors", &report.errors),
        ("notices", &report.notices),
        ("violations", &report.violations),
    ] {
        counts(&mut out, name, kinds);
    }
    for (kind, ends) in &report.hostile {
        counts(&mut out, kind, ends);
    }
    for outcome in &report.expect {
        line(&mut out, if outcome.holds { "✓" } else { "✗" }, &outcome.to_string());
    }
    for warning in &report.warnings {
        line(&mut out, "warning", warning);
    }
    out
}

fn frames(out: &mut String, report: &Report) {
    let clients = &report.clients;
    let expected = match (clients.frames_min, clients.expected_frames, clients.gap_ms_max) {
        (Some(least), Some(expected), Some(gap)) => {
            format!("; fewest of a client {least} of {expected:.0}, largest gap {gap:.0} ms")
        }
        _ => String::new(),
    };
    let frames = &report.frames;
    line(
        out,
        "frames",
        &format!("{} in {:.1} s, {:.0}/s{expected}", frames.total, report.window.seconds, frames.per_s),
    );
    let updates = &report.updates;
    line(
        out,
        "updates",
        &format!(
            "{} ({:.0}/s), {} conflated; {} lost, {} duplicated, {} reordered, {} torn, {} violations",
            updates.total,
            updates.per_s,
            updates.conflated,
            updates.lost,
            updates.duplicated,
            updates.reordered,
            updates.torn,
            updates.violations
        ),
    );
    if report.restart.cut > 0 {
        let restart = &report.restart;
        let took = restart.seconds.map_or("not all".into(), |seconds| format!("all within {seconds:.2} s"));
        line(out, "cut", &format!("{}, {} came back, {took}", restart.cut, restart.returned));
    }
}

fn machine(out: &mut String, report: &Report) {
    let figures = |cpu: Option<f64>, rss: Option<u64>| match (cpu, rss) {
        (Some(cpu), Some(rss)) => Some(format!("{cpu:.0} % of a core, {:.1} MiB", rss as f64 / 1_048_576.0)),
        (None, Some(rss)) => Some(format!("{:.1} MiB", rss as f64 / 1_048_576.0)),
        _ => None,
    };
    let of = [
        ("server", figures(report.server.cpu_percent, report.server.rss_bytes)),
        ("loadgen", figures(report.loadgen.cpu_percent, report.loadgen.rss_bytes)),
    ];
    for (name, text) in of {
        if let Some(text) = text {
            line(out, name, &text);
        }
    }
}

fn latencies(out: &mut String, name: &str, quantiles: &Quantiles) {
    let values = [quantiles.p50, quantiles.p90, quantiles.p99, quantiles.p999, quantiles.max];
    if let [Some(p50), Some(p90), Some(p99), Some(p999), Some(max)] = values {
        let _ = writeln!(out, "{name:<14} {p50:>10.2} {p90:>10.2} {p99:>10.2} {p999:>10.2} {max:>10.2}");
    }
}

fn counts(out: &mut String, name: &str, kinds: &Kinds) {
    for (kind, count) in kinds {
        line(out, name, &format!("{count} × {kind}"));
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "{name:<14} {text}");
}
