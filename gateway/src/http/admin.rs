//! What the routes work on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::settings::Limits;

use super::{
    answers::{Answers, Full},
    body::Bodies,
    counters::AdminCounters,
    gate::Gate,
    paced::Pace,
    page::Page,
    places::Place,
    reply::{busy, refuse},
};
use crate::{
    metrics::{Scraper, watched::Watched},
    source::freshness::Freshness,
};

pub(super) type App = State<Arc<Admin>>;

/// What the routes work on.
#[derive(Debug)]
pub struct Admin {
    pub(super) watched: Watched,
    pub(super) gate: Gate,
    pub(super) freshness: Vec<Freshness>,
    /// Whether every shard listens.
    pub listening: AtomicBool,
    pub counters: Arc<AdminCounters>,
    pub(super) limits: Limits,
    pub(super) bodies: Bodies,
    pub(super) answers: Answers,
    pub scraper: Arc<Scraper>,
    pub(super) page: Page,
}

impl Admin {
    pub fn new(
        watched: Watched,
        page: Page,
        gate: Gate,
        limits: &Limits,
        freshness: Vec<Freshness>,
    ) -> Arc<Self> {
        let counters = Arc::<AdminCounters>::default();
        Arc::new(Self {
            scraper: Scraper::new(watched.publisher.inboxes()),
            watched,
            gate,
            freshness,
            listening: AtomicBool::new(false),
            bodies: Bodies::new(limits, Pace::new(limits), counters.clone()),
            answers: Answers::new(limits.admin_answer_bytes),
            counters,
            limits: limits.clone(),
            page,
        })
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

    /// Why the request is not answered as it asks.
    pub(super) fn refusal_of(&self, request: &Request) -> Option<Response> {
        if let Err(reason) = self.gate.pass(request) {
            self.counters.pages_refused.fetch_add(1, Ordering::Relaxed);
            return Some(refuse(StatusCode::FORBIDDEN, reason));
        }
        if is_probe(request.uri().path()) {
            // It is answered in reserve too, where it disturbs nobody.
            return None;
        }
        let place = request.extensions().get::<Arc<Place>>()?;
        if let Some(found) = place.promote() {
            found.count(&self.counters);
            return None;
        }
        self.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
        let max = self.limits.admin_connections;
        Some(busy(format!("all [limits] admin_connections = {max} are busy; try again or raise that")))
    }

    /// An answer of JSON that is shared and counted.
    pub(super) fn answer(&self, text: Result<Option<bytes::Bytes>, Full>) -> Option<Response> {
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
