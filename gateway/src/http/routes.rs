//! Which path is answered by what, what a key needs for it, and what holds for every answer.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use serde::Serialize;

use super::{
    admin::{Admin, App},
    config, drain,
    keys::Needs,
    page::Page,
    places::Place,
    probes, publish, reload,
    reply::{closing, refuse},
    revoke, sources, status, token, topics,
};
use crate::{
    admin_key::Permission,
    audit::{Audit, short},
};

/// What a path does for a method, and what it wants of who asks.
struct Take {
    method: Method,
    needs: Needs,
    handler: MethodRouter<Arc<Admin>>,
}

fn take<H, T>(method: &Method, needs: Needs, handler: H) -> Take
where
    H: Handler<T, Arc<Admin>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("routes are of known methods");
    Take { method: method.clone(), needs, handler: on(filter, handler) }
}

/// Every route. `HEAD` is answered as `GET`.
fn routes() -> Vec<(&'static str, Vec<Take>)> {
    const PUBLISH: Needs = Needs::Key(Permission::Publish);
    const METRICS: Needs = Needs::Key(Permission::Metrics);
    const READ: Needs = Needs::Key(Permission::Read);
    const ADMIN: Needs = Needs::Key(Permission::Admin);
    const NOTHING: Needs = Needs::Nothing;
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let named = vec![take(&get, READ, topics::show), take(&delete, PUBLISH, topics::remove)];
    vec![
        ("/", vec![take(&get, NOTHING, page)]),
        ("/publish", vec![take(&post, PUBLISH, publish::publish)]),
        ("/topics", vec![take(&get, READ, topics::list)]),
        ("/topics/{*name}", named),
        ("/status", vec![take(&get, READ, status::list), take(&post, PUBLISH, status::set)]),
        ("/sources", vec![take(&get, READ, sources::list)]),
        ("/config", vec![take(&get, ADMIN, config::show)]),
        ("/token", vec![take(&post, ADMIN, token::make)]),
        ("/revoke", vec![take(&post, ADMIN, revoke::revoke)]),
        ("/metrics", vec![take(&get, METRICS, probes::metrics)]),
        ("/reload", vec![take(&post, ADMIN, reload::reload)]),
        ("/drain", vec![take(&post, ADMIN, drain::drain)]),
        ("/livez", vec![take(&get, NOTHING, probes::healthz)]),
        ("/healthz", vec![take(&get, NOTHING, probes::healthz)]),
        ("/readyz", vec![take(&get, NOTHING, probes::readyz)]),
    ]
}

pub fn router(admin: &Arc<Admin>) -> Router {
    let (mut router, mut declared) = (Router::new(), HashMap::new());
    for (path, takes) in routes() {
        let (mut handlers, mut methods) = (MethodRouter::new(), Vec::new());
        for Take { method, needs, handler } in takes {
            handlers = handlers.merge(handler);
            methods.push((method, needs));
        }
        router = router.route(path, handlers);
        declared.insert(path, methods);
    }
    let guard = Guard { admin: admin.clone(), declared: declared.into() };
    router.fallback(not_found).layer(middleware::from_fn_with_state(guard, watch)).with_state(admin.clone())
}

/// Lets pass who may.
#[derive(Clone)]
struct Guard {
    admin: Arc<Admin>,
    /// By path.
    declared: Arc<HashMap<&'static str, Vec<(Method, Needs)>>>,
}

impl Guard {
    /// What the request needs, and where its path does not take its method, which ones it takes.
    fn asked(&self, request: &Request) -> (Needs, Option<String>) {
        let path = request.extensions().get::<MatchedPath>();
        let Some(methods) = path.and_then(|path| self.declared.get(path.as_str())) else {
            return (Needs::AnyKey, None);
        };
        let get = Method::GET;
        let method = if *request.method() == Method::HEAD { &get } else { request.method() };
        if let Some((_, needs)) = methods.iter().find(|(taken, _)| taken == method) {
            return (*needs, None);
        }
        let is_open = methods.iter().any(|(_, needs)| *needs == Needs::Nothing);
        let needs = if is_open { Needs::Nothing } else { Needs::AnyKey };
        let names = methods.iter().map(|(taken, _)| if *taken == get { "GET, HEAD" } else { taken.as_str() });
        (needs, Some(names.collect::<Vec<_>>().join(", ")))
    }
}

/// Refuses what may not pass. No answer is shown inside another page, or taken for what it is not.
async fn watch(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let (needs, allow) = guard.asked(&request);
    let mut asked = guard.admin.watched().audit.is_on().then(|| Asked::of(&request));
    let passed = guard.admin.pass(&request, needs).and_then(|key| match allow {
        None => Ok(key),
        Some(allow) => Err(method_not_allowed(request.uri(), &allow).into()),
    });
    let mut response = match passed {
        Ok(key) => {
            if let Some(key) = key {
                if let Some(asked) = &mut asked {
                    asked.key = Some(key.name.clone());
                }
                request.extensions_mut().insert(key);
            }
            next.run(request).await
        }
        Err(refusal) if has_body => closing(*refusal),
        Err(refusal) => *refusal,
    };
    if let Some(asked) = asked {
        asked.note(&guard.admin.watched().audit, response.status());
    }
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

/// What the audit has of a request.
#[derive(Serialize)]
struct Asked {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The name of the one that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    status: u16,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let place = request.extensions().get::<Arc<Place>>();
        Self {
            method: request.method().to_string(),
            path: short(request.uri().path()),
            address: place.map(|place| place.address().to_string()),
            key: None,
            status: 0,
        }
    }

    /// Writes, and who was refused for a key.
    fn note(mut self, audit: &Audit, status: StatusCode) {
        self.status = status.as_u16();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            audit.note("refusal", &self);
        } else if !matches!(&*self.method, "GET" | "HEAD" | "OPTIONS") {
            audit.note("write", &self);
        }
    }
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

fn method_not_allowed(uri: &Uri, allow: &str) -> Response {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} takes {allow}", uri.path()));
    let allow = HeaderValue::from_str(allow).expect("names of methods stand in a header");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}
