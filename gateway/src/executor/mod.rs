//! Runs shards: one pinned thread each, with sockets of its own.
//!
//! With io_uring the thread has an executor of glommio, and the shard's own ring moves the bytes: the pump is the one
//! task of that executor. With epoll there is none, as glommio itself needs io_uring. The pump is the same, and sleeps
//! in the call that asks the kernel what happened, until something does, a moment comes or the control plane calls.

mod listeners;
mod pump;
mod threads;

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Instant,
};

use engine::shard::{Application, Shard, inbox::Inbox, shared::Shared};
use net::{Backend, Backlog, Io, SetupError, Waker, patiently, proxy::Proxied, tls::Tls};
use thiserror::Error;
use tokio::sync::watch;

use crate::{clock::Clock, config::Config, sockets::Sockets, tls::server::Server};
use listeners::listen_all;
use pump::{pump, tls_limits};
use threads::{executor, spawn};

#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {addr}: {error}; choose another [server] data, or end what listens there")]
    Listen { addr: SocketAddr, error: std::io::Error },
    #[error("shard {index} on CPU {cpu}: {error}")]
    Executor { index: usize, cpu: usize, error: String },
    #[error("shard {index}: {error}")]
    Sockets { index: usize, error: SetupError },
    #[error("shard {index}: {error}")]
    Io { index: usize, error: std::io::Error },
    #[error("shard {index} ended before it could listen")]
    Died { index: usize },
}

/// Running shards.
pub struct Shards {
    /// Where they all listen; `None`: only with TLS.
    pub data: Option<SocketAddr>,
    /// And with TLS.
    pub tls: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Shards {
    /// Waits until every shard has ended. `false`: one of them panicked.
    pub fn join(self) -> bool {
        let ended: Vec<bool> = self.threads.into_iter().map(|thread| thread.join().is_ok()).collect();
        ended.into_iter().all(|well| well)
    }
}

/// Starts a shard for every inbox and the waker that it was made with, and returns when all of them
/// listen. `tls`: how the listener of `[server] tls` speaks.
pub fn start(
    current: &watch::Receiver<Arc<Config>>,
    application: Application,
    shared: &Arc<Shared>,
    inboxes: Vec<(Arc<Inbox>, Waker)>,
    sockets: Sockets,
    epoch: Instant,
    tls: Option<&Server>,
) -> Result<Shards, StartError> {
    let config = current.borrow().clone();
    let listen = |addr: Option<SocketAddr>| {
        let Some(addr) = addr else { return Ok((None, Vec::new().into_iter())) };
        let (addr, all) =
            listen_all(addr, inboxes.len()).map_err(|error| StartError::Listen { addr, error })?;
        Ok((Some(addr), all.into_iter()))
    };
    let [data, with_tls] = config.server.listeners();
    let (data, mut plain) = listen(data)?;
    let (tls_addr, mut encrypted) = listen(with_tls)?;
    // Its place among the listeners of a shard.
    let encrypted_at = u8::from(data.is_some());
    let (ready, started) = mpsc::channel();
    let mut threads = Vec::new();
    for (index, (inbox, waker)) in inboxes.into_iter().enumerate() {
        let cpu = config.server.cpus[index % config.server.cpus.len()];
        let (config, current) = (config.clone(), current.clone());
        let (shared, ready) = (shared.clone(), ready.clone());
        let (server, listeners) = (tls.map(Server::current), [plain.next(), encrypted.next()]);
        let run = move || {
            let set_up = patiently(|| Backend::new(sockets.io, &sockets.options(), waker.clone()))
                .map_err(|error| StartError::Sockets { index, error })
                .and_then(|mut backend| {
                    for listener in listeners.into_iter().flatten() {
                        backend.listen(listener).map_err(|error| StartError::Io { index, error })?;
                    }
                    Ok(backend)
                });
            let backend = match set_up {
                Ok(backend) => backend,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let mut clock = Clock::new(epoch);
            let now = clock.now();
            let shard = Shard::new(&config.settings(), application, index, sockets.slots, shared, inbox, now);
            drop(ready.send(Ok(())));
            let limits = tls_limits(&config.limits);
            let proxied = Proxied::new(Backlog::new(backend), config.proxy_rule());
            let listener = server.as_ref().map(|server| (encrypted_at, server.borrow().clone()));
            pump(shard, Tls::new(proxied, listener, limits), current, server, clock);
        };
        let thread = spawn(sockets.io, &format!("shard{index}"), cpu, run)
            .map_err(|error| StartError::Executor { index, cpu, error })?;
        threads.push(thread);
    }
    drop(ready);
    for index in 0..threads.len() {
        started.recv().unwrap_or(Err(StartError::Died { index }))?;
    }
    Ok(Shards { data, tls: tls_addr, threads })
}

/// Whether what shards with io_uring need can be had for all of them at once, and why not.
pub fn try_rings(shards: usize, sockets: Sockets) -> Result<(), String> {
    let options = sockets.options();
    let one = |_| {
        let waker = Waker::new().map_err(|error| format!("no eventfd: {error}"))?;
        let made =
            executor().and_then(|executor| Ok((executor, Backend::new(Io::IoUring, &options, waker)?)));
        made.map_err(|error| error.to_string())
    };
    (0..shards).map(one).collect::<Result<Vec<_>, _>>().map(drop)
}
