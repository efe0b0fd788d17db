//! Runs shards: one pinned glommio executor each, with a ring of its own for the sockets.
//!
//! glommio gives the thread and its pinning; the ring moves the bytes. The pump is the one task of its
//! executor: inbox, completions, what is due, submit; and when nothing is left, it sleeps in the ring
//! itself, by the system call that submits, until a completion, a deadline or the control plane ends it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use engine::shard::{Application, SLOTS_RESERVED, Shard, Sleep, inbox::Inbox, shared::Shared};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use net::{
    Events, Waker,
    tls::{self, Tls},
    uring::{Ring, SetupError},
};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::{
    clock::Clock,
    config::Config,
    tls::server::{Current, Server},
};

/// Events handled before deadlines and fan-out have their turn again.
const EVENTS_PER_TURN: usize = 1024;
/// Requests and client messages are mostly far smaller; longer ones come in pieces.
const RECV_BUFFER_BYTES: u32 = 2048;
const BACKLOG: i32 = 4096;
/// Not yet sent bytes that may lie in the kernel, where nothing can be conflated any more.
const NOTSENT_LOWAT_BYTES: u32 = 16 << 10;
/// Its place among the listeners of a ring.
const TLS_LISTENER: u8 = 1;

#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {addr}: {error}; choose another [server] data, or end what listens there")]
    Listen { addr: SocketAddr, error: std::io::Error },
    #[error("shard {index} on CPU {cpu}: {error}")]
    Executor { index: usize, cpu: usize, error: String },
    #[error("shard {index}: {error}")]
    Ring { index: usize, error: SetupError },
    #[error("shard {index}: {error}")]
    Io { index: usize, error: std::io::Error },
    #[error("shard {index} ended before it could listen")]
    Died { index: usize },
}

/// Running shards.
pub struct Shards {
    /// Where they all listen.
    pub addr: SocketAddr,
    /// And with TLS.
    pub tls: Option<SocketAddr>,
    handles: Vec<ExecutorJoinHandle<()>>,
}

impl Shards {
    /// Waits until every shard has ended. `false`: one of them panicked.
    pub fn join(self) -> bool {
        let ended: Vec<bool> = self.handles.into_iter().map(|handle| handle.join().is_ok()).collect();
        ended.into_iter().all(|well| well)
    }
}

/// Slots of each shard's table: room for every connection on one shard, as far as `nofile` allows.
pub fn slots(connections_max: usize, nofile: usize) -> usize {
    (connections_max + SLOTS_RESERVED).min(nofile)
}

/// Starts a shard for every inbox and the waker that it was made with, and returns when all of them
/// listen. `tls`: how the listener of `[server] tls` speaks.
pub fn start(
    config: &Arc<Config>,
    application: Application,
    shared: &Arc<Shared>,
    inboxes: Vec<(Arc<Inbox>, Waker)>,
    slots: usize,
    epoch: Instant,
    tls: Option<&Server>,
) -> Result<Shards, StartError> {
    let (addr, listeners) = listen_all(config.server.data, inboxes.len())?;
    let (tls_addr, mut tls_listeners) = match &config.server.tls {
        Some(tls) => {
            listen_all(tls.address, inboxes.len()).map(|(addr, all)| (Some(addr), all.into_iter()))?
        }
        None => (None, Vec::new().into_iter()),
    };
    let (ready, started) = mpsc::channel();
    let mut handles = Vec::new();
    for (index, (listener, (inbox, waker))) in listeners.into_iter().zip(inboxes).enumerate() {
        let cpu = config.server.cpus[index % config.server.cpus.len()];
        let (config, shared, ready) = (config.clone(), shared.clone(), ready.clone());
        let (server, tls_listener) = (tls.map(Server::current), tls_listeners.next());
        let handle = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&format!("shard{index}"))
            .io_memory(0)
            .ring_depth(128)
            .spawn(move || async move {
                let options = net::uring::Options {
                    slots: slots as u32,
                    recv_buffer_bytes: RECV_BUFFER_BYTES,
                    // What is held for a busy client stays within its bound.
                    recv_single: true,
                    ..net::uring::Options::default()
                };
                let set_up = Ring::new(&options, waker)
                    .map_err(|error| StartError::Ring { index, error })
                    .and_then(|mut ring| {
                        for listener in [Some(listener), tls_listener].into_iter().flatten() {
                            ring.listen(listener).map_err(|error| StartError::Io { index, error })?;
                        }
                        Ok(ring)
                    });
                let ring = match set_up {
                    Ok(ring) => ring,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let mut clock = Clock::new(epoch);
                let now = clock.now();
                let shard = Shard::new(&config.settings(), application, index, slots, shared, inbox, now);
                drop(ready.send(Ok(())));
                let limits = tls::Limits {
                    handshakes_per_turn: config.limits.handshakes_per_turn,
                    sealed_bytes: config.limits.sealed_bytes,
                };
                let listener = server.as_ref().map(|server| (TLS_LISTENER, server.borrow().clone()));
                let net = Tls::new(ring, listener, limits);
                pump(shard, net, server, clock);
            })
            .map_err(|error| StartError::Executor { index, cpu, error: error.to_string() })?;
        handles.push(handle);
    }
    drop(ready);
    for index in 0..handles.len() {
        started.recv().unwrap_or(Err(StartError::Died { index }))?;
    }
    Ok(Shards { addr, tls: tls_addr, handles })
}

