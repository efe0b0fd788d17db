//! `POST /drain`: the gateway ends as at SIGTERM.

use std::time::Duration;

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use tokio::time::sleep;

use super::{admin::App, reply::json};

/// The answer goes out first.
const AFTER: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Draining {
    /// Who is to be sent away.
    clients: usize,
    /// Within that.
    drain_ms: u128,
}

pub(super) async fn drain(State(admin): App) -> Response {
    let draining =
        Draining { clients: admin.watched.shared.connections(), drain_ms: admin.rules().drain.as_millis() };
    tokio::spawn(async move {
        sleep(AFTER).await;
        admin.drained.notify_one();
    });
    json(StatusCode::OK, &draining)
}
