//! Which path is answered by what, and what holds for every answer.

use std::sync::Arc;

use axum::{
    Router,
    body::HttpBody,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    admin::{Admin, App},
    page::Page,
    places::Place,
    probes, publish,
    reply::{closing, refuse},
    status, topics,
};

pub fn router(admin: &Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/publish", post(publish::publish))
        .route("/topics", get(topics::list))
        .route("/topics/{*name}", get(topics::show).delete(topics::remove))
        .route("/status", get(status::list).post(status::set))
        .route("/metrics", get(probes::metrics))
        .route("/livez", get(probes::healthz))
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(admin.clone(), guard))
        .with_state(admin.clone())
}

/// Refuses what may not pass. No answer is shown inside another page, or taken for what it is not.
async fn guard(State(admin): App, request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let mut response = match admin.refusal_of(&request) {
        None => next.run(request).await,
        Some(refusal) if has_body => closing(refusal),
        Some(refusal) => refusal,
    };
    // A place in reserve is for one request.
    if place.is_some_and(|place| place.is_in_reserve()) {
        response = closing(response);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

async fn page(State(admin): App) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, Page::POLICY),
    ];
    (headers, admin.page.html()).into_response()
}

async fn not_found(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {}", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> Response {
    let allow = match uri.path() {
        "/publish" => "POST",
        "/status" => "GET, HEAD, POST",
        path if path.starts_with("/topics/") => "GET, HEAD, DELETE",
        _ => "GET, HEAD",
    };
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes {allow}", uri.path()));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}