/// A listener for each shard, and their address.
fn listen_all(mut addr: SocketAddr, shards: usize) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    check_free(addr).map_err(|error| StartError::Listen { addr, error })?;
    let mut listeners = Vec::new();
    for _ in 0..shards {
        let listener = listen(addr).map_err(|error| StartError::Listen { addr, error })?;
        // Port 0 is resolved by the first and shared by all.
        addr = listener.local_addr().map_err(|error| StartError::Listen { addr, error })?;
        listeners.push(listener);
    }
    Ok((addr, listeners))
}

/// Shards share their port, so another gateway of the same user could join them unnoticed and take
/// half of the clients.
fn check_free(addr: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Inherited by accepted sockets, so that no call per connection is needed.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn pump(mut shard: Shard, mut net: Tls<Ring>, mut server: Option<Current>, mut clock: Clock) {
    loop {
        let now = clock.now();
        shard.note_ring(net.inner().counters(), net.counters());
        let left = shard.take_inbox(now);
        if let Some(server) = &mut server
            && server.has_changed().unwrap_or(false)
        {
            net.set_server(server.borrow_and_update().clone());
        }
        net.begin_turn();
        let mut events = 0;
        while events < EVENTS_PER_TURN
            && let Some(event) = net.next()
        {
            shard.on_event(event, &mut net, now);
            events += 1;
        }
        let now = clock.now();
        let more = shard.run(&mut net, now) || net.waits() || left || events == EVENTS_PER_TURN;
        let went_on = if more || shard.finished() {
            net.inner().submit()
        } else {
            sleep(&mut shard, &mut net, &mut clock)
        };
        // A shard without its ring serves nobody: the process ends (see `main`) and is started again.
        went_on.unwrap_or_else(|error| panic!("the ring failed: {error}"));
        if shard.finished() {
            return;
        }
    }
}

/// Submits, and sleeps as long as the shard may.
fn sleep(shard: &mut Shard, net: &mut Tls<Ring>, clock: &mut Clock) -> io::Result<()> {
    let (now, worked_us) = (clock.now(), cpu_us());
    let Sleep { until_us, updates_wait } = shard.sleep(now);
    let timeout = until_us.map(|at_us| Duration::from_micros(at_us.saturating_sub(now.mono_us)));
    let slept = net.inner().rest(timeout, updates_wait);
    // Most of what is submitted is done within the call.
    let worked_us = cpu_us() - worked_us;
    shard.note_rest((clock.now().mono_us - now.mono_us).saturating_sub(worked_us));
    slept
}

/// CPU time of this thread.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
