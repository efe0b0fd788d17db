//! What the machine's limits allow, told before anything is connected.

use std::fs;

use net::Io;
use rlimit::Resource;

/// Standard streams, rings, wake-ups and the admin connections.
const DESCRIPTORS_KEPT: u64 = 64;
/// Kernel memory of one established, idle loopback connection, both ends (Linux 6.18, from
/// `MemAvailable` before and with 100,000 of them), rounded up.
const KERNEL_BYTES: u64 = 12 << 10;

/// What a load asks of this host.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    pub connections: u64,
    pub io: Io,
    /// That were asked for; `None`: as many as it takes.
    pub threads: Option<u64>,
    pub source_addresses: u64,
    /// The server runs here too: every connection has both its ends on this host.
    pub server_here: bool,
}

/// What this host has. What cannot be read does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Hard limit on open files of a process; a ring's table may hold as many by itself.
    pub nofile: u64,
    pub cpus: u64,
    /// First and last port that the kernel gives to connects.
    pub ports: (u64, u64),
    /// Files that may still be opened on the whole host.
    pub files_left: u64,
    pub memory_available_bytes: u64,
    /// Connects that may wait to be accepted, at most.
    pub somaxconn: u64,
}

/// How the load fits.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub threads: u64,
    /// How many connections there is room for, and by what.
    pub room: String,
    /// What will slow it down or may stop it, each with a remedy.
    pub warnings: Vec<String>,
}

impl HostLimits {
    /// Reads them, and raises the soft limits on open files and, for rings, on locked memory to the hard ones.
    pub fn of_this_host() -> Result<Self, String> {
        if let Ok((_, hard)) = Resource::MEMLOCK.get() {
            // Where that fails, making a ring says how much is missing.
            let _ = Resource::MEMLOCK.set(hard, hard);
        }
        let nofile = rlimit::increase_nofile_limit(u64::MAX)
            .map_err(|error| format!("the limit on open files cannot be read: {error}"))?;
        let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range");
        let files = numbers("/proc/sys/fs/file-nr");
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let available_kib = available.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok());
        Ok(Self {
            nofile,
            cpus: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            ports: if let [first, last] = ports[..] { (first, last) } else { (1, 65535) },
            files_left: if let [used, free, max] = files[..] {
                max.saturating_sub(used - free)
            } else {
                u64::MAX
            },
            memory_available_bytes: available_kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024)),
            somaxconn: numbers("/proc/sys/net/core/somaxconn").first().copied().unwrap_or(u64::MAX),
        })
    }

    /// An error where the load cannot be held; it says what to change.
    pub fn plan(&self, need: &Need) -> Result<Plan, String> {
        let connections = need.connections;
        // Of a ring, or of the process.
        let table = self.nofile.saturating_sub(DESCRIPTORS_KEPT).max(1);
        let least = match need.io {
            Io::IoUring => connections.div_ceil(table),
            Io::Epoll => 1,
        };
        if need.io == Io::Epoll && connections > table {
            return Err(format!(
                "{connections} connections with epoll: this process may open {} files, of which {DESCRIPTORS_KEPT} are \
                 kept; raise ulimit -n, run where io_uring works, or start further loadgens",
                self.nofile
            ));
        }
        let threads = need.threads.unwrap_or(self.cpus.max(least).min(connections));
        if threads < least {
            return Err(format!(
                "--threads {threads}: {connections} connections need {least} rings, as each holds as many as the \
                 process may open files ({}, of which {DESCRIPTORS_KEPT} are kept); use --threads {least} or raise ulimit -n",
                self.nofile
            ));
        }
        let (first, last) = self.ports;
        let ports = (last + 1).saturating_sub(first);
        let needed = connections.div_ceil(ports.max(1));
        if need.source_addresses < needed {
            return Err(format!(
                "{connections} connections from {} source address(es): each has {ports} ports \
                 (net.ipv4.ip_local_port_range {first} {last}); name at least {needed} with --source-ip",
                need.source_addresses
            ));
        }
        let addresses = need.source_addresses;
        let (sockets, of) = match need.io {
            Io::IoUring => (threads * table, format!("{threads} rings of {table}")),
            Io::Epoll => (table, format!("epoll, {table} of the process")),
        };
        let room = format!(
            "room for {} connections: {of} (ulimit -n {}), {addresses} source addresses of {ports} ports",
            sockets.min(addresses * ports),
            self.nofile
        );
        Ok(Plan { threads, room, warnings: self.warnings(need, ports) })
    }

    fn warnings(&self, need: &Need, ports: u64) -> Vec<String> {
        let (connections, ends) = (need.connections, 1 + u64::from(need.server_here));
        let mut warnings = Vec::new();
        let share = connections.div_ceil(need.source_addresses);
        if share > 5000 {
            warnings.push(format!(
                "{share} connections from each source address, which has {ports} ports: the kernel's search for a free \
                 one slows connects down; name more addresses with --source-ip, about one for every 1000 connections"
            ));
        }
        if connections * ends > self.files_left {
            warnings.push(format!(
                "{} sockets on this host, which may open {} more files: raise sysctl fs.file-max",
                connections * ends,
                self.files_left
            ));
        }
        let bytes = connections * KERNEL_BYTES * ends / 2;
        if bytes > self.memory_available_bytes {
            warnings.push(format!(
                "{connections} connections take about {} MiB of kernel memory, {} MiB are available: \
                 use fewer, or further hosts",
                bytes >> 20,
                self.memory_available_bytes >> 20
            ));
        }
        if need.server_here && connections > 10_000 && self.somaxconn < 1024 {
            warnings.push(format!(
                "sysctl net.core.somaxconn is {}: a burst of connects overruns the server's backlog; raise it to 4096",
                self.somaxconn
            ));
        }
        warnings
    }
}

