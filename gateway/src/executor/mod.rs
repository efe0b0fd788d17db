//! Runs shards: one pinned glommio executor each, with a ring of its own for the sockets.
//!
//! glommio gives the thread, its pinning and the parking; the ring moves the bytes. The pump is the
//! one task of its executor: inbox, completions, what is due, submit; and when nothing is left,
//! park on the ring's eventfd until a completion, a deadline or the control plane wakes it.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use engine::shard::{Application, SLOTS_RESERVED, Shard, inbox::Inbox, shared::Shared};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use net::{
    Events, Waker,
    tls::{self, Tls},
    uring::{Parker, Ring, SetupError},
};
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
/// Practically never. When glommio 0.9's preemption timer fires between its look at the rings and its
/// look at the task queues, it parks with a task still runnable (`run_task_queues` gives `false`
/// though it ran nothing), and the shard sleeps for ever. The pump is its executor's only task and
/// keeps its own slices, so it needs no preemption.
const PREEMPT_TIMER: Duration = Duration::from_secs(86_400);
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
            .preempt_timer(PREEMPT_TIMER)
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
                        let parker = Parker::new(&ring);
                        Ok((ring, parker))
                    });
                let (ring, parker) = match set_up {
                    Ok(set_up) => set_up,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                let mut clock = Clock::new(epoch);
                let now = clock.now();
                let shard =
                    Shard::new(&config.settings(), application, index, slots, shared, inbox.clone(), now);
                drop(ready.send(Ok(())));
                let limits = tls::Limits {
                    handshakes_per_turn: config.limits.handshakes_per_turn,
                    sealed_bytes: config.limits.sealed_bytes,
                };
                let listener = server.as_ref().map(|server| (TLS_LISTENER, server.borrow().clone()));
                let net = Tls::new(ring, listener, limits);
                pump(shard, net, server, parker, inbox, clock).await;
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

async fn pump(
    mut shard: Shard,
    mut net: Tls<Ring>,
    mut server: Option<Current>,
    parker: Parker,
    inbox: Arc<Inbox>,
    mut clock: Clock,
) {
    let mut parked_us = None;
    loop {
        let mut now = clock.now();
        if let Some(since_us) = parked_us.take() {
            shard.note_rest(now.mono_us - since_us);
        }
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
        now = clock.now();
        let more = shard.run(&mut net, now) || net.waits() || left;
        // A shard without its ring serves nobody: the process ends (see `main`) and is started again.
        net.inner().submit().unwrap_or_else(|error| panic!("the ring failed: {error}"));
        if shard.finished() {
            return;
        }
        if events == 0 && !more {
            let after = shard.next_us().map(|at| Duration::from_micros(at.saturating_sub(now.mono_us)));
            net.inner().wake_at(after);
            parked_us = Some(clock.now().mono_us);
            let parked = parker.park(net.inner(), || inbox.is_empty()).await;
            parked.unwrap_or_else(|error| panic!("the ring failed: {error}"));
        } else {
            glommio::yield_if_needed().await;
        }
    }
}
