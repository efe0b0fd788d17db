//! The admin listener's routes (the contract, section 5).

mod answers;
mod body;
pub mod gate;
pub mod listener;
mod paced;
pub mod page;
mod places;
mod probes;
mod publish;
mod status;
mod topics;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use axum::{
    Router,
    body::HttpBody,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use engine::shard::shared::Shared;
use serde::Serialize;

use super::{health::Health, metrics::Scraper, source::SourceCounters, state};
use crate::{
    config::{Limits, freshness::Freshness},
    http::{
        answers::{Answers, Full},
        body::Bodies,
        gate::Gate,
        paced::Pace,
        page::Page,
        places::{Found, Place},
    },
    intake::publisher::Publisher,
    tls,
};

/// What the gateway is made of, for whoever asks how it is.
#[derive(Debug, Clone)]
pub struct Watched {
    pub publisher: Arc<Publisher>,
    pub shared: Arc<Shared>,
    pub sources: Arc<SourceCounters>,
    pub health: Arc<Health>,
    pub state: Arc<state::Counters>,
    /// Where there is a TLS listener.
    pub tls: Option<Arc<tls::Counters>>,
}

/// What the routes work on.
#[derive(Debug)]
pub struct Admin {
    watched: Watched,
    gate: Gate,
    freshness: Vec<Freshness>,
    /// Whether every shard listens.
    pub listening: AtomicBool,
    pub counters: Arc<Counters>,
    limits: Limits,
    bodies: Bodies,
    answers: Answers,
    pub scraper: Arc<Scraper>,
    page: Page,
}

/// What had to wait or was cut off on the admin listener.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections reset since all places were busy: they were the oldest in reserve, or too long there, or did not
    /// catch up with their answers, or their address held the most.
    pub connections_reset: AtomicU64,
    /// Idle connections closed for a new one.
    pub connections_evicted: AtomicU64,
    /// Requests refused with 503 on a connection in reserve.
    pub connections_refused: AtomicU64,
    /// Connections closed since no request came within `[limits] admin_idle`.
    pub connections_idle: AtomicU64,
    /// Connections closed since no whole request head, or TLS handshake, came within `[limits] handshake`.
    pub heads_late: AtomicU64,
    /// Handshakes of TLS that came to nothing.
    pub tls_failed: AtomicU64,
    /// Requests refused since they named another host or came from a page of another site.
    pub pages_refused: AtomicU64,
    /// Long bodies that waited for another one to end.
    pub publishes_waited: AtomicU64,
    /// Bodies refused with 408: by `[limits] admin_body`, and by `admin_bytes_per_s`.
    pub bodies_late: AtomicU64,
    pub bodies_slow: AtomicU64,
    /// Publishes refused with 503, since no inbox had room for so long.
    pub publishes_late: AtomicU64,
    /// Connections reset since their answer was read too slowly.
    pub answers_slow: AtomicU64,
    /// Requests refused with 503, since `[limits] admin_answer_bytes` were held.
    pub answers_refused: AtomicU64,
}

impl Counters {
    pub fn count(&self, found: Found) {
        match found {
            Found::Free => {}
            Found::Evicted => drop(self.connections_evicted.fetch_add(1, Ordering::Relaxed)),
            Found::Reset => drop(self.connections_reset.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Admin {
    pub fn new(
        watched: Watched,
        page: Page,
        gate: Gate,
        limits: &Limits,
        freshness: Vec<Freshness>,
    ) -> Arc<Self> {
        let counters = Arc::<Counters>::default();
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

    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/publish", post(publish::publish))
            .route("/topics", get(topics::list))
            .route("/topics/{*name}", get(topics::show).delete(topics::remove))
            .route("/status", get(status::list).post(status::set))
            .route("/metrics", get(probes::metrics))
            .route("/healthz", get(probes::healthz))
            .route("/readyz", get(probes::readyz))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self.clone())
    }

    fn refuse_if_chained(&self) -> Option<Response> {
        let upstream = self.watched.sources.upstream.as_ref()?;
        let reason = format!("this gateway takes over what {upstream} numbers; publish there");
        Some(refuse(StatusCode::FORBIDDEN, reason))
    }

    /// Long bodies that could be taken in now.
    pub fn publishes_free(&self) -> usize {
        self.bodies.places_free()
    }

    /// Why the request is not answered as it asks.
    fn refusal_of(&self, request: &Request) -> Option<Response> {
        if let Err(reason) = self.gate.pass(request) {
            self.counters.pages_refused.fetch_add(1, Ordering::Relaxed);
            return Some(refuse(StatusCode::FORBIDDEN, reason));
        }
        let place = request.extensions().get::<Arc<Place>>()?;
        let is_probe = probes::is_one(request.uri().path());
        if let Some(found) = place.promote(!is_probe) {
            self.counters.count(found);
            return None;
        }
        if is_probe {
            return None;
        }
        self.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
        let max = self.limits.admin_connections;
        Some(busy(format!("all [limits] admin_connections = {max} are busy; try again or raise that")))
    }

    /// An answer of JSON that is shared and counted.
    fn answer(&self, text: Result<Option<bytes::Bytes>, Full>) -> Option<Response> {
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

type App = State<Arc<Admin>>;

/// Refuses what may not pass. No answer is shown inside another page, or taken for what it is not.
async fn guard(State(admin): App, request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let mut response = match admin.refusal_of(&request) {
        None => next.run(request).await,
        Some(refusal) if has_body => closing(refusal),
        Some(refusal) => refusal,
    };
    // A place in reserve is for one request.
    if place.is_some_and(|place| place.is_in_reserve()) {
        response = closing(response);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

async fn page(State(admin): App) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, Page::POLICY),
    ];
    (headers, admin.page.html()).into_response()
}

async fn not_found(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {}", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> Response {
    let allow = match uri.path() {
        "/publish" => "POST",
        "/status" => "GET, HEAD, POST",
        path if path.starts_with("/topics/") => "GET, HEAD, DELETE",
        _ => "GET, HEAD",
    };
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes {allow}", uri.path()));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("none")
}

fn wrong_type(headers: &HeaderMap, right: &str) -> Response {
    let reason = format!("content type {}: send {right}", content_type(headers));
    closing(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
}

#[derive(Serialize)]
struct Refusal<'a> {
    code: u16,
    reason: &'a str,
}

pub(super) fn refuse(status: StatusCode, reason: impl AsRef<str>) -> Response {
    json(status, &Refusal { code: status.as_u16(), reason: reason.as_ref() })
}

/// What is left of the request is not read as the next one.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 503, and when to come back.
fn busy(reason: String) -> Response {
    retry_later(refuse(StatusCode::SERVICE_UNAVAILABLE, reason))
}

fn retry_later(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("numbers and text are always JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
