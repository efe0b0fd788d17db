//! What the machine allows, and whether that is enough to run on.

use std::{fs, io, thread};

use engine::shard::{self, SLOTS_RESERVED};
use net::{Io, uring};
use rlimit::Resource;
use thiserror::Error;

/// A ring's table of sockets has at most this many slots (the kernel's IORING_MAX_FIXED_FILES).
const SLOTS_MAX: u64 = 1 << 20;

/// Facts of the machine that a configuration is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// CPUs this process may run on. Never empty.
    pub cpus: Vec<usize>,
    /// How many of them it may keep busy: fewer where its control group has a quota, as in a container with a limit.
    pub cpus_busy: usize,
    /// The hard limit on descriptors. It bounds each ring's table of sockets; with epoll it bounds the process.
    pub nofile_hard: u64,
    /// Why io_uring does not do here what the shards need; `None`: it does.
    pub no_io_uring: Option<String>,
}

/// By which calls of the kernel shards move bytes, and why by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub io: Io,
    pub reason: String,
}

/// What a configuration asks for beside clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub shards: usize,
    /// `[limits] admin_connections`; `None`: there is no admin listener.
    pub admin_connections: Option<usize>,
}

/// Connections of the admin listener beyond `[limits] admin_connections`, for those who ask how the gateway is.
pub const ADMIN_RESERVE: usize = 128;
/// Sources, of which there are 64 at most, logs, files of the state, and what the control plane waits by.
const NOFILE_PROCESS: usize = 128;
/// Of a shard: two listeners, epoll, what wakes it and one in reserve, and connections that are only being refused,
/// which may take half of its slots in reserve.
const NOFILE_SHARD: usize = 8 + SLOTS_RESERVED / 2;

impl Demand {
    /// Descriptors of a process with epoll that are no client's.
    pub fn nofile(&self) -> u64 {
        let admin = self.admin_connections.map_or(0, |connections| connections + ADMIN_RESERVE);
        (NOFILE_PROCESS + self.shards * NOFILE_SHARD + admin) as u64
    }
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
    #[error("[server] io = \"io_uring\": {0}; or write io = \"auto\", and the gateway uses epoll")]
    Ring(String),
    #[error(
        "connections = {wanted} does not fit: the hard limit nofile is {nofile}, which with epoll gives the process \
         room for {room} clients; raise it (ulimit -Hn, LimitNOFILE=). The gateway uses epoll, as {reason}"
    )]
    Room { wanted: usize, nofile: u64, room: usize, reason: String },
    #[error(
        "the hard limit nofile is {nofile}, and with epoll the process needs {needed} for shards, the admin listener and \
         sources, so that there is no room for a client; raise it (ulimit -Hn, LimitNOFILE=), or lower [server] shards \
         or [limits] admin_connections. The gateway uses epoll, as {reason}"
    )]
    NoRoom { nofile: u64, needed: u64, reason: String },
}

/// Keeps the kernel from backing our memory with huge pages. A huge page is resident whole as soon as
/// a byte of it is used, which costs each shard about 10 MiB that it never uses.
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "transparent huge pages stay on, so more memory will be resident");
    }
}

/// How far threads that work for one publisher, or on one token, stand back behind all others: they get a tenth of a
/// CPU that shards want too.
const BACKGROUND_NICE: i32 = 10;

/// Has this thread stand back.
pub fn stand_back() {
    if let Err(error) = rustix::process::nice(BACKGROUND_NICE) {
        tracing::debug!(%error, "a thread cannot stand back");
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
        // The standard library reads quotas of control groups, of both versions.
        let cpus_busy = thread::available_parallelism().map_or(cpus.len(), |busy| busy.get().min(cpus.len()));
        Ok(Self { cpus, cpus_busy, nofile_hard, no_io_uring: None })
    }

    /// Proves whether io_uring works here, which until then it is taken to do. Takes two seconds on a very busy machine.
    /// Raises the soft limit on locked memory first, as that bounds rings.
    pub fn probe(&mut self) {
        if let Ok((soft, hard)) = Resource::MEMLOCK.get()
            && soft < hard
        {
            // Where that fails, what is tried next says how much is missing.
            let _ = Resource::MEMLOCK.set(hard, hard);
        }
        self.no_io_uring = uring::self_test().err().map(|error| error.to_string());
    }

    /// What moves the shards' bytes, where a configuration asks for `wanted`.
    pub fn io(&self, wanted: Option<Io>) -> Io {
        self.choice(wanted).io
    }

    /// And why.
    pub fn choice(&self, wanted: Option<Io>) -> Choice {
        match (wanted, &self.no_io_uring) {
            (Some(io), _) => Choice { io, reason: "[server] io".to_owned() },
            (None, None) => Choice { io: Io::IoUring, reason: "io_uring works here".to_owned() },
            (None, Some(reason)) => Choice { io: Io::Epoll, reason: reason.clone() },
        }
    }

    /// Slots of one shard's table of sockets at most.
    pub fn slots_max(&self) -> usize {
        self.nofile_hard.min(SLOTS_MAX) as usize
    }

    /// Clients that there is room for: in the tables of all shards together, or in the process.
    pub fn clients_max(&self, demand: Demand, io: Io) -> usize {
        match io {
            Io::IoUring => demand.shards * shard::clients_max(self.slots_max()),
            Io::Epoll => self.nofile_hard.saturating_sub(demand.nofile()) as usize,
        }
    }
}

/// Less leaves no clients beside listeners, logs, rings and the slots in reserve.
pub const NOFILE_LEAST: u64 = 2 * SLOTS_RESERVED as u64;

/// Soft, hard.
pub fn nofile() -> Result<(u64, u64), Unfit> {
    limit(Resource::NOFILE, "the limit nofile")
}

pub fn limit(resource: Resource, what: &'static str) -> Result<(u64, u64), Unfit> {
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
        let machine = |nofile_hard| Machine { cpus: vec![0], cpus_busy: 1, nofile_hard, no_io_uring: None };
        let of = |shards| Demand { shards, admin_connections: Some(256) };
        assert_eq!(machine(20_000).clients_max(of(6), Io::IoUring), 6 * (20_000 - 256));
        assert_eq!(machine(u64::MAX).slots_max(), 1 << 20);
        assert_eq!(machine(100).clients_max(of(2), Io::IoUring), 150);
        assert_eq!(machine(20_000).clients_max(of(6), Io::Epoll), 20_000 - 128 - 6 * 136 - 256 - 128);
        let without_admin = Demand { shards: 6, admin_connections: None };
        assert_eq!(machine(20_000).clients_max(without_admin, Io::Epoll), 20_000 - 128 - 6 * 136);
        assert_eq!(machine(100).clients_max(of(6), Io::Epoll), 0);
    }

    #[test]
    fn the_least_kernel_is_one_number_everywhere() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&format!("From {} on it uses io_uring", net::KERNEL_LEAST)));
        let protocol = include_str!("../PROTOCOL.md");
        assert!(protocol.contains(&format!("Linux {} or newer", net::KERNEL_LEAST)));
    }
}
