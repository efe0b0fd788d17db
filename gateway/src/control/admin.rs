//! The admin listener's routes (the contract, section 5).

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::{
    health::{self, Health, Origin},
    metrics::{self, Scraper},
    page::Page,
    publish::{self, Form, Rejected},
    sequencer::{Sequencer, Why},
    source::SourceCounters,
    state,
};
use crate::{
    config::{Limits, freshness::Freshness},
    json,
    shared::Shared,
    status, tls,
    topic::Pattern,
    whole,
};

/// Of `POST /status`: its body, patterns and reason.
const STATUS_BYTES_MAX: usize = 1 << 20;
const STATUS_TOPICS_MAX: usize = 1000;
const STATUS_REASON_BYTES_MAX: usize = 1000;

/// Topics of one answer of `GET /topics`.
const TOPICS_MAX: usize = 1000;

/// What the gateway is made of, for whoever asks how it is.
#[derive(Debug, Clone)]
pub struct Watched {
    pub sequencer: Arc<Sequencer>,
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
    freshness: Vec<Freshness>,
    /// Whether every shard listens.
    pub listening: AtomicBool,
    pub counters: Arc<Counters>,
    publish_bytes: usize,
    /// Publishes that are read or wait for room at once; each may hold `publish_bytes`.
    publishes: Semaphore,
    /// A publisher has this long to send its body.
    body: Duration,
    scraper: Scraper,
    page: Page,
}

/// What had to wait or was cut off on the admin listener.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections and publishes that waited for another one to end.
    pub connections_waited: AtomicU64,
    pub publishes_waited: AtomicU64,
    /// Handshakes of TLS that came to nothing.
    pub tls_failed: AtomicU64,
    /// Connections closed since no whole request head came within `[limits] admin_idle`.
    pub connections_idle: AtomicU64,
    /// Publishes refused with 408.
    pub bodies_late: AtomicU64,
}

impl Admin {
    /// `data`: where subscribers connect.
    pub fn new(watched: Watched, page: Page, limits: &Limits, freshness: Vec<Freshness>) -> Arc<Self> {
        Arc::new(Self {
            scraper: Scraper::new(watched.sequencer.inboxes().len()),
            watched,
            freshness,
            listening: AtomicBool::new(false),
            counters: Arc::default(),
            publish_bytes: limits.publish_bytes,
            publishes: Semaphore::new(limits.admin_publishes),
            body: limits.admin_body,
            page,
        })
    }

    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/publish", post(publish))
            .route("/topics", get(list))
            .route("/topics/{*name}", get(topic).delete(remove))
            .route("/status", get(statuses).post(set_status))
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .with_state(self.clone())
    }

    fn refuse_if_chained(&self) -> Option<Response> {
        let upstream = self.watched.sources.upstream.as_ref()?;
        let reason = format!("this gateway takes over what {upstream} numbers; publish there");
        Some(refuse(StatusCode::FORBIDDEN, reason))
    }

    /// Publishes that could begin now.
    pub fn publishes_free(&self) -> usize {
        self.publishes.available_permits()
    }

    /// A place among the publishes. Beyond the bound bodies are left unread, which makes their publishers wait.
    async fn enter_publish(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        if self.publishes_free() == 0 {
            self.counters.publishes_waited.fetch_add(1, Ordering::Relaxed);
        }
        self.publishes.acquire().await
    }
}

type App = State<Arc<Admin>>;

async fn publish(State(admin): App, headers: HeaderMap, request: Request) -> Response {
    if let Some(refusal) = admin.refuse_if_chained() {
        return refusal;
    }
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("none");
    let Some(form) = Form::of(content_type) else {
        let reason = format!("content type {content_type}: send application/json or application/x-ndjson");
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    };
    let Ok(_permit) = admin.enter_publish().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the gateway ends");
    };
    let body = read_body(request.into_body(), admin.publish_bytes);
    let body = match tokio::time::timeout(admin.body, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(reason)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, reason),
        Err(_) => {
            admin.counters.bodies_late.fetch_add(1, Ordering::Relaxed);
            let reason = format!("the body took longer than [limits] admin_body = {:?}", admin.body);
            return refuse(StatusCode::REQUEST_TIMEOUT, reason);
        }
    };
    match publish::publish(&admin.watched.sequencer, form, &body).await {
        Ok(accepted) => json(StatusCode::OK, &Accepted { accepted }),
        Err(Rejected { accepted, index, reason }) => {
            json(StatusCode::BAD_REQUEST, &PublishRefusal { code: 400, accepted, index, reason })
        }
    }
}

/// Reads a body of at most `bytes_max`. Of a longer one as much again is discarded, so that its sender
/// gets to read the answer and not a reset.
async fn read_body(mut body: Body, bytes_max: usize) -> Result<Bytes, String> {
    let too_long =
        || format!("the body is longer than [limits] publish_bytes = {bytes_max} bytes; send it in parts");
    if body.size_hint().lower() > 2 * bytes_max as u64 {
        return Err(too_long());
    }
    let mut parts = Vec::new();
    let mut len = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // A broken connection: nobody reads the answer.
        let frame = frame.map_err(|e| format!("the body broke off: {e}"))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len <= bytes_max {
            parts.extend_from_slice(&data);
        } else if len > 2 * bytes_max {
            break;
        }
    }
    if len > bytes_max { Err(too_long()) } else { Ok(parts.into()) }
}

