//! One line on the machine, for those who compare figures.

use std::{fs, thread};

/// Processor, CPUs that may be used, memory and kernel; what cannot be read is left out.
pub fn describe() -> String {
    let value = |file: &str, key: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let memory = value("/proc/meminfo", "MemTotal").and_then(|kib| {
        let kib: f64 = kib.split_whitespace().next()?.parse().ok()?;
        Some(format!("{:.0} GiB", kib / (1024.0 * 1024.0)))
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let parts = [
        value("/proc/cpuinfo", "model name"),
        thread::available_parallelism().ok().map(|cpus| format!("{cpus} CPUs allowed")),
        memory,
        kernel.map(|kernel| format!("Linux {}", kernel.trim())),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
