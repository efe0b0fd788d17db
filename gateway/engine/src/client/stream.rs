//! Streams over HTTP: `GET /sse` and `GET /stream`, answered for as long as the connection lasts.

use proto::{Request, handshake};

use super::{
    answers::Answer,
    cors::{Cors, Field},
};
use crate::protocol::{
    encoding::Encoding,
    request::{Since, parse_since},
};

/// What a path leads to.
pub(super) fn encoding_of(path: &str) -> Option<Encoding> {
    match path {
        "/sse" => Some(Encoding::Sse { ids: true }),
        "/stream" => Some(Encoding::Ndjson),
        _ => None,
    }
}

/// The head of the answer. What follows it has no length and is not chunked: it ends with the connection (RFC 9112,
/// section 6.3), so that a client of HTTP/1.0 reads it too. Proxies are told not to keep it, nor to wait for more of it.
pub(super) fn head(encoding: Encoding, cors: &Cors) -> Vec<u8> {
    let content_type = match encoding {
        Encoding::Sse { .. } => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let own = [("Content-Type", content_type), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];
    let fields: Vec<Field<'_>> = own.into_iter().chain(cors.fields()).collect();
    let mut head = Vec::with_capacity(256);
    handshake::begin(&mut head, 200, &fields);
    head
}

/// What a browser is told that asks whether a page may ask.
pub(super) fn preflight(cors: &Cors) -> Answer {
    let allow = ("Allow", "GET, HEAD, OPTIONS");
    let fields: Vec<Field<'_>> = [allow].into_iter().chain(cors.preflight()).collect();
    let mut bytes = Vec::with_capacity(256);
    handshake::begin(&mut bytes, 204, &fields);
    Answer::Http { status: 204, bytes, refused: None }
}

/// Where a client of server-sent events stood, which comes back by itself. What is none of ours counts as absent.
pub(super) fn last_event(request: &Request<'_>, encoding: Encoding) -> Option<Since> {
    let is_sse = matches!(encoding, Encoding::Sse { .. });
    request.header("last-event-id").filter(|_| is_sse).and_then(|id| parse_since(id).ok())
}