async fn list(State(admin): App, uri: Uri) -> Response {
    let (mut prefix, mut after, mut limit) = (String::new(), String::new(), TOPICS_MAX);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(value) = percent_decode(value) else {
            return refuse(StatusCode::BAD_REQUEST, format!("{key} is not percent-encoded UTF-8"));
        };
        match key {
            "prefix" => prefix = value,
            "after" => after = value,
            "limit" => match limit_of(&value) {
                Some(n) => limit = n,
                None => {
                    return refuse(StatusCode::BAD_REQUEST, format!("limit = {value} is not a whole number"));
                }
            },
            _ => {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    format!("unknown parameter {key}; there are prefix, limit and after"),
                );
            }
        }
    }
    json(StatusCode::OK, &admin.watched.sequencer.list(&prefix, &after, limit))
}

/// However large the number is, it means [`TOPICS_MAX`] at most.
fn limit_of(value: &str) -> Option<usize> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if digits { Some(value.parse().unwrap_or(TOPICS_MAX)) } else { whole::parse_as(value) };
    limit.map(|limit| limit.min(TOPICS_MAX))
}

async fn topic(State(admin): App, uri: Uri) -> Response {
    let Some(name) = topic_name(&uri) else { return bad_name() };
    match admin.watched.sequencer.get(&name) {
        Some(update) => ([(header::CONTENT_TYPE, "application/json")], update).into_response(),
        None => unknown(&name),
    }
}

async fn remove(State(admin): App, uri: Uri) -> Response {
    if let Some(refusal) = admin.refuse_if_chained() {
        return refusal;
    }
    let Some(name) = topic_name(&uri) else { return bad_name() };
    match admin.watched.sequencer.remove(&name).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(Why::Unknown { .. } | Why::BadTopic(_)) => unknown(&name),
        Err(why) => refuse(StatusCode::BAD_REQUEST, why.to_string()),
    }
}

fn topic_name(uri: &Uri) -> Option<String> {
    uri.path().strip_prefix("/topics/").and_then(percent_decode)
}

fn bad_name() -> Response {
    refuse(StatusCode::BAD_REQUEST, "the topic is not percent-encoded UTF-8")
}

fn unknown(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no topic {name}"))
}

async fn metrics(State(admin): App) -> Response {
    match admin.scraper.scrape(&admin.watched, &admin.counters).await {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(e) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {e}")),
    }
}

async fn healthz(State(admin): App) -> Response {
    let silent = admin.scraper.silent(admin.watched.sequencer.inboxes()).await;
    if silent.is_empty() {
        return "ok".into_response();
    }
    refuse(StatusCode::SERVICE_UNAVAILABLE, format!("shards {silent:?} do not answer"))
}

async fn readyz(State(admin): App) -> Response {
    if admin.watched.shared.draining() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    if !admin.listening.load(Ordering::Relaxed) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "not every shard listens yet");
    }
    let warming = health::warming(&admin.watched.sources, &admin.freshness, admin.watched.sequencer.now());
    if !warming.is_empty() {
        let reason = format!("warming: sources {} have brought nothing yet", warming.join(", "));
        return refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    "ok".into_response()
}

async fn statuses(State(admin): App) -> Response {
    json(StatusCode::OK, &admin.watched.health.list())
}

/// What a publisher says of its topics.
#[derive(Deserialize)]
struct StatusOp {
    topics: Vec<String>,
    state: String,
    #[serde(default)]
    reason: String,
}

async fn set_status(State(admin): App, request: Request) -> Response {
    let body = match tokio::time::timeout(admin.body, read_body(request.into_body(), STATUS_BYTES_MAX)).await
    {
        Ok(Ok(body)) => body,
        Ok(Err(reason)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, reason),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    match apply_status(&admin, &body) {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({})),
        Err(reason) => refuse(StatusCode::BAD_REQUEST, reason),
    }
}

fn apply_status(admin: &Admin, body: &[u8]) -> Result<(), String> {
    const EXAMPLE: &str = r#"{"topics":["a.*"],"state":"stale","reason":"…"}"#;
    let op: StatusOp = serde_json::from_slice(json::skip_byte_order_mark(body))
        .map_err(|e| format!("not a status like {EXAMPLE}: {e}"))?;
    let state = status::State::parse(&op.state)
        .ok_or_else(|| format!("state {:?}: write \"live\", \"stale\" or \"gap\"", op.state))?;
    if !(1..=STATUS_TOPICS_MAX).contains(&op.topics.len()) {
        return Err(format!("there are {} topics; 1 to {STATUS_TOPICS_MAX} may be", op.topics.len()));
    }
    for topic in &op.topics {
        Pattern::parse(topic).map_err(|bad| bad.to_string())?;
    }
    if op.reason.len() > STATUS_REASON_BYTES_MAX {
        return Err(format!(
            "the reason has {} bytes; the most is {STATUS_REASON_BYTES_MAX}",
            op.reason.len()
        ));
    }
    let topics = op.topics.into_iter().map(Arc::from).collect();
    let now_us = admin.watched.sequencer.now().wall_us;
    admin
        .watched
        .health
        .set(Origin::Publisher, topics, state, &op.reason, now_us)
        .map_err(|full| full.to_string())
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

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

#[derive(Serialize)]
struct PublishRefusal {
    code: u16,
    accepted: usize,
    index: usize,
    reason: String,
}

#[derive(Serialize)]
struct Refusal<'a> {
    code: u16,
    reason: &'a str,
}

fn refuse(status: StatusCode, reason: impl AsRef<str>) -> Response {
    json(status, &Refusal { code: status.as_u16(), reason: reason.as_ref() })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("numbers and text are always JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `None`: a broken escape, or not UTF-8 behind the escapes.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut hex = || (rest.next()? as char).to_digit(16);
        bytes.push(if byte == b'%' { (hex()? * 16 + hex()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok()
}
