//! The report for people, on a terminal: one unit, a line a subject.

use std::fmt::Write as _;

use console::style;

use super::figures::{Kinds, Report};

/// Several lines, each ended.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    connections(&mut out, report);
    latencies(&mut out, report);
    compression(&mut out, report);
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
        let mark = if outcome.holds { style("✓").green() } else { style("✗").red() };
        // The mark's colours have no width.
        let _ = writeln!(out, "{}{:<13} {outcome}", mark.for_stderr(), "");
    }
    for warning in &report.warnings {
        line(&mut out, "warning", warning);
    }
    out
}

fn connections(out: &mut String, report: &Report) {
    let connections = &report.connections;
    let mut text = format!(
        "{} of {} established in {:.2} s, {} failed",
        connections.established, connections.requested, report.setup.seconds, connections.failed
    );
    for (count, what) in [(connections.closed, "closed by the server"), (connections.returned, "came back")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    line(out, "connections", &text);
}

fn compression(out: &mut String, report: &Report) {
    let (deflating, payload, wire) = (report.connections.deflating, report.bytes.payload, report.bytes.wire);
    if deflating > 0 {
        let share = 100.0 * wire as f64 / payload.max(1) as f64;
        line(
            out,
            "compression",
            &format!("{deflating} connections, {share:.0} % of the payload on the wire"),
        );
    }
}

fn frames(out: &mut String, report: &Report) {
    let frames = &report.frames;
    let (seconds, per_s) = (report.window.seconds, frames.per_s);
    line(out, "frames", &format!("{} in {seconds:.1} s, {per_s:.0}/s", frames.total));
    let clients = &report.clients;
    if let (Some(least), Some(expected), Some(gap)) =
        (clients.frames_min, clients.expected_frames, clients.gap_ms_max)
    {
        line(out, "of a client", &format!("at least {least} of {expected:.0}, largest gap {gap:.0} ms"));
    }
    promises(out, report);
    tokens(out, report);
    if report.restart.cut > 0 {
        let restart = &report.restart;
        let took = restart.seconds.map_or("not all".into(), |seconds| format!("all within {seconds:.2} s"));
        line(out, "cut", &format!("{}, {} came back, {took}", restart.cut, restart.returned));
    }
}

fn tokens(out: &mut String, report: &Report) {
    let tokens = &report.tokens;
    if tokens.authorized + tokens.refused > 0 {
        let text = format!(
            "{} authorized, {} of them renewals, {} refused, {} connections dropped",
            tokens.authorized, tokens.renewed, tokens.refused, tokens.dropped
        );
        line(out, "tokens", &text);
    }
}

fn promises(out: &mut String, report: &Report) {
    let updates = &report.updates;
    if updates.lost.is_none() {
        let text = format!("not judged: another protocol; {} violations of RFC 6455", updates.violations);
        return line(out, "promises", &text);
    }
    let (total, per_s, conflated) = (updates.total, updates.per_s, updates.conflated);
    line(out, "updates", &format!("{total}, {per_s:.0}/s, {conflated} conflated"));
    let faults = [
        (updates.lost, "lost"),
        (updates.duplicated, "duplicated"),
        (updates.reordered, "reordered"),
        (updates.torn, "torn"),
        (Some(updates.violations), "violations"),
        (report.r#final.differ, "differ"),
    ];
    let told = |(count, fault): &(Option<u64>, &str)| count.map(|count| format!("{count} {fault}"));
    let faults: Vec<String> = faults.iter().filter_map(told).collect();
    line(out, "promises", &faults.join(", "));
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

/// A table in one unit, that of the largest figure.
fn latencies(out: &mut String, report: &Report) {
    let rows = [
        ("visible", &report.visible_ms),
        ("arrival", &report.arrival_ms),
        ("handshake", &report.setup.handshake_ms),
        ("snapshot", &report.setup.snapshot_ms),
        ("slow readers", &report.slow.visible_ms),
        ("publish", &report.publish.answered_ms),
        ("ping", &report.pings.answered_ms),
        ("renewal", &report.tokens.answered_ms),
    ];
    let (unit, per_ms) = match rows.iter().filter_map(|(_, row)| row.max).fold(0.0, f64::max) {
        max if max >= 10_000.0 => ("s", 0.001),
        max if max >= 1.0 => ("ms", 1.0),
        _ => ("µs", 1000.0),
    };
    let heads = ["p50", "p90", "p95", "p99", "p99.9", "max"].map(|head| format!(" {head:>10}"));
    let _ = writeln!(out, "{unit:<14}{}", heads.concat());
    for (name, row) in rows {
        let row = [row.p50, row.p90, row.p95, row.p99, row.p999, row.max];
        if row.iter().all(Option::is_some) {
            let cells: String = row.iter().flatten().map(|ms| format!(" {:>10.2}", ms * per_ms)).collect();
            let _ = writeln!(out, "{name:<14}{cells}");
        }
    }
}

/// Most frequent first.
fn counts(out: &mut String, name: &str, kinds: &Kinds) {
    let mut kinds: Vec<_> = kinds.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (kind, count) in kinds {
        line(out, name, &format!("{count} × {kind}"));
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "{name:<14} {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_share_the_unit_of_the_largest_and_errors_come_most_frequent_first() {
        let mut report = Report::default();
        for (ms, header, p50) in [(0.5, "µs ", "500.00"), (20.0, "ms ", "20.00"), (20_000.0, "s ", "20.00")]
        {
            let row = &mut report.visible_ms;
            [&mut row.p50, &mut row.p90, &mut row.p95, &mut row.p99, &mut row.p999, &mut row.max]
                .into_iter()
                .for_each(|figure| *figure = Some(ms));
            let text = text(&report);
            assert!(text.lines().any(|line| line.starts_with(header)), "{text}");
            let visible = text.lines().find(|line| line.starts_with("visible")).unwrap();
            assert_eq!(visible.split_whitespace().nth(1), Some(p50));
        }
        assert!(text(&report).contains("p90        p95        p99"), "{}", text(&report));
        report.errors.insert("a rare one".into(), 2);
        report.errors.insert("the usual one".into(), 30);
        let text = text(&report);
        assert!(text.find("30 × the usual one") < text.find("2 × a rare one"), "{text}");
    }

    #[test]
    fn what_nobody_judged_is_not_said_to_be_whole() {
        let mut report = Report::default();
        assert!(text(&report).contains("promises       not judged"), "{}", text(&report));
        assert!(!text(&report).contains("0 lost"), "{}", text(&report));
        report.updates.lost = Some(0);
        report.updates.torn = Some(3);
        assert!(text(&report).contains("0 lost, 3 torn, 0 violations"), "{}", text(&report));
    }
}
