//! How busy each CPU is, from /proc/stat.

use std::fs;

/// Ticks of one CPU since the start of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    pub busy: u64,
    pub total: u64,
}

/// All CPUs that are online; empty where /proc/stat cannot be read.
pub fn read() -> Vec<Core> {
    fs::read_to_string("/proc/stat").map_or_else(|_| Vec::new(), |stat| parse(&stat))
}

fn parse(stat: &str) -> Vec<Core> {
    let cpu =
        |line: &str| line.strip_prefix("cpu")?.starts_with(|c: char| c.is_ascii_digit()).then(|| core(line));
    stat.lines().filter_map(cpu).collect()
}

/// user nice system idle iowait irq softirq steal; guest times are within user and nice.
fn core(line: &str) -> Core {
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map(|field| field.parse().unwrap_or(0)).collect();
    let total: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Core { busy: total - idle, total }
}

/// Busy percent of each CPU between two readings.
pub fn busy_percent(begin: &[Core], end: &[Core]) -> Vec<f64> {
    let percent = |(begin, end): (&Core, &Core)| {
        let total = end.total.saturating_sub(begin.total);
        if total == 0 { 0.0 } else { end.busy.saturating_sub(begin.busy) as f64 / total as f64 * 100.0 }
    };
    begin.iter().zip(end).map(percent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_count_as_busy_and_waiting_for_disks_does_not() {
        let begin = parse(
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 10 100 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 1\n",
        );
        let end = parse(
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 20 0 20 150 10 5 5 0 0 0\ncpu1 0 0 0 50 0 0 0 50 0 0\nintr 1\n",
        );
        assert_eq!(begin.len(), 2);
        let percent = busy_percent(&begin, &end);
        assert!((percent[0] - 30.0 / 90.0 * 100.0).abs() < 1e-9 && percent[1] == 50.0, "{percent:?}");
    }
}
