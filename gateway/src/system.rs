//! What the machine allows, and whether that is enough to run on.

use std::{fs, io};

use engine::shard::{self, SLOTS_RESERVED};
use rlimit::Resource;
use thiserror::Error;

/// A ring's table of sockets has at most this many slots (the kernel's IORING_MAX_FIXED_FILES).
const SLOTS_MAX: u64 = 1 << 20;

/// Facts of the machine that a configuration is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// CPUs this process may run on. Never empty.
    pub cpus: Vec<usize>,
    /// The hard limit on descriptors. It bounds each ring's table of sockets, not the process.
    pub nofile_hard: u64,
}

/// Why the gateway cannot run here, with the remedy.
#[derive(Debug, Error)]
pub enum Unfit {
    #[error("cannot read {what}: {error}; is /proc mounted?")]
    Unreadable { what: &'static str, error: io::Error },
    #[error(
        "cannot raise the soft limit nofile from {soft} to {hard}: {error}; raise it with ulimit -n or LimitNOFILE="
    )]
    Nofile { soft: u64, hard: u64, error: io::Error },
    #[error(
        "the hard limit nofile is {hard}, at least {least} are needed; raise it with ulimit -Hn or LimitNOFILE="
    )]
    NofileTooLow { hard: u64, least: u64 },
    #[error(transparent)]
    Ring(#[from] net::uring::SelfTestError),
}

/// Keeps the kernel from backing our memory with huge pages. A huge page is resident whole as soon as
/// a byte of it is used, which costs each shard about 10 MiB that it never uses.
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "transparent huge pages stay on, so more memory will be resident");
    }
}

impl Machine {
    pub fn this() -> Result<Self, Unfit> {
        let what = "/proc/self/status";
        let unreadable = |error| Unfit::Unreadable { what, error };
        let status = fs::read_to_string(what).map_err(unreadable)?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cpus =
            list.and_then(parse_cpu_list).ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?;
        let (_, nofile_hard) = nofile()?;
        Ok(Self { cpus, nofile_hard })
    }

    /// Slots of one shard's table of sockets at most.
    pub fn slots_max(&self) -> usize {
        self.nofile_hard.min(SLOTS_MAX) as usize
    }

    /// Clients that the tables of `shards` shards hold together.
    pub fn clients_max(&self, shards: usize) -> usize {
        shards * shard::clients_max(self.slots_max())
    }
}

/// Raises the soft limit on descriptors and proves that io_uring does here what the shards need.
pub fn check() -> Result<(), Unfit> {
    let (soft, hard) = nofile()?;
    if hard < NOFILE_LEAST {
        return Err(Unfit::NofileTooLow { hard, least: NOFILE_LEAST });
    }
    if soft < hard {
        Resource::NOFILE.set(hard, hard).map_err(|error| Unfit::Nofile { soft, hard, error })?;
    }
    net::uring::self_test()?;
    let (memlock_bytes, _) = limit(Resource::MEMLOCK, "the limit memlock")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    tracing::info!(
        kernel = kernel.trim(),
        least = net::uring::KERNEL_LEAST,
        nofile = hard,
        memlock_bytes,
        "io_uring works here"
    );
    Ok(())
}

/// Less leaves no clients beside listeners, logs, rings and the slots in reserve.
const NOFILE_LEAST: u64 = 2 * SLOTS_RESERVED as u64;

/// Soft, hard.
fn nofile() -> Result<(u64, u64), Unfit> {
    limit(Resource::NOFILE, "the limit nofile")
}

fn limit(resource: Resource, what: &'static str) -> Result<(u64, u64), Unfit> {
    resource.get().map_err(|error| Unfit::Unreadable { what, error })
}

/// `0-2,5` as the kernel writes it.
fn parse_cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_cpu_list("\t0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list("3"), Some(vec![3]));
        assert_eq!(parse_cpu_list(""), None);
        assert_eq!(parse_cpu_list("a-b"), None);
    }

    #[test]
    fn tables_are_bounded_by_nofile_and_by_the_kernel() {
        let machine = |nofile_hard| Machine { cpus: vec![0], nofile_hard };
        assert_eq!(machine(20_000).clients_max(6), 6 * (20_000 - 256));
        assert_eq!(machine(u64::MAX).slots_max(), 1 << 20);
        assert_eq!(machine(100).clients_max(2), 150);
    }

    #[test]
    fn the_least_kernel_is_one_number_everywhere() {
        let readme = include_str!("../../README.md");
        assert_eq!(readme.matches(&format!("{} or newer", net::uring::KERNEL_LEAST)).count(), 1);
        assert_eq!(readme.matches(" or newer").count(), 1, "the README names another one");
    }
}
