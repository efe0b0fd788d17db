//! Memory and CPU of a process on this host, from /proc.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, SocketAddr},
};

/// `USER_HZ`, the unit of times in /proc/PID/stat: 100 on every architecture that Linux runs on today.
const TICKS_PER_S: f64 = 100.0;

/// A listener's state in /proc/net/tcp.
const LISTEN: &str = "0A";

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub rss_bytes: u64,
}

/// The present usage of `pid`; `None` where there is no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, rss_bytes: kib(&status, "VmRSS:")? * 1024 })
}

/// Resident memory of `pid` that no file backs: what it allocated and touched.
pub fn anonymous_bytes(pid: u32) -> Option<u64> {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "RssAnon:").map(|kib| kib * 1024)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Context switches of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    pub voluntary: u64,
    pub involuntary: u64,
}

/// Those of all present threads of `pid`; `None` where there is no such process.
pub fn switches(pid: u32) -> Option<Switches> {
    let mut sum = Switches { voluntary: 0, involuntary: 0 };
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
        let count = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        sum.voluntary += count("voluntary_ctxt_switches:");
        sum.involuntary += count("nonvoluntary_ctxt_switches:");
    }
    Some(sum)
}

/// CPU seconds of each thread of `pid`.
pub fn threads(pid: u32) -> BTreeMap<u32, f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, cpu_seconds(&stat)?))
    };
    tasks.filter_map(used).collect()
}

/// User and system time in a `stat` file.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The command's name may hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_S)
}

/// The process that listens where `addr` leads, if it is on this host and visible to us.
pub fn listening(addr: SocketAddr) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::File::open(table).ok())
        .flat_map(|table| listener_inodes(BufReader::new(table), addr))
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        targets.any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|s| s == target)))
    })
}

/// Listeners come first in the table; with very many connections the rest is long.
fn listener_inodes(table: impl BufRead, addr: SocketAddr) -> Vec<String> {
    let rows = table.lines().skip(1).map_while(Result::ok);
    let listeners = rows.take_while(|row| row.split_whitespace().nth(3) == Some(LISTEN));
    listeners.filter_map(|row| listener_inode(&row, addr)).collect()
}

/// The inode in a line of /proc/net/tcp or tcp6, if that is a listener that `addr` leads to.
fn listener_inode(line: &str, addr: SocketAddr) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(port, 16).ok()? == addr.port();
    let anywhere = ip.bytes().all(|byte| byte == b'0');
    // Each group of four bytes is in the machine's own order, which is taken to be little-endian.
    let here = match addr.ip() {
        IpAddr::V4(v4) => ip.ends_with(&format!("{:08X}", u32::from_le_bytes(v4.octets()))),
        IpAddr::V6(v6) => {
            let words = v6.octets();
            let words = words
                .chunks_exact(4)
                .map(|w| format!("{:08X}", u32::from_le_bytes([w[0], w[1], w[2], w[3]])));
            ip == words.collect::<String>()
        }
    };
    let local = addr.ip().is_loopback() || !anywhere;
    (listens && (here || anywhere && local)).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening(listener.local_addr().unwrap()), Some(std::process::id()));
        let any = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = any.local_addr().unwrap().port();
        assert_eq!(listening(SocketAddr::from(([127, 0, 0, 1], port))), Some(std::process::id()));
    }

    #[test]
    fn our_own_usage_can_be_read() {
        assert!(usage(std::process::id()).unwrap().rss_bytes > 100_000);
        assert!(usage(u32::MAX).is_none());
        assert!(switches(std::process::id()).unwrap().voluntary > 0 && switches(u32::MAX).is_none());
        assert!(!threads(std::process::id()).is_empty());
    }
}
