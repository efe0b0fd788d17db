//! Puts the two planes together.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Instant,
};

use engine::{
    access::{tokens::Tokens, verify::Verify},
    settings::Limits,
    shard::{Application, inbox::Inbox, shared::Shared},
};
use net::Waker;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::{
    access::keys::Keys,
    audit::{self, Audit},
    config::{Config, Origin},
    control::{self, Parts},
    executor::{self, Shards, StartError},
    intake::{clocked::ClockedSequencer, writers::Writers},
    key_file, state,
    state::revocations::RevocationFile,
    system::Machine,
    tls,
};

/// Why the gateway could not run, or ended other than by a clean drain.
#[derive(Debug, Error)]
pub enum Error {
    #[error("cannot make what wakes and joins the shards: {0}")]
    Resources(#[from] io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Access(String),
    #[error(transparent)]
    State(#[from] state::NotWritten),
    #[error(transparent)]
    Lock(#[from] state::NotLocked),
    #[error(transparent)]
    Key(#[from] key_file::NotMade),
    #[error(transparent)]
    Audit(#[from] audit::NotOpened),
    #[error(transparent)]
    Shards(#[from] StartError),
    #[error(transparent)]
    Control(#[from] control::Error),
}

/// Runs a gateway until a signal has drained it.
/// `origin`: where the configuration comes from.
pub fn run(mut config: Config, origin: Origin, machine: &Machine) -> Result<(), Error> {
    let start = Instant::now();
    if config.server.admin.is_some() {
        key_file::make(&mut config.admin)?;
    }
    config.server.warnings().iter().for_each(|text| tracing::warn!("{text}"));
    let (current, held) = watch::channel(Arc::new(config));
    let config = held.borrow().clone();
    let limits = &config.limits;
    let connections_max = config.connections_max(machine);
    let sockets = config.sockets(machine);
    let state = Arc::new(state::StateCounters::default());
    // Until the process ends.
    let _lock = state::lock(&config.state)?;
    let restored = state::load(&config.state, &state)?;
    let admin = control::bind_admin(&config)?;
    let admin_address = admin.as_ref().map(|listener| listener.local_addr()).transpose()?;
    let wakers = (0..config.server.shards).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
    let inboxes: Vec<_> = wakers.iter().map(|waker| Inbox::of(limits, waker.clone())).collect();
    let sequencer =
        ClockedSequencer::new(random().into(), inboxes.clone(), limits, config.topics.clone(), start);

    if state.is_refused.load(Relaxed) {
        sequencer.lose_names();
    }
    // Before a shard listens, so that nobody sees the gateway without it.
    let unconfirmed = restored
        .map(|restored| state::restore(&restored, &sequencer, &config.state, &state))
        .unwrap_or_default();
    let epoch = sequencer.epoch();
    let audit = Arc::<Audit>::default();
    audit.set(&config.audit)?;
    let mut shared = Shared::new(epoch, admin_address, connections_max, &config.settings());
    shared.witness = Some(audit.clone());
    let (writers, writes) = Writers::new(limits);
    shared.writes = Some(writers);
    let keys =
        Arc::new(config.access.tokens.start_keys(limits, config.server.shards).map_err(Error::Access)?);
    let revocation_file = Arc::new(RevocationFile::new(&config.state));
    shared.tokens = tokens(&keys, limits);
    revocation_file.load(&shared.tokens.revocations, sequencer.now().wall_us).map_err(Error::Access)?;
    let shared = Arc::new(shared);

    let tls_server =
        config.server.tls.as_ref().map(tls::server::Server::load).transpose().map_err(Error::Tls)?;
    let broadcast = Application::Broadcast;
    let ends = inboxes.iter().cloned().zip(wakers).collect();
    let shards = executor::start(&held, broadcast, &shared, ends, sockets, start, tls_server.as_ref())?;
    let (data, tls) = (shards.data, shards.tls);
    let (count, slots) = (inboxes.len(), sockets.slots);
    tracing::info!(shards = count, connections = connections_max, slots, "every shard listens");
    let ended = ended(shards)?;
    Ok(control::run(Parts {
        origin,
        machine: machine.clone(),
        io: machine.choice(config.server.io),
        current,
        sequencer,
        shared,
        audit,
        state,
        unconfirmed,
        admin,
        data,
        tls,
        tls_server,
        keys,
        revocation_file,
        writes,
        ended,
    })?)
}

/// Told when all shards have ended.
fn ended(shards: Shards) -> io::Result<oneshot::Receiver<bool>> {
    let (tell, ended) = oneshot::channel();
    let join = move || {
        // Nobody listens any more where the process ends first.
        let _ = tell.send(shards.join());
    };
    thread::Builder::new().name("join".to_owned()).spawn(join)?;
    Ok(ended)
}

/// What shards share of tokens.
fn tokens(keys: &Arc<Keys>, limits: &Limits) -> Tokens {
    let verifier = Some(keys.clone() as Arc<dyn Verify>);
    Tokens::new(verifier, limits.token_checks, limits.revocations, random())
}

/// A number of the system's entropy.
fn random() -> u64 {
    // RandomState is seeded by the operating system; hashing twice mixes its two keys.
    RandomState::new().hash_one(RandomState::new().hash_one(0u8))
}