fn numbers(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HostLimits = HostLimits {
        nofile: 20_000,
        cpus: 2,
        ports: (32_768, 60_999),
        files_left: 1_000_000,
        memory_available_bytes: 8 << 30,
        somaxconn: 4096,
    };
    const NEED: Need = Need {
        connections: 100_000,
        io: Io::IoUring,
        threads: None,
        source_addresses: 100,
        server_here: true,
    };

    #[test]
    fn rings_are_as_many_as_open_files_demand() {
        let room = "room for 119616 connections: 6 rings of 19936 (ulimit -n 20000), 100 source addresses of 28232 ports";
        assert_eq!(LIMITS.plan(&NEED), Ok(Plan { threads: 6, room: room.into(), warnings: Vec::new() }));
        let few = Need { connections: 1, source_addresses: 1, ..NEED };
        assert_eq!(LIMITS.plan(&few).unwrap().threads, 1);
        let refusal = LIMITS.plan(&Need { threads: Some(3), ..NEED }).unwrap_err();
        assert!(refusal.contains("need 6 rings") && refusal.contains("20000"), "{refusal}");
    }

    #[test]
    fn with_epoll_open_files_bound_the_process() {
        let refusal = LIMITS.plan(&Need { io: Io::Epoll, ..NEED }).unwrap_err();
        assert!(refusal.contains("may open 20000 files") && refusal.contains("ulimit -n"), "{refusal}");
        let fits = Need { io: Io::Epoll, connections: 18_000, source_addresses: 18, ..NEED };
        assert_eq!(LIMITS.plan(&fits).unwrap().threads, 2);
    }

    #[test]
    fn one_address_has_ports_for_so_many_and_no_more() {
        let one = Need { source_addresses: 1, ..NEED };
        let refusal = LIMITS.plan(&one).unwrap_err();
        assert!(refusal.contains("28232 ports") && refusal.contains("at least 4"), "{refusal}");
        let crowded = LIMITS.plan(&Need { source_addresses: 4, ..NEED }).unwrap();
        assert!(crowded.warnings[0].contains("--source-ip"), "{crowded:?}");
    }

    #[test]
    fn what_the_host_lacks_is_told_with_numbers() {
        let small =
            HostLimits { files_left: 150_000, memory_available_bytes: 1 << 29, somaxconn: 128, ..LIMITS };
        let warnings = small.plan(&NEED).unwrap().warnings;
        for told in ["fs.file-max", "512 MiB are available", "somaxconn is 128"] {
            assert!(warnings.iter().any(|warning| warning.contains(told)), "{told}: {warnings:?}");
        }
    }

    #[test]
    fn this_host_has_limits() {
        let limits = HostLimits::of_this_host().unwrap();
        assert!(limits.nofile > 100 && limits.cpus > 0 && limits.ports.0 < limits.ports.1, "{limits:?}");
    }
}
