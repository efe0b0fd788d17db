//! A report made of what the threads counted.

use super::{command, results::Results};
use crate::{
    host::{cores, machine, process::Usage},
    judge::table::KEYS_MAX,
    measure::{
        latency::Latency,
        tally::{self, Tally},
    },
    report::{
        expect::Expect,
        figures::{
            Bytes, Clients, Connections, Curves, Final, Frames, Host, Kinds, Negative, Own, Pings, Publish,
            Quantiles, Report, Restart, Run, Server, Setup, Slow, Tokens, Updates, Window,
        },
        warnings::{self, Doubts},
    },
    server::metrics,
};

/// The report, with what became of `expect`.
pub fn build(results: &Results, expect: &[Expect]) -> Report {
    let mut report = figures(results);
    let doubts = Doubts {
        metrics_error: results.end.metrics_error.as_deref(),
        unanswered: results.unanswered.as_deref(),
        keys_max: results.tables_overrun.then_some(KEYS_MAX),
    };
    report.warnings = warnings::of(&report, &doubts);
    let Connections { established, deflating, .. } = report.connections;
    if results.deflate && deflating < established {
        report.warnings.push(format!(
            "the server agreed to permessage-deflate for {deflating} of {established} connections; \
             is it enabled there ([compression] enabled)?"
        ));
    }
    let json = report.to_json();
    report.expect = expect.iter().map(|expect| expect.check(&json)).collect();
    report
}

fn figures(results: &Results) -> Report {
    let tally = &results.tally;
    let window = results.window_seconds;
    Report {
        run: run(results),
        connections: connections(results),
        setup: Setup {
            seconds: results.setup_seconds,
            per_s: per_s(tally.established, results.setup_seconds),
            handshake_ms: quantiles(&tally.handshake),
            snapshot_ms: quantiles(&tally.snapshot),
        },
        window: Window { seconds: window, threads: results.threads as u64, interval_ms: tally.interval_ms },
        frames: Frames {
            total: tally.frames,
            per_s: per_s(tally.frames, window),
            snapshots: tally.snapshots,
        },
        updates: updates(results),
        clients: clients(tally, window),
        bytes: Bytes { payload: tally.payload_bytes, wire: tally.wire_bytes },
        visible_ms: quantiles(&tally.visible),
        arrival_ms: quantiles(&tally.arrival),
        negative: Negative { visible: tally.visible_negative, arrival: tally.arrival_negative },
        slow: Slow { visible_ms: quantiles(&tally.slow_visible) },
        r#final: Final {
            clients: results.settled.clients,
            values: results.settled.values,
            lost: results.judged.then_some(results.settled.lost),
            differ: results.judged.then_some(results.compared.differ),
            gateway_values: results.compared.with_gateway,
            tables: results.compared.tables,
        },
        publish: publish(results),
        pings: Pings {
            sent: tally.pings.sent,
            answered: tally.pings.answered,
            unanswered: tally.pings.sent.saturating_sub(tally.pings.answered),
            answered_ms: quantiles(&tally.pings.age),
        },
        tokens: Tokens {
            authorized: tally.tokens.authorized,
            renewed: tally.tokens.renewed,
            refused: tally.tokens.refused,
            dropped: tally.tokens.dropped,
            answered_ms: quantiles(&tally.tokens.answered),
        },
        hostile: tally.hostile.iter().map(|(kind, ends)| ((*kind).to_owned(), kinds(ends))).collect(),
        restart: Restart {
            cut: tally.restart.cut,
            returned: tally.restart.back,
            seconds: tally.restart.seconds(),
        },
        server: server(results),
        loadgen: own(results),
        host: Host {
            cpu_percent: cores::busy_percent(&results.begin.cores, &results.end.cores),
            socket_memory_bytes: results.end.socket_memory_bytes,
            clock_offset_ms: results.clock.map(|clock| clock.us as f64 / 1000.0),
            clock_error_ms: results.clock.map(|clock| clock.error_us as f64 / 1000.0),
        },
        timeline: results.moments.clone(),
        curves: Curves {
            visible: tally.visible.curve(),
            arrival: tally.arrival.curve(),
            handshake: tally.handshake.curve(),
        },
        violations: tally.faults.violations.iter().map(|(what, count)| ((*what).into(), *count)).collect(),
        failures: kinds(&tally.failures),
        closes: kinds(&tally.closes),
        errors: errors(results),
        notices: kinds(&tally.notices),
        ..Report::default()
    }
}

fn run(results: &Results) -> Run {
    Run {
        version: env!("CARGO_PKG_VERSION").into(),
        began_at: results.began_at,
        url: command::url(&results.url),
        flags: command::told(std::env::args().skip(1)),
        seed: results.seed,
        machine: machine::describe(),
        interrupted: results.interrupted,
    }
}

fn connections(results: &Results) -> Connections {
    let tally = &results.tally;
    Connections {
        requested: results.requested,
        established: tally.established,
        failed: tally.failed,
        closed: tally.closed,
        left: tally.left,
        returned: tally.returned,
        deflating: tally.deflating,
        retries: tally.retries,
        resumed_by_snapshot: tally.resumed_by_snapshot,
    }
}

