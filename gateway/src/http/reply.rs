//! Short answers: JSON with a code and a reason.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("none")
}

pub fn wrong_type(headers: &HeaderMap, right: &str) -> Response {
    let reason = format!("content type {}: send {right}", content_type(headers));
    closing(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
}

#[derive(Serialize)]
struct Refusal<'a> {
    code: u16,
    reason: &'a str,
}

pub fn refuse(status: StatusCode, reason: impl AsRef<str>) -> Response {
    json(status, &Refusal { code: status.as_u16(), reason: reason.as_ref() })
}

/// What is left of the request is not read as the next one.
pub fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 503, and when to come back.
pub fn busy(reason: String) -> Response {
    retry_later(refuse(StatusCode::SERVICE_UNAVAILABLE, reason))
}

pub fn retry_later(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("numbers and text are always JSON");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
