//! `POST /revoke`: tokens that do not hold any more.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::{
    access::{revoked::Revoked, rules::Rules},
    json,
    shard::inbox::{Inbox, Message, Revocation},
    unit::parse_duration,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time};

use super::{
    admin::{Admin, App},
    reply::{busy, content_type, json as answer, refuse, wrong_type},
};
use crate::{http::body::NotRead, intake::publish::Form};

const BYTES_MAX: usize = 4096;
/// How often an inbox that is full is tried again.
const AGAIN: Duration = Duration::from_millis(5);
/// For all shards to end connections.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// What the body says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    jti: Option<Box<str>>,
    sub: Option<Box<str>>,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

pub(super) async fn revoke(State(admin): App, headers: HeaderMap, request: Request) -> Response {
    if Form::of(content_type(&headers)) != Some(Form::Json) {
        return wrong_type(&headers, "application/json");
    }
    let body = match admin.bodies.read(&headers, request, BYTES_MAX, "the longest of a revocation").await {
        Ok(body) => body,
        Err(NotRead::Bad(reason)) => return refuse(StatusCode::BAD_REQUEST, reason),
        Err(NotRead::Refused(refusal)) => return refusal,
    };
    let (revoked, lasts_us) = match parse(&body.bytes, longest_us(&admin.rules().access)) {
        Ok(parsed) => parsed,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let now_us = admin.watched.publisher.now().wall_us;
    let until_us = now_us.saturating_add(lasts_us);
    if let Err(full) = admin.watched.shared.tokens.revocations.revoke(revoked.clone(), until_us, now_us) {
        return refuse(StatusCode::INSUFFICIENT_STORAGE, full.to_string());
    }
    let saved = save(&admin, now_us).await;
    let closing = close(admin.watched.publisher.inboxes(), revoked.clone());
    let closed = time::timeout(CLOSED_WITHIN, closing).await;
    admin.watched.audit.note("revocation", &Told::of(&revoked, closed.as_ref().ok().copied()));
    if let Err(error) = saved {
        tracing::error!(error, "a revocation holds until the end of this process only");
        let reason = format!("it holds, but not after a restart: {error}");
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, reason);
    }
    match closed {
        Ok(closed) => answer(StatusCode::OK, &serde_json::json!({ "closed": closed })),
        Err(_) => busy("it holds, but a shard did not end its connections in time".to_owned()),
    }
}

/// What the audit has of a revocation.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    /// Connections; `None`: not all were reached in time.
    closed: Option<usize>,
}

impl<'a> Told<'a> {
    fn of(revoked: &'a Revoked, closed: Option<usize>) -> Self {
        let (sub, jti) = match revoked {
            Revoked::Sub(sub) => (Some(&**sub), None),
            Revoked::Jti(jti) => (None, Some(&**jti)),
        };
        Self { sub, jti, closed }
    }
}

/// How long a token may still hold that is good now: it may have been issued a little ahead of this clock, and it holds a
/// little beyond its end. `None`: for any time.
fn longest_us(rules: &Rules) -> Option<i64> {
    rules.lifetime_max_us.map(|us| us.saturating_add(2 * rules.leeway_us))
}

/// The error says what to write.
fn parse(body: &[u8], longest_us: Option<i64>) -> Result<(Revoked, i64), String> {
    const EXAMPLE: &str = r#"{"sub":"alice"} or {"jti":"…","for":"1h"}"#;
    let body = json::skip_byte_order_mark(body);
    // serde would take an array for an object's fields in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(format!("not like {EXAMPLE}: not a JSON object"));
    }
    let raw: Raw = serde_json::from_slice(body).map_err(|e| format!("not like {EXAMPLE}: {e}"))?;
    let revoked = match (raw.jti, raw.sub) {
        (Some(jti), None) if !jti.is_empty() => Revoked::Jti(jti),
        (None, Some(sub)) if !sub.is_empty() => Revoked::Sub(sub),
        _ => return Err(format!("needs one of jti and sub, like {EXAMPLE}")),
    };
    let lasts_us = match raw.lasts {
        Some(text) => {
            let lasts = parse_duration(&text).map_err(|instead| format!("for = {text:?}: {instead}"))?;
            i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX)
        }
        None => longest_us.ok_or("for is missing: [access] lifetime_max lets tokens live for any time")?,
    };
    Ok((revoked, lasts_us))
}

async fn save(admin: &Arc<Admin>, now_us: i64) -> Result<(), String> {
    let admin = admin.clone();
    let saved = tokio::task::spawn_blocking(move || {
        admin.watched.revocation_file.save(&admin.watched.shared.tokens.revocations, now_us)
    });
    saved.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Has all shards end the connections; gives how many there were.
async fn close(inboxes: &[Arc<Inbox>], revoked: Revoked) -> usize {
    let revoked = Arc::new(revoked);
    let mut closed = Vec::new();
    for inbox in inboxes {
        let (tell, told) = oneshot::channel();
        // Whoever asked may have given up.
        let answer = Box::new(move |count| {
            let _ = tell.send(count);
        });
        let mut message = Message::Revoke(Revocation { revoked: revoked.clone(), answer });
        while let Err(full) = inbox.push(message) {
            message = full;
            time::sleep(AGAIN).await;
        }
        closed.push(told);
    }
    let mut all = 0;
    for told in closed {
        all += told.await.unwrap_or(0);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_one_token_or_one_subject_and_anything_else_is_refused() {
        const DAY_US: i64 = 86_400_000_000;
        let parse = |body: &str| super::parse(body.as_bytes(), longest_us(&Rules::default()));
        assert_eq!(parse(r#"{"jti":"7","for":"1h"}"#), Ok((Revoked::Jti("7".into()), 3_600_000_000)));
        // Until the last token that is good now has ended for good.
        assert_eq!(parse(r#"{"sub":"a"}"#), Ok((Revoked::Sub("a".into()), DAY_US + 60_000_000)));
        for bad in [
            "",
            "{}",
            "[]",
            r#"["7",null,null]"#,
            r#"{"jti":"7","sub":"a"}"#,
            r#"{"jti":""}"#,
            r#"{"jti":7}"#,
            r#"{"sub":["a"]}"#,
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","iss":"b"}"#,
            r#"{"sub":"a","for":60}"#,
            r#"{"sub":"a","for":"soon"}"#,
            r#"{"sub":"a"} {}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(super::parse(br#"{"sub":"a"}"#, None).unwrap_err().contains("lifetime_max"));
    }
}