fn publish(results: &Results) -> Publish {
    let published = results.published.clone().unwrap_or_default();
    Publish {
        accepted: published.accepted,
        refused: published.refused,
        unanswered: published.unanswered,
        unsent: published.unsent,
        per_s: per_s(published.accepted, published.seconds),
        answered_ms: quantiles(&published.answered),
    }
}

fn clients(tally: &Tally, window_seconds: f64) -> Clients {
    let even = &tally.evenness;
    let interval_s = tally.interval_ms as f64 / 1000.0;
    let expected_frames = (interval_s > 0.0).then(|| window_seconds / interval_s);
    let ratio = |frames: u32| expected_frames.map(|expected| f64::from(frames) / expected);
    Clients {
        judged: even.judged,
        expected_frames,
        frames_min: even.frames_min.map(u64::from),
        ratio_min: even.frames_min.and_then(ratio),
        gap_ms_max: even.gap_us_max.map(|us| f64::from(us) / 1000.0),
    }
}

fn updates(results: &Results) -> Updates {
    let tally = &results.tally;
    let judged = |count| results.judged.then_some(count);
    Updates {
        total: tally.updates,
        per_s: per_s(tally.updates, results.window_seconds),
        conflated: tally.conflated,
        lost: judged(tally.faults.lost),
        duplicated: judged(tally.faults.duplicated),
        reordered: judged(tally.faults.reordered),
        torn: judged(tally.faults.torn),
        violations: tally.faults.violations.values().sum(),
    }
}

fn kinds(kinds: &tally::Kinds) -> Kinds {
    kinds.0.clone()
}

/// In ms, each null without samples.
fn quantiles(latency: &Latency) -> Quantiles {
    Quantiles {
        p50: latency.quantile_ms(0.5),
        p90: latency.quantile_ms(0.9),
        p95: latency.quantile_ms(0.95),
        p99: latency.quantile_ms(0.99),
        p999: latency.quantile_ms(0.999),
        max: latency.max_ms(),
    }
}

/// Of subscribers and publishers.
fn errors(results: &Results) -> Kinds {
    let published = results.published.iter().flat_map(|published| kinds(&published.errors));
    kinds(&results.tally.errors).into_iter().chain(published).collect()
}

fn per_s(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// A server that was started again within the window has no CPU figure of the window, and one whose
/// threads ended may have no count of switches, as theirs are gone with them.
fn server(results: &Results) -> Server {
    let (begin, end) = (&results.begin, &results.end);
    let same = begin.server_pid == end.server_pid;
    let switches = begin.server_switches.zip(end.server_switches).filter(|_| same);
    Server {
        pid: end.server_pid,
        rss_bytes: end.server.map(|usage| usage.rss_bytes),
        rss_bytes_max: results.server_rss_bytes_max,
        cpu_percent: begin.server.filter(|_| same).and_then(|begin| cpu_percent(begin, end.server?, results)),
        context_switches_voluntary: switches
            .and_then(|(begin, end)| end.voluntary.checked_sub(begin.voluntary)),
        context_switches_involuntary: switches
            .and_then(|(begin, end)| end.involuntary.checked_sub(begin.involuntary)),
        metrics: metrics::difference(&begin.metrics, &end.metrics),
    }
}

fn own(results: &Results) -> Own {
    let (begin, end) = (&results.begin, &results.end);
    let percent = begin.own.and_then(|begin| cpu_percent(begin, end.own?, results));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let since = |(thread, used): (&u32, &f64)| used - begin.threads.get(thread).unwrap_or(&0.0);
    let busiest_s = end.threads.iter().map(since).reduce(f64::max);
    Own {
        anonymous_bytes: results.anonymous_bytes,
        rss_bytes: end.own.map(|usage| usage.rss_bytes),
        cpu_percent: percent,
        cpu_share: percent.map(|percent| percent / 100.0 / cpus as f64),
        thread_percent_max: busiest_s
            .filter(|_| results.window_seconds > 0.0)
            .map(|busy_s| busy_s / results.window_seconds * 100.0),
        turn_ms: quantiles(&results.tally.turn),
    }
}

/// CPU of the window in percent of one core.
fn cpu_percent(begin: Usage, end: Usage, results: &Results) -> Option<f64> {
    (results.window_seconds > 0.0)
        .then(|| (end.cpu_seconds - begin.cpu_seconds) / results.window_seconds * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Sight;

    #[test]
    fn rates_are_those_of_the_window() {
        let tally = Tally { frames: 300, updates: 900, established: 10, ..Tally::default() };
        let usage = |cpu_seconds| Usage { cpu_seconds, rss_bytes: 7 };
        let sight = |cpu_seconds| Sight { server: Some(usage(cpu_seconds)), ..Sight::default() };
        let results = Results {
            tally,
            setup_seconds: 0.5,
            window_seconds: 3.0,
            begin: sight(1.0),
            end: sight(2.5),
            ..Results::default()
        };
        let report = build(&results, &[]);
        assert_eq!(report.frames.per_s, 100.0);
        assert_eq!(report.updates.per_s, 300.0);
        assert_eq!(report.setup.per_s, 20.0);
        assert_eq!(report.server.cpu_percent, Some(50.0));
        assert_eq!(report.loadgen.rss_bytes, None);
    }
}
