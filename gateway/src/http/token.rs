//! `POST /token`: a token signed with a key of this process, for whoever may do everything here.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::{
    topic::{encoded::SUB_BYTES_MAX, pattern::Pattern},
    unit::parse_duration,
};
use serde::Deserialize;

use super::{
    admin::App,
    object,
    reply::{json as answer, refuse},
};
use crate::access::mint::Minted;

const BYTES_MAX: usize = 16 << 10;
const INTERVAL_MS_MAX: u64 = 3_600_000;
/// How long one holds where nothing is said, and at most.
const LIFE: Duration = Duration::from_secs(600);
const LIFE_MAX: Duration = Duration::from_secs(3_600);

/// What the body says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    sub: Option<String>,
    subscribe: Vec<String>,
    publish: Vec<String>,
    auto: Vec<String>,
    interval_ms_min: Option<u64>,
    connections: Option<u64>,
    ttl: Option<String>,
}

pub(super) async fn make(State(admin): App, headers: HeaderMap, request: Request) -> Response {
    let body = match object::read(&admin, &headers, request, BYTES_MAX, "the longest of a token").await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let now_us = admin.watched.publisher.now().wall_us;
    let minted = match parse(&body.bytes, now_us.unsigned_abs() / 1_000_000) {
        Ok(minted) => minted,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let held = admin.rules();
    let rules = &held.access;
    let exp_us = minted.exp_s(rules) * 1_000_000;
    match minted.sign(rules, &admin.watched.keys.own()) {
        Ok(token) => answer(StatusCode::OK, &serde_json::json!({ "token": token, "exp": exp_us })),
        Err(reason) => refuse(StatusCode::INTERNAL_SERVER_ERROR, reason),
    }
}

/// The error says what to write.
fn parse(body: &[u8], now_s: u64) -> Result<Minted, String> {
    const EXAMPLE: &str = r#"{"sub":"alice","subscribe":["fx.*"],"ttl":"10m"}"#;
    let raw: Raw = object::parse(body, EXAMPLE)?;
    if let Some(sub) = raw.sub.as_ref().filter(|sub| !(1..=SUB_BYTES_MAX).contains(&sub.len())) {
        return Err(format!("sub has {} bytes; 1 to {SUB_BYTES_MAX} may be", sub.len()));
    }
    if raw.interval_ms_min.is_some_and(|ms| ms > INTERVAL_MS_MAX) {
        return Err(format!("interval_ms_min: the most is {INTERVAL_MS_MAX}"));
    }
    if raw.connections == Some(0) {
        return Err("connections: 1 or more".to_owned());
    }
    let lives = match &raw.ttl {
        Some(ttl) => parse_duration(ttl).map_err(|instead| format!("ttl = {ttl:?}: {instead}"))?,
        None => LIFE,
    };
    if lives > LIFE_MAX || lives.as_secs() == 0 {
        return Err("ttl: 1s to 1h may be".to_owned());
    }
    let patterns = |texts: &[String]| {
        let parsed: Result<Vec<Pattern>, _> = texts.iter().map(|text| Pattern::parse(text)).collect();
        parsed.map_err(|bad| bad.to_string())
    };
    Ok(Minted {
        subscribe: patterns(&raw.subscribe)?,
        publish: patterns(&raw.publish)?,
        auto: patterns(&raw.auto)?,
        sub: raw.sub,
        interval_ms_min: raw.interval_ms_min,
        connections: raw.connections,
        now_s,
        lives_s: lives.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use crate::http::token::*;

    #[test]
    fn a_body_says_what_the_token_is_to_say_and_anything_else_is_refused() {
        let minted = parse(br#"{"sub":"a","subscribe":["fx.*"],"ttl":"1m"}"#, 100).unwrap();
        assert_eq!((minted.lives_s, minted.subscribe[0].as_str()), (60, "fx.*"));
        assert_eq!(parse(b"{}", 100).unwrap().lives_s, 600);
        for bad in [
            r#"[]"#,
            r#"{"sub":""}"#,
            r#"{"sub":7}"#,
            r#"{"subscribe":"a"}"#,
            r#"{"subscribe":["a*"]}"#,
            r#"{"ttl":"2h"}"#,
            r#"{"ttl":"0s"}"#,
            r#"{"ttl":60}"#,
            r#"{"connections":0}"#,
            r#"{"act_for":true}"#,
        ] {
            assert!(parse(bad.as_bytes(), 100).is_err(), "{bad}");
        }
    }
}
