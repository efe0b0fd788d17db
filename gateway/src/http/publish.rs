//! `POST /publish`.

use std::sync::atomic::Ordering;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use engine::sequencer::once::Bounds;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    admin::App,
    reply::{content_type, json, retry_later, wrong_type},
};
use crate::{
    admin_key::AdminKey,
    http::body::NotRead,
    intake::publish::{self, Form, Problem, Rejected, Way},
};

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

#[derive(Serialize)]
struct Refusal {
    code: u16,
    accepted: usize,
    index: usize,
    reason: String,
}

fn refusal(status: StatusCode, accepted: usize, index: usize, reason: String) -> Response {
    json(status, &Refusal { code: status.as_u16(), accepted, index, reason })
}

pub(super) async fn publish(State(admin): App, headers: HeaderMap, request: Request) -> Response {
    if let Some(refusal) = admin.refuse_if_chained() {
        return refusal;
    }
    let Some(form) = Form::of(content_type(&headers)) else {
        return wrong_type(&headers, "application/json or application/x-ndjson");
    };
    let writer = request.extensions().get::<AdminKey>().cloned();
    let rules = admin.rules();
    let limits = &rules.limits;
    let bound = "[limits] publish_bytes";
    let body = match admin.bodies.read(&headers, request, limits.publish_bytes, bound).await {
        Ok(body) => body,
        Err(NotRead::Bad(reason)) => return refusal(StatusCode::BAD_REQUEST, 0, 0, reason),
        Err(NotRead::Refused(refusal)) => return refusal,
    };
    let way = Way {
        publisher: &admin.watched.publisher,
        workers: &admin.bodies.workers,
        writer: writer.as_ref(),
        once: Bounds::of(limits),
        checks: &rules.checks,
        atomic_updates: limits.atomic_updates,
        deadline: Instant::now() + limits.admin_body,
    };
    match publish::publish(&way, form, &body.bytes).await {
        Ok(accepted) => json(StatusCode::OK, &Accepted { accepted }),
        Err(Rejected { accepted, index, reason, problem }) => {
            let status = match problem {
                Problem::Publication => StatusCode::BAD_REQUEST,
                Problem::Denied => StatusCode::FORBIDDEN,
                Problem::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
                Problem::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            };
            let refusal = refusal(status, accepted, index, reason);
            if problem == Problem::NoRoom {
                admin.counters.publishes_late.fetch_add(1, Ordering::Relaxed);
                return retry_later(refusal);
            }
            refusal
        }
    }
}
