//! `POST /reload`.

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::Response,
};
use engine::http::query;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    admin::App,
    reply::{busy, json, refuse},
};
use crate::reload::{Ask, Outcome};

#[derive(Serialize)]
struct Applied {
    applied: Vec<String>,
    /// Where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<Vec<String>>,
    digest: String,
}

#[derive(Serialize)]
struct NeedsRestart {
    code: u16,
    reason: &'static str,
    restart: Vec<String>,
}

pub(super) async fn reload(State(admin): App, uri: Uri) -> Response {
    let is_partial = query::pairs(uri.query().unwrap_or_default())
        .any(|(name, value)| name == "partial" && query::decode(value).as_deref() == Some("1"));
    let (answer, answered) = oneshot::channel();
    if admin.reloads.try_send(Ask { is_partial, answer }).is_err() {
        return busy("reloads wait for their turn already; try again".to_owned());
    }
    match answered.await {
        Ok(Outcome::Applied { applied, restart, digest }) => {
            json(StatusCode::OK, &Applied { applied, restart: is_partial.then_some(restart), digest })
        }
        Ok(Outcome::Invalid(reason)) => refuse(StatusCode::BAD_REQUEST, reason),
        Ok(Outcome::Restart(restart)) => {
            let reason =
                "nothing was applied, since these keys need a restart; ?partial=1 applies the others";
            let status = StatusCode::CONFLICT;
            json(status, &NeedsRestart { code: status.as_u16(), reason, restart })
        }
        Err(_) => busy("the gateway ends".to_owned()),
    }
}
