//! What this host says of processes and of itself, and what the server says of itself.

use std::collections::BTreeMap;

use crate::server::{admin::Admin, metrics};
use cores::Core;
use process::{Switches, Usage};

pub mod cores;
pub mod limits;
pub mod machine;
pub mod process;
pub mod sockets;

/// All that can be seen at one moment; what cannot be is `None` or empty.
#[derive(Debug, Default)]
pub struct Sight {
    pub server_pid: Option<u32>,
    pub server: Option<Usage>,
    pub server_switches: Option<Switches>,
    pub own: Option<Usage>,
    /// CPU seconds of our own threads, by their number.
    pub threads: BTreeMap<u32, f64>,
    pub cores: Vec<Core>,
    pub socket_memory_bytes: Option<u64>,
    pub metrics: BTreeMap<String, metrics::Sample>,
    /// Why the metrics are missing, where an admin listener was named.
    pub metrics_error: Option<String>,
}

impl Sight {
    /// Looks at the server's process, at our own and at the host, and scrapes `admin`.
    pub fn now(server_pid: Option<u32>, admin: Option<&Admin>) -> Self {
        let scraped = admin.map(metrics::scrape);
        let (metrics, metrics_error) = match scraped {
            Some(Ok(metrics)) => (metrics, None),
            Some(Err(error)) => (BTreeMap::new(), Some(error.to_string())),
            None => (BTreeMap::new(), None),
        };
        let own = std::process::id();
        Self {
            server_pid,
            server: server_pid.and_then(process::usage),
            server_switches: server_pid.and_then(process::switches),
            own: process::usage(own),
            threads: process::threads(own),
            cores: cores::read(),
            socket_memory_bytes: sockets::memory_bytes(),
            metrics,
            metrics_error,
        }
    }
}
