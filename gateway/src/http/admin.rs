//! What the routes work on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use engine::{access, settings::Limits};
use tokio::sync::{Notify, mpsc};

use super::{
    answers::{Answers, Full},
    body::Bodies,
    counters::AdminCounters,
    gate::Gate,
    keys::{self, Needs},
    paced::Pace,
    page::Page,
    places::Place,
    reply::{busy, refuse},
};
use crate::{
    admin_key::AdminKey,
    config::Config,
    intake::check::Checks,
    metrics::{Scraper, watched::Watched},
    reload::Ask,
    system::Machine,
};

pub(super) type App = State<Arc<Admin>>;

/// What the routes work on.
#[derive(Debug)]
pub struct Admin {
    pub(super) watched: Watched,
    rules: Mutex<Arc<Rules>>,
    /// Whether every shard listens.
    pub listening: AtomicBool,
    pub counters: Arc<AdminCounters>,
    pub(super) bodies: Bodies,
    pub(super) answers: Answers,
    pub scraper: Arc<Scraper>,
    /// Who reloads the configuration.
    pub(super) reloads: mpsc::Sender<Ask>,
    /// Told when somebody wants the gateway to drain.
    pub drained: Notify,
    pub(super) page: Page,
}

/// What requests are held against.
#[derive(Debug)]
pub struct Rules {
    pub gate: Gate,
    /// Of `[[admin.key]]`; empty: nobody needs one.
    pub keys: Vec<AdminKey>,
    pub limits: Limits,
    /// Of tokens.
    pub access: Arc<access::rules::Rules>,
    /// `[server] drain`.
    pub drain: Duration,
    /// The whole configuration, as it is printed.
    pub config: Bytes,
    /// What published values are held against.
    pub checks: Arc<Checks>,
}

impl Rules {
    /// `is_loopback`: only this machine reaches the listener.
    pub fn of(config: &Config, machine: &Machine, is_loopback: bool) -> Self {
        Self {
            gate: Gate::new(is_loopback, config.access.hosts.clone()),
            keys: config.admin.keys.iter().map(|key| key.key.clone()).collect(),
            limits: config.limits.clone(),
            access: config.access.tokens.rules.clone(),
            drain: config.server.drain,
            config: config.render(machine).into(),
            checks: config.checks.clone(),
        }
    }
}

impl Admin {
    pub fn new(watched: Watched, page: Page, rules: Rules, reloads: mpsc::Sender<Ask>) -> Arc<Self> {
        let (counters, limits) = (Arc::<AdminCounters>::default(), &rules.limits);
        Arc::new(Self {
            scraper: Scraper::new(watched.publisher.inboxes()),
            watched,
            listening: AtomicBool::new(false),
            bodies: Bodies::new(limits, Pace::new(limits), counters.clone()),
            answers: Answers::new(limits.admin_answer_bytes),
            counters,
            rules: Mutex::new(rules.into()),
            reloads,
            drained: Notify::new(),
            page,
        })
    }

    /// Other rules hold from now on, also for what is under way.
    pub fn set_rules(&self, rules: Rules) {
        self.bodies.set_limits(&rules.limits, Pace::new(&rules.limits));
        self.answers.set_bytes_max(rules.limits.admin_answer_bytes);
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules.into();
    }

    /// Those that hold now.
    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the gateway is made of.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(super) fn refuse_if_chained(&self) -> Option<Response> {
        let upstream = self.watched.sources.upstream.as_ref()?;
        let reason = format!("this gateway takes over what {upstream} numbers; publish there");
        Some(refuse(StatusCode::FORBIDDEN, reason))
    }

    /// Long bodies that could be taken in now.
    pub fn publishes_free(&self) -> usize {
        self.bodies.places_free()
    }

    /// The key that the request showed, where it needs one; else why it is not answered as it asks.
    pub(super) fn pass(&self, request: &Request, needs: Needs) -> Result<Option<AdminKey>, Box<Response>> {
        let rules = self.rules();
        if let Err(reason) = rules.gate.pass(request) {
            self.counters.pages_refused.fetch_add(1, Ordering::Relaxed);
            return Err(refuse(StatusCode::FORBIDDEN, reason).into());
        }
        let key = keys::pass(&rules.keys, request.headers(), needs).inspect_err(|refusal| {
            let lacks = refusal.status() == StatusCode::UNAUTHORIZED;
            let count = if lacks { &self.counters.keys_unknown } else { &self.counters.keys_refused };
            count.fetch_add(1, Ordering::Relaxed);
        })?;
        self.find_place(request, rules.limits.admin_connections)?;
        Ok(key.cloned())
    }

    /// An ordinary place for a request that came in reserve.
    fn find_place(&self, request: &Request, connections_max: usize) -> Result<(), Box<Response>> {
        if is_probe(request.uri().path()) {
            // It is answered in reserve too, where it disturbs nobody.
            return Ok(());
        }
        let Some(place) = request.extensions().get::<Arc<Place>>() else { return Ok(()) };
        if let Some(found) = place.promote() {
            found.count(&self.counters);
            return Ok(());
        }
        self.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
        let reason =
            format!("all [limits] admin_connections = {connections_max} are busy; try again or raise that");
        Err(busy(reason).into())
    }

    /// An answer of JSON that is shared and counted.
    pub(super) fn answer(&self, text: Result<Option<Bytes>, Full>) -> Option<Response> {
        match text {
            Ok(text) => Some(([(header::CONTENT_TYPE, "application/json")], text?).into_response()),
            Err(Full { bytes_max }) => {
                self.counters.answers_refused.fetch_add(1, Ordering::Relaxed);
                let reason = format!(
                    "answers of [limits] admin_answer_bytes = {bytes_max} bytes are being read already; try again or raise that"
                );
                Some(busy(reason))
            }
        }
    }
}

/// Whether a path asks how the gateway is: that is answered in reserve too.
fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/healthz" | "/readyz" | "/metrics")
}
