//! What a request head is answered, as bytes.

use std::net::{IpAddr, SocketAddr};

use proto::{Refusal, Request, deflate::Agreement, encode, handshake};

use super::{
    close,
    cors::{Cors, Field},
    gate,
    refused::Refused,
};
use crate::{
    access::verify::Credential,
    protocol::{
        encoding::{Encoding, Wire},
        request::Subscribe,
    },
    settings::Refusing,
};

/// The answer and what follows it.
#[derive(Debug)]
pub enum Answer {
    /// A whole HTTP answer; then the connection ends. From 400 on it is a refusal, by a rule of the gateway's where that is
    /// named.
    Http {
        status: u16,
        bytes: Vec<u8>,
        refused: Option<Refused>,
    },
    /// The 101 and a close frame, which tell what an HTTP refusal of this status would.
    Close {
        status: u16,
        bytes: Vec<u8>,
        refused: Option<Refused>,
    },
    Upgrade(Box<Upgrade>),
}

/// What a subscriber's request is answered that nothing but its token, or what is known of its topic, may still refuse.
#[derive(Debug)]
pub struct Upgrade {
    /// The 101, or the head of a stream.
    pub head: Vec<u8>,
    pub wire: Wire,
    pub deflate: Option<Agreement>,
    /// An offer to compress was not taken for want of room.
    pub declined: bool,
    /// What rode on the URL.
    pub subscribe: Option<Subscribe>,
    /// Not verified yet. `None`: none was shown, or none is looked for.
    pub token: Option<Credential>,
    /// A refusal is told by the 101 and a close frame.
    pub closes: bool,
    /// Fields of an HTTP answer that refuses it.
    pub cors: Cors,
    /// It was asked for by HEAD: its head is all of the answer.
    pub is_head: bool,
}

impl Upgrade {
    /// The answer that refuses it after all. `fields`: of an HTTP answer.
    pub fn refuse(self, refused: Refused, reason: &str, fields: &[Field<'_>]) -> Vec<u8> {
        let status = refused.status();
        if let Some(code) = close::code_of_refusal(status).filter(|_| self.closes) {
            let mut bytes = self.head;
            encode::close(&mut bytes, code, reason);
            return bytes;
        }
        let fields: Vec<Field<'_>> = fields.iter().copied().chain(self.cors.fields()).collect();
        let mut bytes = Vec::with_capacity(256);
        handshake::refuse(&mut bytes, status, reason, &fields);
        if self.is_head {
            cut_body(&mut bytes);
        }
        bytes
    }
}

/// What is said to whoever shows no token, or one that is bad (RFC 6750, section 3).
pub const NO_TOKEN: &[Field<'static>] = &[("WWW-Authenticate", "Bearer")];
pub const BAD_TOKEN: &[Field<'static>] = &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")];

/// The HTTP answer of a refusal.
pub fn refusal(refusal: &Refusal) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    handshake::refuse(&mut out, refusal.status, &refusal.reason, &[]);
    if refusal.is_head {
        cut_body(&mut out);
    }
    out
}

pub(super) fn refuse(status: u16, reason: &str) -> Answer {
    refuse_with(status, reason, &[])
}

pub(super) fn refuse_with(status: u16, reason: &str, fields: &[Field<'_>]) -> Answer {
    let mut bytes = Vec::with_capacity(256);
    handshake::refuse(&mut bytes, status, reason, fields);
    Answer::Http { status, bytes, refused: None }
}

/// Refuses who is to hear it by HTTP whatever `[server] refuse` says.
pub(super) fn refuse_by_http(refused: Refused, reason: &str, fields: &[Field<'_>]) -> Answer {
    let status = refused.status();
    let mut bytes = Vec::with_capacity(256);
    handshake::refuse(&mut bytes, status, reason, fields);
    Answer::Http { status, bytes, refused: Some(refused) }
}

/// Refuses a subscriber. A browser shows its page nothing of an HTTP answer to a WebSocket, so there 101 and a close
/// frame tell it, unless `refusing` names one form for all. `fields`: of the HTTP answer.
pub(super) fn turn_away(
    request: &Request<'_>,
    refusing: Refusing,
    refused: Refused,
    reason: &str,
    fields: &[Field<'_>],
) -> Answer {
    let status = refused.status();
    let code = close::code_of_refusal(status).filter(|_| closes(request, refusing));
    let refused = Some(refused);
    let mut bytes = Vec::with_capacity(256);
    if let (Some(code), Ok(upgrade)) = (code, request.upgrade()) {
        // A browser gives up a connection that takes none of what it offers.
        let chosen = upgrade.protocols().find_map(Encoding::of).and_then(Encoding::subprotocol);
        handshake::accept(&mut bytes, upgrade.key(), chosen, None);
        encode::close(&mut bytes, code, reason);
        return Answer::Close { status, bytes, refused };
    }
    handshake::refuse(&mut bytes, status, reason, fields);
    Answer::Http { status, bytes, refused }
}

/// Whether a refusal is told by 101 and a close frame.
pub(super) fn closes(request: &Request<'_>, refusing: Refusing) -> bool {
    match refusing {
        Refusing::Auto => gate::names_origin(request),
        Refusing::Http => false,
        Refusing::Close => true,
    }
}

pub(super) fn plain(status: u16, content_type: &str, body: &[u8]) -> Answer {
    let mut bytes = Vec::with_capacity(192);
    handshake::respond(&mut bytes, status, content_type, body);
    Answer::Http { status, bytes, refused: None }
}

pub(super) fn without_body(mut answer: Answer) -> Answer {
    if let Answer::Http { bytes, .. } = &mut answer {
        cut_body(bytes);
    }
    answer
}

fn cut_body(answer: &mut Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    answer.truncate(end.map_or(answer.len(), |end| end + 4));
}

/// For a loopback peer. A listener on all addresses is reached at the peer's own.
pub(super) fn redirect(mut admin: SocketAddr, peer: IpAddr, scheme: &str) -> Answer {
    if admin.ip().is_unspecified() {
        admin.set_ip(peer);
    }
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {scheme}://{admin}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    Answer::Http { status: 307, bytes: head.into_bytes(), refused: None }
}
