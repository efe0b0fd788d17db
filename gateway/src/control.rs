//! The control plane: takes updates in, numbers them, answers HTTP, and ends the process in good
//! order. One tokio thread.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engine::{
    sequencer::DUE_EARLY,
    shard::{
        inbox::{Inbox, Message},
        shared::Shared,
    },
};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    audit::Audit,
    config::{Config, Origin},
    health::Health,
    http::{
        admin::{Admin, Rules},
        listener::Listener,
        page::Page,
    },
    intake::{clocked::ClockedSequencer, publisher::Publisher, told::tell},
    logs,
    metrics::{
        growth::{Doublings, bytes_per_client},
        process::Process,
        watched::Watched,
    },
    reload::ASKS_MAX,
    reloader::{self, Reloader},
    source::{
        self,
        running::{Runner, SourceCounters},
    },
    state, supervisor,
    system::{Choice, Machine},
    tls,
};

/// How often a drain looks whether anybody is left, and how long beyond its deadline shards may take to reset.
const DRAIN_LOOK: Duration = Duration::from_millis(5);
const RESET: Duration = Duration::from_secs(2);
/// How often the log says which lines were left out, and how many clients there are.
const LEFT_OUT_LOOK: Duration = Duration::from_secs(1);
/// Blocking threads: host samples and workers need one each.
const BLOCKING_THREADS: usize = 5;

/// Why the gateway ended other than by a clean drain.
#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "cannot listen on the admin address {address}: {error}; choose another [server] admin, or \"\" for none"
    )]
    Admin { address: SocketAddr, error: io::Error },
    #[error("cannot start the control plane: {0}")]
    Start(io::Error),
    #[error("cannot announce the listeners on stdout: {0}")]
    Announce(io::Error),
    #[error("the last state is not saved: {0}")]
    State(#[from] state::NotWritten),
    #[error("a shard ended by itself")]
    ShardEnded,
    #[error("a shard did not end within {RESET:?}")]
    ShardStuck,
    #[error("ended at once by a second signal, with {connections} clients left")]
    Interrupted { connections: usize },
}

/// What the control plane works on, once every shard listens.
#[derive(Debug)]
pub struct Parts {
    /// The configuration that holds.
    pub current: watch::Sender<Arc<Config>>,
    pub origin: Origin,
    pub machine: Machine,
    /// What moves the shards' bytes.
    pub io: Choice,
    pub sequencer: Arc<ClockedSequencer>,
    pub shared: Arc<Shared>,
    pub audit: Arc<Audit>,
    pub state: Arc<state::StateCounters>,
    /// Topics of an earlier run, stale until an update comes.
    pub unconfirmed: Vec<Arc<str>>,
    /// From [`bind_admin`].
    pub admin: Option<TcpListener>,
    /// Where subscribers connect; `None`: only with TLS.
    pub data: Option<SocketAddr>,
    /// The same with TLS, and what it shows.
    pub tls: Option<SocketAddr>,
    pub tls_server: Option<tls::server::Server>,
    /// Told when all shards have ended: `false` where one panicked.
    pub ended: oneshot::Receiver<bool>,
}

/// Binds the admin listener, so that its port is known before shards redirect to it.
pub fn bind_admin(config: &Config) -> Result<Option<TcpListener>, Error> {
    let Some(address) = config.server.admin else { return Ok(None) };
    TcpListener::bind(address).map(Some).map_err(|error| Error::Admin { address, error })
}

/// Whether only this machine reaches the listener.
fn is_loopback(listener: Option<&TcpListener>) -> bool {
    let address = listener.and_then(|listener| listener.local_addr().ok());
    address.is_some_and(|address| address.ip().to_canonical().is_loopback())
}

