//! How the gateway is: `GET /livez`, `/healthz`, `/readyz`, `/metrics`.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{admin::App, reply::refuse};
use crate::{
    http::places::Place,
    metrics::{self, exposition},
    source::watch,
};

pub(super) async fn metrics(
    State(admin): App,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
) -> Response {
    // Who waited in reserve might lose its place before.
    let scrape = if place.is_in_reserve() { admin.scraper.recent().await } else { admin.scraper.now().await };
    match metrics::text(&scrape, &admin.watched, &admin.counters, admin.answers.bytes() as u64) {
        Ok(text) if accepts_openmetrics(&headers) => {
            ([(header::CONTENT_TYPE, exposition::OPENMETRICS)], text).into_response()
        }
        Ok(text) => {
            let text = exposition::older(&String::from_utf8_lossy(&text));
            ([(header::CONTENT_TYPE, exposition::TEXT)], text).into_response()
        }
        Err(e) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {e}")),
    }
}

fn accepts_openmetrics(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts.any(exposition::takes_openmetrics)
}

pub(super) async fn healthz(State(admin): App) -> Response {
    let silent = admin.scraper.recent().await.silent();
    if silent.is_empty() {
        return "ok".into_response();
    }
    refuse(StatusCode::SERVICE_UNAVAILABLE, format!("shards {silent:?} do not answer"))
}

pub(super) async fn readyz(State(admin): App) -> Response {
    if admin.watched.shared.draining() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    if !admin.listening.load(Ordering::Relaxed) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "not every shard listens yet");
    }
    let warming = watch::warming(&admin.watched.sources, admin.watched.publisher.now());
    if !warming.is_empty() {
        let reason = format!("warming: sources {} have brought nothing yet", warming.join(", "));
        return refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    match admin.watched.shared.behind() {
        Some(reason) => refuse(StatusCode::SERVICE_UNAVAILABLE, reason),
        None => "ok".into_response(),
    }
}
