//! `POST /revoke`: tokens that do not hold any more.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::{
    access::{revoked::Revoked, rules::Rules},
    shard::inbox::{Inbox, Message, Revocation},
    unit::parse_duration,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking, time};

use super::{
    admin::{Admin, App},
    object,
    reply::{busy, json as answer, refuse},
};
use crate::intake::told::tell;

const BYTES_MAX: usize = 4096;
/// For all shards to end connections, and for the disk.
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
    let body = match object::read(&admin, &headers, request, BYTES_MAX, "the longest of a revocation").await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
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
    // It is carried out also where nobody waits for the answer any more.
    let done = tokio::spawn(carry_out(admin.clone(), revoked, until_us));
    match time::timeout(CLOSED_WITHIN, done).await {
        Ok(Ok((Ok(()), Some(closed)))) => answer(StatusCode::OK, &serde_json::json!({ "closed": closed })),
        Ok(Ok((Err(error), _))) => {
            let reason = format!("it holds, but not after a restart: {error}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, reason)
        }
        _ => busy("it holds, but was not saved, or a shard did not end its connections, in time".to_owned()),
    }
}

/// Saves it and ends connections; gives how many those were. `None`: a shard did not answer in time. That shard is told
/// still.
async fn carry_out(
    admin: Arc<Admin>,
    revoked: Revoked,
    until_us: i64,
) -> (Result<(), String>, Option<usize>) {
    let closing = tokio::spawn(close(admin.watched.publisher.inboxes().to_vec(), revoked.clone()));
    let ended = async {
        let closed = time::timeout(CLOSED_WITHIN, closing).await.ok().and_then(Result::ok);
        admin.watched.audit.note("revocation", &Told::of(&revoked, closed));
        closed
    };
    tokio::join!(save(&admin, revoked.clone(), until_us), ended)
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
    let raw: Raw = object::parse(body, EXAMPLE)?;
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

async fn save(admin: &Arc<Admin>, revoked: Revoked, until_us: i64) -> Result<(), String> {
    let (file, shared) = (admin.watched.revocation_file.clone(), admin.watched.shared.clone());
    let now_us = admin.watched.publisher.now().wall_us;
    let saved = spawn_blocking(move || file.add(revoked, until_us, &shared.tokens.revocations, now_us)).await;
    let saved = saved.map_err(|error| error.to_string()).and_then(|saved| saved.map_err(|e| e.to_string()));
    saved.inspect_err(|error| tracing::error!(error, "a revocation holds until the end of this process only"))
}

/// Has all shards end the connections; gives how many there were.
async fn close(inboxes: Vec<Arc<Inbox>>, revoked: Revoked) -> usize {
    let revoked = Arc::new(revoked);
    let (count, mut counts) = mpsc::unbounded_channel();
    let message = || {
        let count = count.clone();
        // Whoever asked may have given up.
        let answer = Box::new(move |closed| {
            let _ = count.send(closed);
        });
        Message::Revoke(Revocation { revoked: revoked.clone(), answer })
    };
    tell(&inboxes, message).await;
    drop(count);
    let mut all = 0;
    while let Some(closed) = counts.recv().await {
        all += closed;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_takes_nothing_keeps_no_other_from_ending_connections() {
        let inboxes: Vec<_> = (0..3).map(|_| Inbox::new(1, 1, net::Waker::unconnected())).collect();
        while inboxes[0].push(Message::Stop).is_ok() {}
        let closing = tokio::spawn(close(inboxes.clone(), Revoked::Sub("a".into())));
        time::sleep(CLOSED_WITHIN).await;
        let answer = |inbox: &Inbox, closed| {
            while let Some(message) = inbox.pop() {
                if let Message::Revoke(revocation) = message {
                    return (revocation.answer)(closed);
                }
            }
            panic!("a shard was not told");
        };
        answer(&inboxes[1], 1);
        answer(&inboxes[2], 2);
        // It hangs no longer.
        while let Some(Message::Stop) = inboxes[0].pop() {}
        time::sleep(CLOSED_WITHIN).await;
        answer(&inboxes[0], 4);
        assert_eq!(closing.await.unwrap(), 7);
    }

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
