//! Reloads: certificates first and by themselves, then the configuration, all of it or nothing.

use std::{convert::Infallible, panic, sync::Arc, time::Duration};

use engine::{settings::Reloaded, shard::shared::Shared};
use serde::Serialize;
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
};

use crate::{
    admin_key::Digest,
    config::{Change, Config, Origin, changes, merged},
    http::admin::{Admin, Rules},
    intake::{clocked::ClockedSequencer, told::tell},
    key_file, logs,
    reload::{Ask, Outcome},
    source::running::Runner,
    supervisor,
    system::Machine,
    tls::server::Server,
};

/// Between two reloads that signals ask for: those that come meanwhile are one.
const SIGNALS: Duration = Duration::from_millis(100);
/// How often certificates are looked at for changes.
const LOOK: Duration = Duration::from_secs(5);

/// What takes over what may change.
pub struct Reloader {
    pub origin: Origin,
    pub machine: Machine,
    /// The configuration that holds.
    pub current: watch::Sender<Arc<Config>>,
    /// Where there is a TLS listener.
    pub certificates: Option<Server>,
    pub admin: Arc<Admin>,
    /// Only this machine reaches the admin listener.
    pub is_loopback: bool,
    pub sequencer: Arc<ClockedSequencer>,
    pub shared: Arc<Shared>,
    pub sources: Runner,
}

/// What the audit has of a reload.
#[derive(Default, Serialize)]
struct Told<'a> {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let result = outcome.name();
        match outcome {
            Outcome::Applied { applied, restart, .. } => {
                Self { result, applied: Some(applied), restart: Some(restart), ..Self::default() }
            }
            Outcome::Invalid(reason) => Self { result, reason: Some(reason), ..Self::default() },
            Outcome::Restart(keys) => Self { result, restart: Some(keys), ..Self::default() },
        }
    }
}

/// What a configuration prints, as a number that stands for it.
pub fn digest(config: &Config, machine: &Machine) -> String {
    Digest::of(config.render(machine).as_bytes()).to_string()
}

impl Reloader {
    /// Reloads whenever somebody asks, and certificates when their files change. Does not return.
    pub async fn serve(mut self, mut hang_up: Signal, mut asks: mpsc::Receiver<Ask>) -> Infallible {
        loop {
            let (ask, rest) = tokio::select! {
                _ = hang_up.recv() => (Ask { is_partial: false, answer: oneshot::channel().0 }, SIGNALS),
                Some(ask) = asks.recv() => (ask, Duration::ZERO),
                () = tokio::time::sleep(LOOK) => {
                    self.look_at_certificates(false).await;
                    continue;
                }
            };
            supervisor::reloading();
            let outcome = self.reload(ask.is_partial).await;
            supervisor::ready();
            self.note(&outcome);
            // Who asked may have gone.
            let _ = ask.answer.send(outcome);
            tokio::time::sleep(rest).await;
        }
    }

    fn note(&self, outcome: &Outcome) {
        let counters = &self.admin.watched().reloads;
        counters.count(outcome);
        self.admin.watched().audit.note("reload", &Told::of(outcome));
        match outcome {
            Outcome::Applied { applied, restart, digest } => {
                counters.hold(digest, self.sequencer.now().wall_us);
                tracing::info!(?applied, ?restart, digest, "the configuration was reloaded");
            }
            Outcome::Invalid(error) => tracing::error!(error, "the configuration stays as it was"),
            Outcome::Restart(keys) => {
                tracing::error!(?keys, "the configuration stays as it was, since these keys need a restart");
            }
        }
    }

    async fn reload(&mut self, is_partial: bool) -> Outcome {
        self.look_at_certificates(true).await;
        let (origin, machine) = (self.origin.clone(), self.machine.clone());
        let new = match blocking(move || origin.load(&machine)).await {
            Ok(new) => new,
            Err(refused) => return Outcome::Invalid(refused.to_string()),
        };
        let old = self.current.borrow().clone();
        let (applied, restart): (Vec<Change>, Vec<Change>) =
            changes(&old, &new, |topics| self.sequencer.suits(topics))
                .into_iter()
                .partition(|change| change.is_reloaded);
        let restart: Vec<String> = restart.into_iter().map(|change| change.key).collect();
        if !restart.is_empty() && !is_partial {
            return Outcome::Restart(restart);
        }
        let mut next = merged(&old, new, |topics| self.sequencer.suits(topics));
        if let Err(error) = self.take_files(&old, &mut next).await {
            return Outcome::Invalid(error);
        }
        if !applied.is_empty() {
            self.apply(next).await;
        }
        let digest = digest(&self.current.borrow(), &self.machine);
        Outcome::Applied { applied: applied.into_iter().map(|change| change.told).collect(), restart, digest }
    }

    /// What can fail, and what files say that are called as before.
    async fn take_files(&mut self, old: &Config, next: &mut Config) -> Result<(), String> {
        if next.server.admin.is_some() {
            key_file::make(&mut next.admin).map_err(|error| error.to_string())?;
        }
        let tokens = next.access.tokens.clone();
        let keys = blocking(move || tokens.read_keys()).await?;
        let held = &self.admin.watched().keys;
        held.prepare(&keys).map_err(|error| format!("cannot start what verifies tokens: {error}"))?;
        self.change_certificates(next).await?;
        if let Err(error) = self.open_audit(next).await {
            self.change_certificates(old).await?;
            return Err(error);
        }
        self.admin.watched().keys.replace(keys);
        Ok(())
    }

    async fn apply(&mut self, next: Config) {
        if let Err(error) = logs::set_filter(&next.log.filter) {
            tracing::error!(error, "what is logged stays as it was");
        }
        let reloaded = Arc::new(Reloaded::from(&next.settings()));
        self.sequencer.set_limits(&next.limits);
        self.sequencer.set_policies(&next.topics);
        self.sources.health.set_bytes_max(next.limits.status_bytes);
        self.shared.reload(&reloaded);
        self.admin.watched().keys.set_limits(&next.limits);
        self.sources.reload(&next.sources, &next.freshness, &next.limits);
        self.admin.set_rules(Rules::of(&next, &self.machine, self.is_loopback));
        self.current.send_replace(next.into());
        tell(self.sequencer.inboxes(), || engine::shard::inbox::Message::Reload(reloaded.clone())).await;
    }

    async fn change_certificates(&mut self, config: &Config) -> Result<(), String> {
        let Some(tls) = config.server.tls.clone() else { return Ok(()) };
        let Some(mut server) = self.certificates.take() else { return Ok(()) };
        let changing = blocking(move || {
            let changed = server.change(&tls);
            (server, changed)
        });
        let (server, changed) = changing.await;
        self.certificates = Some(server);
        changed
    }

    /// Anew also where it is open: its file may have been moved away.
    async fn open_audit(&self, config: &Config) -> Result<(), String> {
        let (audit, settings) = (self.admin.watched().audit.clone(), config.audit.clone());
        blocking(move || audit.set(&settings)).await.map_err(|error| error.to_string())
    }

    async fn look_at_certificates(&mut self, asked: bool) {
        let Some(mut server) = self.certificates.take() else { return };
        let server = blocking(move || {
            server.look(asked);
            server
        });
        self.certificates = Some(server.await);
    }
}

/// Beside the control plane: a disk may hang.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(failed) => panic::resume_unwind(failed),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        },
    }
}
