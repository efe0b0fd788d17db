//! The control plane: takes updates in, numbers them, answers HTTP, and ends the process in good
//! order. One tokio thread.

use std::{
    convert::Infallible,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engine::{
    sequencer::DUE_EARLY,
    sequencer::once::Bounds,
    shard::{
        inbox::{Inbox, Message},
        shared::Shared,
    },
};
use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    access::{self, keys::Keys},
    audit::Audit,
    config::{Config, Origin},
    health::Health,
    http::{
        admin::{Admin, Rules},
        listener::Listener,
        page::Page,
    },
    intake::{clocked::ClockedSequencer, publisher::Publisher, told::tell, writers},
    logs,
    metrics::{
        Scrape,
        growth::{Baseline, Doublings},
        held_now,
        watched::Watched,
    },
    reload::ASKS_MAX,
    reloader::{self, Reloader},
    source::{
        self,
        running::{Runner, SourceCounters},
    },
    state,
    state::revocations::RevocationFile,
    supervisor,
    system::{Choice, Machine, stand_back},
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
    /// For tokens.
    pub keys: Arc<Keys>,
    pub revocation_file: Arc<RevocationFile>,
    /// What clients write.
    pub writes: writers::Queue,
    /// Told when all shards have ended: `false` where one panicked.
    pub ended: oneshot::Receiver<bool>,
}

impl Parts {
    /// What is watched of them, and of what is made for them.
    fn watched(
        &self,
        publisher: &Arc<Publisher>,
        sources: &Arc<SourceCounters>,
        health: &Arc<Health>,
        baseline: &Arc<Baseline>,
    ) -> Watched {
        Watched {
            publisher: publisher.clone(),
            shared: self.shared.clone(),
            sources: sources.clone(),
            health: health.clone(),
            state: self.state.clone(),
            tls: self.tls_server.as_ref().map(tls::server::Server::counters),
            reloads: Arc::default(),
            audit: self.audit.clone(),
            keys: self.keys.clone(),
            revocation_file: self.revocation_file.clone(),
            io: Arc::new(self.io.clone()),
            baseline: baseline.clone(),
        }
    }
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
    // Of these there are only blocking ones: the runtime itself is on this thread.
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).on_thread_start(stand_back);
    let runtime = runtime.build().map_err(Error::Start)?;
    let outcome = runtime.block_on(serve(parts));
    // A reader may hang in a file system call; it ends with the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(parts: Parts) -> Result<(), Error> {
    let held = parts.current.subscribe();
    let config = held.borrow().clone();
    // Before the first line: who reads it may send a signal at once.
    let mut signals = Signals::new().map_err(Error::Start)?;
    let hang_up = signal(SignalKind::hangup()).map_err(Error::Start)?;
    let counters = SourceCounters::new(&config.sources, &config.freshness);
    let limits = &config.limits;
    let publisher = Publisher::new(parts.sequencer.clone());
    let health = Health::new(parts.sequencer.inboxes(), limits.statuses, limits.status_bytes);
    health.restored(&parts.unconfirmed, parts.sequencer.now().wall_us);
    let baseline = Arc::<Baseline>::default();
    let watched = parts.watched(&publisher, &counters, &health, &baseline);
    let Parts { current, origin, machine, sequencer, shared, state, .. } = parts;
    let Parts { data, tls, tls_server, admin, audit, keys, writes, mut ended, .. } = parts;
    let admin_tls = tls_server.as_ref().filter(|_| config.server.admin_tls).map(tls::server::Server::current);
    let page = page(data, tls, admin_tls.is_some());
    watched.reloads.hold(&reloader::digest(&config, &machine), sequencer.now().wall_us);
    let is_loopback = is_loopback(admin.as_ref());
    let (ask, asks) = mpsc::channel(ASKS_MAX);
    let routes = Admin::new(watched, page, Rules::of(&config, &machine, is_loopback), ask);
    routes.listening.store(true, Ordering::Relaxed);
    let admin =
        admin.map(|bound| Listener::new(bound, limits, admin_tls)).transpose().map_err(Error::Start)?;
    let admin_address =
        admin.as_ref().map(|listener| listener.local_addr()).transpose().map_err(Error::Start)?;
    shared.set_warming(!source::watch::warming(&counters, sequencer.now()).is_empty());
    announce(data, admin_address, tls).map_err(Error::Announce)?;
    supervisor::ready();
    let watched = supervisor::keep_watched(async || routes.scraper.recent().await.silent());
    let sources = Runner { counters: counters.clone(), publisher: publisher.clone(), health: health.clone() };
    sources.start_all(limits);
    tokio::spawn(writers::run(writes, sequencer.clone(), write_rules(held.clone())));
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
    let published = access::refresh::keep(&keys);
    let watch = source::watch::watch(&health, &sequencer, &counters, &shared);
    let lifetime = async {
        tokio::select! {
            () = signals.next() => {}
            () = routes.drained.notified() => {}
            _ = &mut ended => return Err(Error::ShardEnded),
        }
        supervisor::stopping();
        end(&mut signals, ended, &held, &shared, &sequencer, &state).await
    };
    let outcome = tokio::select! {
        never = answer(admin, &routes) => match never {},
        never = keep_asked(&shared, &routes) => match never {},
        never = publish_due(held.clone(), &sequencer) => match never {},
        never = watch => match never {},
        never = checkpoints => match never {},
        never = reloads => match never {},
        never = published => match never {},
        never = tell_now_and_then(&shared, &sequencer, &routes, &baseline) => match never {},
        never = watched => match never {},
        outcome = lifetime => outcome,
    };
    audit.end();
    outcome
}

