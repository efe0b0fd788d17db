//! HTTP heads to be sent, written at the end of a caller's buffer (RFC 6455, 4).
//!
//! Names and values of headers are the caller's own; they must not hold line breaks.

use std::io::Write;

use crate::deflate::{Agreement, OFFER};

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Appends the 101. `key` is that of the [`Upgrade`](crate::Upgrade); `subprotocol` one of those
/// offered; `deflate` what [`Upgrade::deflate`](crate::Upgrade::deflate) gave, if it is wanted.
pub fn accept(out: &mut Vec<u8>, key: &str, subprotocol: Option<&str>, deflate: Option<&Agreement>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    header(out, "Upgrade", "websocket");
    header(out, "Connection", "Upgrade");
    header(out, "Sec-WebSocket-Accept", &accept_value(key));
    if let Some(subprotocol) = subprotocol {
        header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(deflate) = deflate {
        print(out, format_args!("Sec-WebSocket-Extensions: {deflate}\r\n"));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole answer with the one-line JSON body `{"code":STATUS,"reason":"…"}` and
/// `Connection: close`. 405, 426 and 429 get the headers that HTTP wants with them (`Allow`,
/// `Sec-WebSocket-Version`, `Retry-After`) where `extra_headers` has no such one.
pub fn refuse(out: &mut Vec<u8>, status: u16, reason: &str, extra_headers: &[(&str, &str)]) {
    let mut body = Vec::with_capacity(reason.len() + 32);
    print(&mut body, format_args!("{{\"code\":{status},\"reason\":\""));
    escape(&mut body, reason);
    body.extend_from_slice(b"\"}\n");
    let usual: &[(&str, &str)] = match status {
        405 => &[("Allow", "GET")],
        426 => &[("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
        429 => &[("Retry-After", "1")],
        _ => &[],
    };
    let given = |name: &str| extra_headers.iter().any(|(extra, _)| extra.eq_ignore_ascii_case(name));
    let missing = usual.iter().filter(|(name, _)| !given(name));
    answer(out, status, "application/json", &body, extra_headers.iter().chain(missing));
}

/// Appends a whole plain answer with `Connection: close`.
pub fn respond(out: &mut Vec<u8>, status: u16, content_type: &str, body: &[u8]) {
    answer(out, status, content_type, body, [].iter());
}

/// Appends the head of an answer that goes on until the connection ends, or that has no body.
pub fn begin(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)]) {
    start(out, status);
    for (name, value) in headers {
        header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a client's opening request. `target` begins with `/`; `nonce` is what
/// [`Conn::client`](crate::Conn::client) was given; `deflate` as it was told
/// [`Conn::offering_deflate`](crate::Conn::offering_deflate).
pub fn request(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    nonce: [u8; 16],
    protocols: &[&str],
    deflate: bool,
) {
    request_with(out, host, target, nonce, protocols, deflate, &[]);
}

/// As [`request`], with more header fields.
pub fn request_with(
    out: &mut Vec<u8>,
    host: &str,
    target: &str,
    nonce: [u8; 16],
    protocols: &[&str],
    deflate: bool,
    extra_headers: &[(&str, &str)],
) {
    print(out, format_args!("GET {target} HTTP/1.1\r\n"));
    header(out, "Host", host);
    header(out, "Upgrade", "websocket");
    header(out, "Connection", "Upgrade");
    header(out, "Sec-WebSocket-Key", &key(nonce));
    header(out, "Sec-WebSocket-Version", "13");
    if !protocols.is_empty() {
        header(out, "Sec-WebSocket-Protocol", &protocols.join(", "));
    }
    if deflate {
        header(out, "Sec-WebSocket-Extensions", OFFER);
    }
    for (name, value) in extra_headers {
        header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn key(nonce: [u8; 16]) -> String {
    base64_simd::STANDARD.encode_to_string(nonce)
}

/// The value of `Sec-WebSocket-Accept` that belongs to a key (RFC 6455, 4.2.2).
pub(crate) fn accept_value(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    base64_simd::STANDARD.encode_to_string(sha1.digest().bytes())
}

fn answer<'a>(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &[u8],
    headers: impl Iterator<Item = &'a (&'a str, &'a str)>,
) {
    start(out, status);
    header(out, "Content-Type", content_type);
    print(out, format_args!("Content-Length: {}\r\n", body.len()));
    for (name, value) in headers {
        header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

fn start(out: &mut Vec<u8>, status: u16) {
    print(out, format_args!("HTTP/1.1 {status} {}\r\n", phrase(status)));
    header(out, "Connection", "close");
}

fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(!value.contains(['\r', '\n']), "line break in the value of {name}");
    print(out, format_args!("{name}: {value}\r\n"));
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing into a Vec cannot fail");
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// RFC 8259, 7.
fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => print(out, format_args!("\\u{byte:04x}")),
            _ => out.push(byte),
        }
    }
}
