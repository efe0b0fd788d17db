//! Bodies that are one JSON object: read, and made into what they say.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::json;
use serde::de::DeserializeOwned;

use super::{
    admin::Admin,
    body::{Held, NotRead},
    reply::{content_type, refuse, wrong_type},
};
use crate::intake::publish::Form;

/// The body of a request that sends JSON, else what it is answered. `longest` says in a refusal what `bytes_max` bounds.
pub(super) async fn read<'a>(
    admin: &'a Admin,
    headers: &HeaderMap,
    request: Request,
    bytes_max: usize,
    longest: &str,
) -> Result<Held<'a>, Box<Response>> {
    if Form::of(content_type(headers)) != Some(Form::Json) {
        return Err(wrong_type(headers, "application/json").into());
    }
    admin.bodies.read(headers, request, bytes_max, longest).await.map_err(|not| match not {
        NotRead::Bad(reason) => refuse(StatusCode::BAD_REQUEST, reason).into(),
        NotRead::Refused(refusal) => refusal.into(),
    })
}

/// The fields of the object. The error shows one that is right.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, String> {
    let body = json::skip_byte_order_mark(body);
    // serde would take an array for an object's fields in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(format!("not like {example}: not a JSON object"));
    }
    json::check_levels(body, json::LEVELS_MAX + 1)?;
    serde_json::from_slice(body).map_err(|error| format!("not like {example}: {error}"))
}
