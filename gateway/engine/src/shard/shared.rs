//! What all threads of the process share: touched at an accept and a close, where a frame is built or dropped, and
//! where a client's compression context grows; read once a turn; never touched where a frame is handed to a client.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{
    witness::{Seen, Witness},
    writes::Writes,
};
use crate::{
    access::tokens::Tokens,
    address::Address,
    client::{Refused, dictionaries::Dictionaries, handshakes::Handshakes},
    clock::Now,
    minutely::Minutely,
    settings::{Compression, Reloaded, Settings},
    striped::Striped,
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
    connections_per_ip: AtomicUsize,
    pub dictionaries: Dictionaries,
    pub handshakes: Handshakes,
    /// Of requests that are refused for their host, and for their origin: the log names some.
    pub hosts_told: Minutely,
    pub origins_told: Minutely,
    /// Of a gateway that has keys; else it knows none.
    pub tokens: Tokens,
    /// Bytes of all frames that are alive, over all shards.
    pub pinned: Arc<AtomicUsize>,
    /// Who connects and who is refused is told to.
    pub witness: Option<Arc<dyn Witness>>,
    /// What clients write is handed to; `None`: nobody writes here.
    pub writes: Option<Arc<dyn Writes>>,
    draining: AtomicBool,
    warming: AtomicBool,
    overloaded: AtomicBool,
    upstream_away: AtomicBool,
    silent: AtomicBool,
    connections: AtomicUsize,
    per_ip: Striped<HashMap<Address, usize>>,
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
            connections_per_ip: AtomicUsize::new(settings.limits.connections_per_ip),
            dictionaries: {
                let Compression { dictionaries, dictionaries_per_ip, .. } = settings.compression;
                Dictionaries::new(*dictionaries, *dictionaries_per_ip)
            },
            handshakes: Handshakes::new(settings.limits),
            hosts_told: Minutely::default(),
            origins_told: Minutely::default(),
            tokens: Tokens::default(),
            pinned: Arc::default(),
            witness: None,
            writes: None,
            draining: AtomicBool::new(false),
            warming: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            upstream_away: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            per_ip: Striped::default(),
        }
    }

    /// Takes over what may change while it runs.
    pub fn reload(&self, settings: &Reloaded) {
        self.handshakes.set_limits(&settings.limits);
        self.connections_per_ip.store(settings.limits.connections_per_ip, Ordering::Relaxed);
        let Compression { dictionaries, dictionaries_per_ip, .. } = settings.compression;
        self.dictionaries.set_max(dictionaries, dictionaries_per_ip);
        self.tokens.set_max(settings.limits.token_checks, settings.limits.revocations);
    }

    /// Counts a connection in, exactly, over all shards. Without an `address` it is not known yet whose it is. `true`: its
    /// address counts it too.
    pub fn admit(&self, address: Option<Address>) -> Result<bool, Refused> {
        let room = |n: usize| (n < self.connections_max).then_some(n + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| Refused::Full)?;
        let Some(address) = address else { return Ok(false) };
        self.admit_for(address).inspect_err(|_| {
            self.connections.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Counts a connection that was counted in among those of its address; `false`: there is no limit.
    pub fn admit_for(&self, address: Address) -> Result<bool, Refused> {
        let max = self.connections_per_ip.load(Ordering::Relaxed);
        if max > 0 {
            let mut per_ip = self.per_ip.of(address);
            let count = per_ip.entry(address).or_default();
            if *count >= max {
                return Err(Refused::Address);
            }
            *count += 1;
        }
        Ok(max > 0)
    }

    /// Has an address count a connection that was admitted while there was no limit; `false`: there is none.
    pub fn count(&self, address: Address) -> bool {
        if self.connections_per_ip.load(Ordering::Relaxed) == 0 {
            return false;
        }
        *self.per_ip.of(address).entry(address).or_default() += 1;
        true
    }

    /// Counts a connection out; `address`: the one that counts it.
    pub fn release(&self, address: Option<Address>) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = address {
            let mut per_ip = self.per_ip.of(address);
            let count = per_ip.get_mut(&address).expect("an admitted connection is counted");
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&address);
            }
        }
    }

    /// To be told where there is somebody to tell.
    pub(super) fn tell(&self, address: Address, seen: Seen, now: Now) {
        if let Some(witness) = &self.witness {
            witness.saw(address, seen, now);
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
