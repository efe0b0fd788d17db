//! A report made of what the threads counted.

use super::{
    Bytes, Clients, Connections, Final, Frames, Host, Kinds, Negative, Own, Publish, Report, Restart, Run,
    Server, Setup, Slow, Updates, Window,
};
use crate::{host::process::Usage, judge::settle::Settled, publish::Published, tally::Tally};

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
pub fn build(results: &Results) -> Report {
    let tally = &results.tally;
    let window = results.window_seconds;
    let published = results.published.unwrap_or_default();
    Report {
        run: Run { version: env!("CARGO_PKG_VERSION").into(), ..Run::default() },
        connections: Connections {
            requested: results.requested,
            established: tally.established,
            failed: tally.failed,
            closed: tally.closed,
            left: tally.left,
            returned: tally.returned,
            retries: tally.retries,
            resumed_by_snapshot: tally.resumed_by_snapshot,
        },
        setup: Setup {
            seconds: results.setup_seconds,
            per_s: per_s(tally.established, results.setup_seconds),
            handshake_ms: tally.handshake.report(),
            snapshot_ms: tally.snapshot.report(),
        },
        window: Window { seconds: window, threads: results.threads as u64, interval_ms: tally.interval_ms },
        frames: Frames {
            total: tally.frames,
            per_s: per_s(tally.frames, window),
            snapshots: tally.snapshots,
        },
        updates: updates(tally, window),
        clients: clients(tally, window),
        bytes: Bytes { payload: tally.payload_bytes, wire: tally.wire_bytes },
        visible_ms: tally.visible.report(),
        arrival_ms: tally.arrival.report(),
        negative: Negative { visible: tally.visible_negative, arrival: tally.arrival_negative },
        slow: Slow { visible_ms: tally.slow_visible.report() },
        r#final: Final {
            clients: results.settled.clients,
            values: results.settled.values,
            lost: results.settled.lost,
        },
        publish: Publish {
            accepted: published.accepted,
            refused: published.refused,
            per_s: per_s(published.accepted, published.seconds),
            ..Publish::default()
        },
        restart: Restart {
            cut: tally.restart.cut,
            returned: tally.restart.back,
            seconds: tally.restart.seconds(),
        },
        server: Server {
            rss_bytes: results.server.map(|(_, end)| end.rss_bytes),
            cpu_percent: cpu_percent(results.server, window),
            ..Server::default()
        },
        loadgen: Own {
            rss_bytes: results.own.map(|(_, end)| end.rss_bytes),
            cpu_percent: cpu_percent(results.own, window),
            ..Own::default()
        },
        host: Host::default(),
        violations: tally.faults.violations.iter().map(|(what, count)| ((*what).into(), *count)).collect(),
        failures: kinds(&tally.failures),
        closes: kinds(&tally.closes),
        errors: kinds(&tally.errors),
        notices: kinds(&tally.notices),
        ..Report::default()
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

fn updates(tally: &Tally, window_seconds: f64) -> Updates {
    Updates {
        total: tally.updates,
        per_s: per_s(tally.updates, window_seconds),
        conflated: tally.conflated,
        lost: tally.faults.lost,
        duplicated: tally.faults.duplicated,
        reordered: tally.faults.reordered,
        torn: tally.faults.torn,
        violations: tally.faults.violations.values().sum(),
    }
}

fn kinds(kinds: &crate::tally::Kinds) -> Kinds {
    kinds.0.clone()
}

fn per_s(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// CPU of the window in percent of one core; `None` where the process is not seen.
fn cpu_percent(ends: Option<(Usage, Usage)>, window_seconds: f64) -> Option<f64> {
    ends.filter(|_| window_seconds > 0.0)
        .map(|(begin, end)| (end.cpu_seconds - begin.cpu_seconds) / window_seconds * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_window() {
        let tally = Tally { frames: 300, updates: 900, established: 10, ..Tally::default() };
        let usage = |cpu_seconds| Usage { cpu_seconds, rss_bytes: 7 };
        let server = Some((usage(1.0), usage(2.5)));
        let results =
            Results { tally, setup_seconds: 0.5, window_seconds: 3.0, server, ..Results::default() };
        let report = build(&results);
        assert_eq!(report.frames.per_s, 100.0);
        assert_eq!(report.updates.per_s, 300.0);
        assert_eq!(report.setup.per_s, 20.0);
        assert_eq!(report.server.cpu_percent, Some(50.0));
        assert_eq!(report.loadgen.rss_bytes, None);
    }
}
