//! What makes a report doubtful, each with a remedy.

use super::figures::Report;

/// A thread that is busier has no room left for bursts.
const THREAD_PERCENT_MAX: f64 = 85.0;
/// Of the CPUs together.
const HOST_PERCENT_MAX: f64 = 95.0;
/// Turns of the loop up to here cannot hide anything that matters.
const TURN_MS_MIN: f64 = 20.0;

/// What the figures themselves do not say.
#[derive(Debug, Default)]
pub struct Doubts<'a> {
    /// Why the server's metrics are missing.
    pub metrics_error: Option<&'a str>,
    /// Why the final values were not compared with the gateway's.
    pub unanswered: Option<&'a str>,
    /// Tables were not compared, as they had more keys together than this.
    pub keys_max: Option<u64>,
}

/// A sentence for each doubt.
pub fn of(report: &Report, doubts: &Doubts<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    bottleneck(report, &mut warnings);
    clocks(report, &mut warnings);
    if let Some(error) = doubts.metrics_error {
        warnings.push(format!(
            "GET /metrics failed ({error}), so server.metrics is empty; is --admin the admin listener?"
        ));
    }
    if let Some(error) = doubts.unanswered {
        warnings.push(format!(
            "the final values were compared among clients only ({error}); was the gateway gone at the end, \
             or is --admin not its admin listener?"
        ));
    }
    if let Some(keys_max) = doubts.keys_max {
        warnings.push(format!(
            "tables of keyed topics were not compared: together they have more than {keys_max} keys; \
             take fewer connections or topics"
        ));
    }
    if report.run.interrupted {
        let seconds = report.window.seconds;
        warnings
            .push(format!("ended by a signal after {seconds:.1} s of measuring; the figures cover those"));
    }
    warnings
}

fn bottleneck(report: &Report, warnings: &mut Vec<String>) {
    let own = &report.loadgen;
    if let Some(percent) = own.thread_percent_max.filter(|percent| *percent > THREAD_PERCENT_MAX) {
        warnings.push(format!(
            "loadgen's busiest thread used {percent:.0} % of a core: the generator may be the bottleneck; \
             use --threads above {}, fewer connections, or further hosts",
            report.window.threads
        ));
    }
    if let (Some(turn), Some(visible)) = (own.turn_ms.p99, report.visible_ms.p99)
        && turn > TURN_MS_MIN
        && turn > visible / 10.0
    {
        warnings.push(format!(
            "loadgen took {turn:.0} ms (p99) to handle what arrived together, of a visible p99 of {visible:.0} ms: \
             latencies hold that much of its own; use --threads above {}, or further hosts",
            report.window.threads
        ));
    }
    let cores = &report.host.cpu_percent;
    let busy = cores.iter().sum::<f64>() / cores.len().max(1) as f64;
    if busy > HOST_PERCENT_MAX && report.server.pid.is_some() {
        warnings.push(format!(
            "server and loadgen share {} CPUs that were {busy:.0} % busy: neither shows what it can alone; \
             run loadgen on another host, or give each CPUs of its own (taskset, [server] cpus)",
            cores.len()
        ));
    }
}

fn clocks(report: &Report, warnings: &mut Vec<String>) {
    if let (Some(offset), Some(error)) = (report.host.clock_offset_ms, report.host.clock_error_ms) {
        warnings.push(format!(
            "times are corrected by the server's clock being {offset:+.3} ms from ours, \
             give or take {error:.3} ms; clocks kept by PTP or NTP need no correction (--clock-offset off)"
        ));
    }
    let negative = report.negative.visible + report.negative.arrival;
    if negative > 0 {
        warnings.push(format!(
            "{negative} ages were below zero and count as 0: the publisher's or server's clock is ahead of ours; \
             synchronise them, or see --clock-offset"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_without_room_left_is_told_with_a_remedy() {
        let mut report = Report::default();
        report.loadgen.thread_percent_max = Some(97.0);
        report.loadgen.turn_ms.p99 = Some(60.0);
        report.visible_ms.p99 = Some(110.0);
        report.host.cpu_percent = vec![99.0, 97.0];
        report.server.pid = Some(1);
        let warnings = of(&report, &Doubts::default());
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("97 %") && warnings[0].contains("--threads"));
    }

    #[test]
    fn an_idle_generator_is_not_worth_a_word() {
        let mut report = Report::default();
        report.loadgen.thread_percent_max = Some(20.0);
        report.loadgen.turn_ms.p99 = Some(3.0);
        report.visible_ms.p99 = Some(10.0);
        assert!(of(&report, &Doubts::default()).is_empty());
    }
}
