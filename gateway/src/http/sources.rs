//! `GET /sources`: what brings updates, and how it is.

use std::sync::atomic::Ordering;

use axum::{extract, response::Response};
use engine::topic::pattern::Pattern;
use serde::Serialize;

use super::admin::App;
use crate::source::running::Entry;

/// A source as the list has it.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    /// What its health is the health of.
    topics: Vec<&'a str>,
    state: State,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Since it brought something, or began.
    age_ms: u64,
    #[serde(flatten)]
    server: Option<Server>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It has brought nothing yet.
    Waiting,
    Live,
    /// It can bring nothing until further notice.
    Down,
}

/// Of a source that connects to one.
#[derive(Serialize)]
struct Server {
    connected: bool,
    connects: u64,
    messages: u64,
    items: u64,
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry, now_us: u64) -> Self {
        let Entry { source, freshness, activity, connections, .. } = entry;
        let reason = activity.down();
        let state = match reason {
            Some(_) => State::Down,
            None if activity.has_reported() => State::Live,
            None => State::Waiting,
        };
        let server = connections.as_ref().map(|counted| Server {
            connected: counted.connected.load(Ordering::Relaxed),
            connects: counted.connects.load(Ordering::Relaxed),
            messages: counted.messages.load(Ordering::Relaxed),
            items: counted.publications.load(Ordering::Relaxed),
        });
        Self {
            name: &freshness.name,
            kind: source.kind(),
            topics: freshness.topics.iter().map(Pattern::as_str).collect(),
            state,
            reason,
            age_ms: activity.age_us(now_us) / 1000,
            server,
        }
    }
}

pub(super) async fn list(extract::State(admin): App) -> Response {
    let (entries, now) = (admin.watched.sources.entries(), admin.watched.publisher.now());
    let rows = || {
        let rows: Vec<Row<'_>> = entries.iter().map(|entry| Row::of(entry, now.mono_us)).collect();
        serde_json::to_vec(&rows).expect("texts and numbers are always JSON")
    };
    let text = admin.answers.share_same("/sources", || rows().into()).await;
    admin.answer(text.map(Some)).expect("there is a list")
}
