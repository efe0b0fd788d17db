//! This process as /proc shows it.

use std::fs;

use net::metric::{Kind, Metric};

/// Ticks of `/proc/PID/stat` a second: part of Linux's interface to user space.
const TICKS_PER_S: f64 = 100.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    pub resident_bytes: u64,
    pub cpu_s: f64,
    /// Since the Unix epoch.
    pub start_s: f64,
    pub open_fds: u64,
    pub max_fds: u64,
}

impl Process {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("process_resident_memory_bytes", "Resident memory", |p| p.resident_bytes),
        Metric::real(Kind::Counter, "process_cpu_seconds", "User and system CPU time", |p| p.cpu_s),
        Metric::real(Kind::Gauge, "process_start_time_seconds", "Start since the Unix epoch", |p| p.start_s),
        Metric::gauge("process_open_fds", "Open file descriptors", |p| p.open_fds),
        Metric::gauge("process_max_fds", "Soft limit of file descriptors", |p| p.max_fds),
    ];

    /// `None` where /proc cannot be read: then there are no such metrics.
    pub fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident_kib: u64 = number_after(&status, "VmRSS:")?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets and may hold anything.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let boot_s: u64 = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
        Some(Self {
            resident_bytes: resident_kib * 1024,
            cpu_s: (ticks(14)? + ticks(15)?) / TICKS_PER_S,
            start_s: boot_s as f64 + ticks(22)? / TICKS_PER_S,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_fds: rlimit::Resource::NOFILE.get_soft().ok()?,
        })
    }
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