/// Runs until a signal has drained the gateway and every shard has ended.
pub fn run(parts: Parts) -> Result<(), Error> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime =
        runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build().map_err(Error::Start)?;
    let outcome = runtime.block_on(serve(parts));
    // A reader may hang in a file system call; it ends with the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(parts: Parts) -> Result<(), Error> {
    let Parts { current, origin, machine, io, sequencer, shared, state, unconfirmed, .. } = parts;
    let Parts { data, tls, tls_server, admin, audit, mut ended, .. } = parts;
    let held = current.subscribe();
    let config = held.borrow().clone();
    // Before the first line: who reads it may send a signal at once.
    let mut signals = Signals::new().map_err(Error::Start)?;
    let hang_up = signal(SignalKind::hangup()).map_err(Error::Start)?;
    let counters = SourceCounters::new(&config.sources, &config.freshness);
    let limits = &config.limits;
    let publisher = Publisher::new(sequencer.clone());
    let health = Health::new(sequencer.inboxes(), limits.statuses, limits.status_bytes);
    health.restored(&unconfirmed, sequencer.now().wall_us);
    let before_bytes = Process::read().map(|process| process.resident_bytes);
    let watched = Watched {
        publisher: publisher.clone(),
        shared: shared.clone(),
        sources: counters.clone(),
        health: health.clone(),
        state: state.clone(),
        tls: tls_server.as_ref().map(tls::server::Server::counters),
        reloads: Arc::default(),
        audit: audit.clone(),
        io: io.into(),
        before_bytes,
    };
    let admin_tls = tls_server.as_ref().filter(|_| config.server.admin_tls).map(tls::server::Server::current);
    // A page that came encrypted may open no other connections.
    let page = match (data.filter(|_| admin_tls.is_none()), tls) {
        (Some(data), _) => Page::new("ws", data),
        (None, tls) => Page::new("wss", tls.expect("there is a listener for subscribers")),
    };
    watched.reloads.hold(&reloader::digest(&config, &machine), sequencer.now().wall_us);
    let is_loopback = is_loopback(admin.as_ref());
    let (ask, asks) = mpsc::channel(ASKS_MAX);
    let routes = Admin::new(watched, page, Rules::of(&config, is_loopback), ask);
    routes.listening.store(true, Ordering::Relaxed);
    let admin =
        admin.map(|bound| Listener::new(bound, limits, admin_tls)).transpose().map_err(Error::Start)?;
    let admin_address =
        admin.as_ref().map(|listener| listener.local_addr()).transpose().map_err(Error::Start)?;
    let server = async {
        match admin {
            Some(listener) => tokio::select! {
                never = listener.serve(routes.clone()) => never,
                never = routes.scraper.keep_recent() => never,
            },
            None => std::future::pending().await,
        }
    };
    let [data, admin] = [data, admin_address].map(shown);
    let tls = tls.map_or(String::new(), |address| format!(" tls={address}"));
    let warming = source::watch::warming(&counters, sequencer.now());
    shared.set_warming(!warming.is_empty());
    announce(&format!("listening data={data} admin={admin}{tls}")).map_err(Error::Announce)?;
    supervisor::ready();
    let watched = supervisor::keep_watched(async || routes.scraper.recent().await.silent());
    let sources = Runner { counters: counters.clone(), publisher: publisher.clone(), health: health.clone() };
    sources.start_all(limits);
    let checkpoints = state::keep(|| held.borrow().state.clone(), &sequencer, &state);
    let reloader = Reloader {
        origin,
        machine,
        current,
        certificates: tls_server,
        admin: routes.clone(),
        is_loopback,
        sequencer: sequencer.clone(),
        shared: shared.clone(),
        sources,
    };
    let reloads = reloader.serve(hang_up, asks);
    let watch = source::watch::watch(&health, &sequencer, &counters, &shared);
    let deadlines = async {
        let mut current = held.clone();
        loop {
            if current.borrow_and_update().topics.have_deadlines() {
                tokio::time::sleep(DUE_EARLY).await;
                sequencer.publish_due();
            } else if current.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let repeats = async {
        let mut doublings = Doublings::default();
        loop {
            tokio::time::sleep(LEFT_OUT_LOOK).await;
            logs::tell_left_out();
            let clients = shared.connections();
            if doublings.reached(clients) {
                tell_growth(clients, before_bytes);
            }
        }
    };
    let lifetime = async {
        tokio::select! {
            () = signals.next() => {}
            _ = &mut ended => return Err(Error::ShardEnded),
        }
        supervisor::stopping();
        let within = held.borrow().server.drain;
        tracing::info!(clients = shared.connections(), drain = ?within, "draining");
        tokio::select! {
            () = drain(&shared, sequencer.inboxes(), within) => {}
            () = signals.next() => return Err(Error::Interrupted { connections: shared.connections() }),
        }
        let saved = state::end(&held.borrow().state, &sequencer, &state);
        stop(sequencer.inboxes(), ended).await?;
        Ok(saved?)
    };
    let outcome = tokio::select! {
        never = server => match never {},
        never = deadlines => match never {},
        never = watch => match never {},
        never = checkpoints => match never {},
        never = reloads => match never {},
        never = repeats => match never {},
        never = watched => match never {},
        outcome = lifetime => outcome,
    };
    audit.end();
    outcome
}

/// What clients have come to, at a doubling of their number.
fn tell_growth(clients: usize, before_bytes: Option<u64>) {
    let Some(Process { resident_bytes, .. }) = Process::read() else { return };
    let bytes_per_client = before_bytes.and_then(|before| bytes_per_client(resident_bytes, before, clients));
    tracing::info!(clients, resident_bytes, bytes_per_client, "twice as many clients");
}

/// A listener in the first line.
fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".to_owned(), |address| address.to_string())
}

fn announce(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Returns when nobody is left, or a little after the deadline, when all have been reset.
async fn drain(shared: &Shared, inboxes: &[Arc<Inbox>], within: Duration) {
    shared.start_draining();
    tell(inboxes, || Message::Drain { drain_us: within.as_micros() as u64 }).await;
    let deadline = Instant::now() + within + RESET;
    while shared.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

async fn stop(inboxes: &[Arc<Inbox>], ended: oneshot::Receiver<bool>) -> Result<(), Error> {
    let stopped = async {
        tell(inboxes, || Message::Stop).await;
        ended.await
    };
    match tokio::time::timeout(RESET, stopped).await {
        Ok(Ok(true)) => Ok(()),
        Ok(_) => Err(Error::ShardEnded),
        Err(_) => Err(Error::ShardStuck),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
