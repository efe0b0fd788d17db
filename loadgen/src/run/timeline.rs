//! About one point a second of the whole run, for the live view and the report.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use crate::{
    host::process::{self, Usage},
    measure::tally::Second,
    report::figures::Moment,
    worker::shared::Shared,
};

const STEP: Duration = Duration::from_secs(1);
/// Beyond an hour every two neighbours become one, again and again.
const MOMENTS_MAX: usize = 3600;

/// The run so far.
#[derive(Debug)]
pub struct Timeline {
    pub moments: Vec<Moment>,
    /// The server's process, as long as it is seen.
    pub server_pid: Option<u32>,
    /// The server's largest resident memory that was seen.
    pub server_rss_bytes_max: Option<u64>,
    server: SocketAddr,
    last: Instant,
    second: Second,
    server_usage: Option<Usage>,
    own_usage: Option<Usage>,
}

impl Timeline {
    /// `server_pid`: where it was named; else whoever listens at `server`, if that is on this host.
    pub fn new(server_pid: Option<u32>, server: SocketAddr) -> Self {
        let server_pid = server_pid.or_else(|| process::listening(server));
        Self {
            moments: Vec::new(),
            server_pid,
            server_rss_bytes_max: None,
            server,
            last: Instant::now(),
            second: Second::default(),
            server_usage: server_pid.and_then(process::usage),
            own_usage: process::usage(std::process::id()),
        }
    }

    /// A new point, when the last one is a second old.
    pub fn tick(&mut self, shared: &Shared) -> Option<&Moment> {
        let seconds = self.last.elapsed();
        if seconds < STEP {
            return None;
        }
        self.last = Instant::now();
        let seconds = seconds.as_secs_f64();
        for slot in &shared.seconds {
            self.second.take(&mut slot.lock().expect("no thread panics with it"));
        }
        let second = std::mem::take(&mut self.second);
        let (server_cpu_percent, server_rss_bytes) = self.server(seconds);
        let own = process::usage(std::process::id());
        let loadgen_cpu_percent = percent(self.own_usage, own, seconds);
        self.own_usage = own;
        if self.moments.len() == MOMENTS_MAX {
            self.halve();
        }
        self.moments.push(Moment {
            at_s: shared.now_us() as f64 / 1e6,
            open: shared.open.load(Relaxed),
            failed: shared.failed.load(Relaxed),
            frames_per_s: second.frames as f64 / seconds,
            updates_per_s: second.updates as f64 / seconds,
            visible_p50_ms: second.visible.quantile_ms(0.5),
            visible_p99_ms: second.visible.quantile_ms(0.99),
            server_cpu_percent,
            server_rss_bytes,
            loadgen_cpu_percent,
        });
        self.moments.last()
    }

    fn server(&mut self, seconds: f64) -> (Option<f64>, Option<u64>) {
        let mut usage = self.server_pid.and_then(process::usage);
        if usage.is_none() && self.server_usage.is_some() || self.server_pid.is_none() {
            // It ended, and may be started again.
            self.server_pid = process::listening(self.server);
            usage = self.server_pid.and_then(process::usage);
            self.server_usage = None;
        }
        let cpu_percent = percent(self.server_usage, usage, seconds);
        self.server_usage = usage;
        let rss_bytes = usage.map(|usage| usage.rss_bytes);
        self.server_rss_bytes_max = self.server_rss_bytes_max.max(rss_bytes);
        (cpu_percent, rss_bytes)
    }

    /// Percentiles of two seconds cannot be averaged: the worse one stands for both.
    fn halve(&mut self) {
        let worse = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        let merge = |pair: &[Moment]| match pair {
            [a, b] => Moment {
                frames_per_s: (a.frames_per_s + b.frames_per_s) / 2.0,
                updates_per_s: (a.updates_per_s + b.updates_per_s) / 2.0,
                visible_p50_ms: worse(a.visible_p50_ms, b.visible_p50_ms),
                visible_p99_ms: worse(a.visible_p99_ms, b.visible_p99_ms),
                ..b.clone()
            },
            _ => pair[0].clone(),
        };
        self.moments = self.moments.chunks(2).map(merge).collect();
    }
}

fn percent(begin: Option<Usage>, end: Option<Usage>, seconds: f64) -> Option<f64> {
    let used = end?.cpu_seconds - begin?.cpu_seconds;
    (used >= 0.0).then(|| used / seconds * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_worst_percentiles_and_its_rates() {
        let mut timeline = Timeline::new(Some(u32::MAX), "127.0.0.1:1".parse().unwrap());
        let moment = |at: usize| Moment {
            at_s: at as f64,
            frames_per_s: at as f64,
            visible_p99_ms: Some(if at == 2 { 900.0 } else { 1.0 }),
            ..Moment::default()
        };
        timeline.moments = (1..=5).map(moment).collect();
        timeline.halve();
        let at: Vec<f64> = timeline.moments.iter().map(|moment| moment.at_s).collect();
        assert_eq!(at, [2.0, 4.0, 5.0]);
        assert_eq!(timeline.moments[0].visible_p99_ms, Some(900.0));
        assert_eq!(timeline.moments[1].frames_per_s, 3.5);
    }
}
