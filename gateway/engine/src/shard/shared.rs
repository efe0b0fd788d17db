//! What all threads of the process share: touched at an accept and a close, where a frame is built or dropped, and
//! where a client's compression context grows; read once a turn; never touched where a frame is handed to a client.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{
    address::Address,
    client::{Refused, dictionaries::Dictionaries},
    settings::{Compression, Settings},
    topic::epoch::Epoch,
};

/// Of `/readyz`, where new clients are refused.
pub const OVERLOADED: &str = "behind: the gateway is overloaded and takes no new clients";

#[derive(Debug)]
pub struct Shared {
    /// New at every start; a chained gateway takes over its upstream's later.
    pub epoch: Epoch,
    /// Where the page lives, for the redirect from the data listener.
    pub admin: Option<SocketAddr>,
    /// And whether it speaks TLS.
    pub admin_tls: bool,
    pub connections_max: usize,
    /// 0: no limit.
    pub connections_per_ip: usize,
    pub dictionaries: Dictionaries,
    /// Bytes of all frames that are alive, over all shards.
    pub pinned: Arc<AtomicUsize>,
    draining: AtomicBool,
    warming: AtomicBool,
    overloaded: AtomicBool,
    upstream_away: AtomicBool,
    silent: AtomicBool,
    connections: AtomicUsize,
    per_ip: Mutex<HashMap<Address, usize>>,
}

impl Shared {
    pub fn new(
        epoch: Epoch,
        admin: Option<SocketAddr>,
        connections_max: usize,
        settings: &Settings<'_>,
    ) -> Self {
        Self {
            epoch,
            admin,
            admin_tls: settings.admin_tls,
            connections_max,
            connections_per_ip: settings.limits.connections_per_ip,
            dictionaries: {
                let Compression { dictionaries, dictionaries_per_ip, .. } = settings.compression;
                Dictionaries::new(*dictionaries, *dictionaries_per_ip)
            },
            pinned: Arc::default(),
            draining: AtomicBool::new(false),
            warming: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            upstream_away: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            per_ip: Mutex::default(),
        }
    }

    /// Counts a connection in, exactly, over all shards.
    pub fn admit(&self, address: Address) -> Result<(), Refused> {
        let room = |n: usize| (n < self.connections_max).then_some(n + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Refused::Full)?;
        if self.connections_per_ip > 0 {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = per_ip.entry(address).or_default();
            if *count >= self.connections_per_ip {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                return Err(Refused::Address);
            }
            *count += 1;
        }
        Ok(())
    }

    /// Counts an admitted connection out.
    pub fn release(&self, address: Address) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if self.connections_per_ip > 0 {
            let mut per_ip = self.per_ip.lock().unwrap_or_else(PoisonError::into_inner);
            let count = per_ip.get_mut(&address).expect("an admitted connection is counted");
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&address);
            }
        }
    }

    /// Admitted connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether sources are waited for that have brought nothing yet.
    pub fn warming(&self) -> bool {
        self.warming.load(Ordering::Relaxed)
    }

    pub fn set_warming(&self, warming: bool) {
        self.warming.store(warming, Ordering::Relaxed);
    }

    /// Why clients are better off with another gateway, though this one works: it does not keep up.
    pub fn behind(&self) -> Option<&'static str> {
        if self.overloaded.load(Ordering::Relaxed) {
            return Some(OVERLOADED);
        }
        self.upstream_away
            .load(Ordering::Relaxed)
            .then_some("behind: the gateway that this one is chained to is away")
    }

    /// Whether a shard takes no new clients.
    pub fn set_overloaded(&self, overloaded: bool) {
        self.overloaded.store(overloaded, Ordering::Relaxed);
    }

    /// Whether the gateway that numbers all updates brings none.
    pub fn set_upstream_away(&self, away: bool) {
        self.upstream_away.store(away, Ordering::Relaxed);
    }

    /// Whether a shard does not answer the control plane.
    pub fn silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}