/// What holds for what clients write, whenever it is asked.
fn write_rules(held: watch::Receiver<Arc<Config>>) -> impl Fn() -> writers::Rules {
    move || {
        let config = held.borrow();
        let (limits, checks) = (&config.limits, config.checks.clone());
        let (writes_max, bytes_max) = (limits.writes, limits.write_bytes);
        writers::Rules { writes_max, bytes_max, once: Bounds::of(limits), checks }
    }
}

/// Drains, saves the last state and ends the shards; a second signal ends the process at once.
async fn end(
    signals: &mut Signals,
    ended: oneshot::Receiver<bool>,
    held: &watch::Receiver<Arc<Config>>,
    shared: &Shared,
    sequencer: &ClockedSequencer,
    state: &Arc<state::StateCounters>,
) -> Result<(), Error> {
    let within = held.borrow().server.drain;
    tokio::select! {
        () = drain(shared, sequencer.inboxes(), within) => {}
        () = signals.next() => return Err(Error::Interrupted { connections: shared.connections() }),
    }
    let saved = state::end(&held.borrow().state, sequencer, state);
    stop(sequencer.inboxes(), ended).await?;
    Ok(saved?)
}

/// The page connects to the listener with TLS where it came encrypted itself, since it may open no other connections.
fn page(data: Option<SocketAddr>, tls: Option<SocketAddr>, is_encrypted: bool) -> Page {
    match (data.filter(|_| !is_encrypted), tls) {
        (Some(data), _) => Page::new("ws", data),
        (None, tls) => Page::new("wss", tls.expect("there is a listener for subscribers")),
    }
}

/// Answers on the admin listener, where there is one.
async fn answer(listener: Option<Listener>, routes: &Arc<Admin>) -> Infallible {
    match listener {
        Some(listener) => listener.serve(routes.clone()).await,
        None => std::future::pending().await,
    }
}

/// Publishes what is due by the deadlines of topics.
async fn publish_due(mut held: watch::Receiver<Arc<Config>>, sequencer: &ClockedSequencer) -> Infallible {
    loop {
        if held.borrow_and_update().topics.have_deadlines() {
            tokio::time::sleep(DUE_EARLY).await;
            sequencer.publish_due();
        } else if held.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Asks the shards again and again, for those who ask at the data listeners how the gateway is.
async fn keep_asked(shared: &Shared, routes: &Admin) -> Infallible {
    let tell = |scrape: &Scrape| {
        shared.set_silent(!scrape.silent().is_empty());
        shared.set_overloaded(scrape.refuses());
    };
    routes.scraper.keep_recent(tell).await
}

/// Writes into the log what is not one event: how many lines it left out, and that clients have doubled.
async fn tell_now_and_then(
    shared: &Shared,
    sequencer: &ClockedSequencer,
    routes: &Admin,
    baseline: &Baseline,
) -> Infallible {
    let mut doublings = Doublings::default();
    loop {
        let clients = shared.connections();
        let has_doubled = doublings.reached(clients);
        if (has_doubled || clients == 0)
            && let Some(held) = held_now(sequencer, &routes.scraper)
        {
            if clients == 0 {
                baseline.note(held);
            }
            if has_doubled {
                let bytes_per_client = baseline.bytes_per_client(held, clients);
                let resident_bytes = held.resident_bytes;
                tracing::info!(clients, resident_bytes, bytes_per_client, "twice as many clients");
            }
        }
        tokio::time::sleep(LEFT_OUT_LOOK).await;
        logs::tell_left_out();
    }
}

/// The first line on stdout: where the listeners are.
fn announce(data: Option<SocketAddr>, admin: Option<SocketAddr>, tls: Option<SocketAddr>) -> io::Result<()> {
    let [data, admin] =
        [data, admin].map(|address| address.map_or_else(|| "off".to_owned(), |address| address.to_string()));
    let tls = tls.map_or(String::new(), |address| format!(" tls={address}"));
    let mut out = io::stdout().lock();
    writeln!(out, "listening data={data} admin={admin}{tls}")?;
    out.flush()
}

/// Returns when nobody is left, or a little after the deadline, when all have been reset.
async fn drain(shared: &Shared, inboxes: &[Arc<Inbox>], within: Duration) {
    tracing::info!(clients = shared.connections(), drain = ?within, "draining");
    shared.start_draining();
    let gone = async {
        tell(inboxes, || Message::Drain { drain_us: within.as_micros() as u64 }).await;
        while shared.connections() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    };
    // A shard that hangs holds up the end as little as clients that take nothing.
    let _ = tokio::time::timeout(within + RESET, gone).await;
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
