//! `GET /status` and `POST /status`: what is not live, and what publishers say of it.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::{protocol::status, sequencer::topics::Doubter, topic::pattern::Pattern};
use serde::Deserialize;

use super::{
    admin::{Admin, App},
    object,
    reply::{json as answer, refuse},
};
use crate::{admin_key::AdminKey, health::Origin};

/// Of `POST /status`: its body, patterns and reason.
const BYTES_MAX: usize = 1 << 20;
const TOPICS_MAX: usize = 1000;
const REASON_BYTES_MAX: usize = 1000;

pub(super) async fn list(State(admin): App) -> Response {
    let rows = || serde_json::to_vec(&admin.watched.health.list()).expect("texts are always JSON");
    let text = admin.answers.share_same("/status", || rows().into()).await;
    admin.answer(text.map(Some)).expect("there is a list")
}

/// What a publisher says of its topics.
struct Said {
    topics: Vec<Pattern>,
    state: status::TopicState,
    reason: String,
}

/// The same as it stands in the body.
#[derive(Deserialize)]
struct RawSaid {
    topics: Vec<String>,
    state: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn set(State(admin): App, headers: HeaderMap, request: Request) -> Response {
    let key = request.extensions().get::<AdminKey>().cloned();
    let body = match object::read(&admin, &headers, request, BYTES_MAX, "the longest of a status").await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let bytes = body.bytes.clone();
    let parsed = admin.bodies.workers.run_sized(body.bytes.len(), move || parse(&bytes)).await;
    let said = match parsed {
        Ok(said) => said,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let denied = |key: &AdminKey| {
        let topics = said.topics.iter().find(|topics| !key.writes_all(topics))?;
        Some(refuse(StatusCode::FORBIDDEN, key.denied(topics.as_str())))
    };
    if let Some(refusal) = key.as_ref().and_then(denied) {
        return refusal;
    }
    match apply(&admin, said) {
        Ok(()) => answer(StatusCode::OK, &serde_json::json!({})),
        Err(reason) => refuse(StatusCode::BAD_REQUEST, reason),
    }
}

fn parse(body: &[u8]) -> Result<Said, String> {
    const EXAMPLE: &str = r#"{"topics":["a.*"],"state":"stale","reason":"…"}"#;
    let said: RawSaid = object::parse(body, EXAMPLE)?;
    let state = status::TopicState::parse(&said.state)
        .ok_or_else(|| format!("state {:?}: write \"live\", \"stale\" or \"gap\"", said.state))?;
    if !(1..=TOPICS_MAX).contains(&said.topics.len()) {
        return Err(format!("there are {} topics; 1 to {TOPICS_MAX} may be", said.topics.len()));
    }
    let parse = |text: &String| Pattern::parse(text).map_err(|bad| bad.to_string());
    let topics = said.topics.iter().map(parse).collect::<Result<_, _>>()?;
    if said.reason.len() > REASON_BYTES_MAX {
        return Err(format!("the reason has {} bytes; the most is {REASON_BYTES_MAX}", said.reason.len()));
    }
    Ok(Said { topics, state, reason: said.reason })
}

fn apply(admin: &Admin, said: Said) -> Result<(), String> {
    let Said { topics, state, reason } = said;
    let now_us = admin.watched.publisher.now().wall_us;
    let health = &admin.watched.health;
    let told = health.set(Origin::Publisher, topics.clone(), state, &reason, now_us);
    told.map_err(|full| full.to_string())?;
    admin.watched.publisher.doubt(Doubter::Publisher, topics, state == status::TopicState::Gap);
    Ok(())
}
