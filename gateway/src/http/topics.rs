//! `GET /topics`, `GET /topics/NAME` and `DELETE /topics/NAME`.

use std::borrow::Cow;

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use engine::{http::query, json::whole, sequencer::Why};
use tokio::time::Instant;

use super::{
    admin::App,
    reply::{busy, refuse},
};
use crate::admin_key::AdminKey;

/// Topics of one answer of `GET /topics`.
const ROWS_MAX: usize = 1000;

pub(super) async fn list(State(admin): App, uri: Uri) -> Response {
    let (mut prefix, mut after, mut limit) = (String::new(), String::new(), ROWS_MAX);
    // Others are ignored, as unknown fields are.
    let known = |name: &str| matches!(name, "prefix" | "after" | "limit");
    for (name, value) in query::pairs(uri.query().unwrap_or_default()).filter(|(name, _)| known(name)) {
        let Some(value) = query::decode(value) else {
            return refuse(StatusCode::BAD_REQUEST, format!("{name} is not percent-encoded UTF-8"));
        };
        match (&*name, limit_of(&value)) {
            ("prefix", _) => prefix = value.into_owned(),
            ("after", _) => after = value.into_owned(),
            (_, Some(n)) => limit = n,
            (_, None) => {
                return refuse(StatusCode::BAD_REQUEST, format!("limit = {value} is not a whole number"));
            }
        }
    }
    let sequencer = &admin.watched.publisher;
    let rows = || serde_json::to_vec(&sequencer.list(&prefix, &after, limit)).expect("rows are always JSON");
    let text = admin.answers.share_same(&uri.to_string(), || rows().into()).await;
    admin.answer(text.map(Some)).expect("there is a list")
}

/// However large the number is, it means [`ROWS_MAX`] at most.
fn limit_of(value: &str) -> Option<usize> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if digits { Some(value.parse().unwrap_or(ROWS_MAX)) } else { whole::parse_as(value) };
    limit.map(|limit| limit.min(ROWS_MAX))
}

pub(super) async fn show(State(admin): App, uri: Uri) -> Response {
    let Some(name) = name(&uri) else { return bad_name() };
    let sequencer = &admin.watched.publisher;
    // What is held as it is shown needs no copy at all.
    if let Some(update) = sequencer.get_held(&name) {
        return ([(header::CONTENT_TYPE, "application/json")], update).into_response();
    }
    let text = admin.answers.share(|| sequencer.state_of(&name), || sequencer.get(&name)).await;
    admin.answer(text).unwrap_or_else(|| unknown(&name))
}

pub(super) async fn remove(State(admin): App, key: Option<Extension<AdminKey>>, uri: Uri) -> Response {
    if let Some(refusal) = admin.refuse_if_chained() {
        return refusal;
    }
    let Some(name) = name(&uri) else { return bad_name() };
    if let Some(Extension(key)) = key.filter(|key| !key.writes(&name)) {
        return refuse(StatusCode::FORBIDDEN, key.denied(&name));
    }
    let deadline = Instant::now() + admin.rules().limits.admin_body;
    match admin.watched.publisher.remove(&name, deadline).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(Why::Unknown { .. } | Why::BadTopic(_)) => unknown(&name),
        Err(why @ Why::Late) => busy(why.to_string()),
        Err(why) => refuse(StatusCode::BAD_REQUEST, why.to_string()),
    }
}

fn name(uri: &Uri) -> Option<String> {
    uri.path().strip_prefix("/topics/").and_then(query::decode).map(Cow::into_owned)
}

fn bad_name() -> Response {
    refuse(StatusCode::BAD_REQUEST, "the topic is not percent-encoded UTF-8")
}

fn unknown(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no topic {name}"))
}
