//! HTTP that comes to a TLS listener.

/// What tells an HTTP request from TLS.
pub const METHOD_BYTES: usize = 4;

/// Whether the first bytes on a TLS listener, `held` and then `bytes`, may be the beginning of an HTTP request;
/// with [`METHOD_BYTES`] of them they are. They may have come in parts, or have waited for their turn.
pub fn may_be_http(held: &[u8], bytes: &[u8]) -> bool {
    const METHODS: [&[u8; METHOD_BYTES]; 9] =
        [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"CONN", b"TRAC"];
    let first = || held.iter().chain(bytes).take(METHOD_BYTES);
    first().next().is_some() && METHODS.iter().any(|method| first().eq(method.iter().take(first().count())))
}

/// What a request that begins with `first` is answered: of HEAD, no body.
pub fn answer_to_http(first: &[u8]) -> Vec<u8> {
    const BODY: &str = "{\"code\":400,\"reason\":\"this listener speaks TLS; use wss:// or https://\"}\n";
    format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{}",
        BODY.len(),
        if first.starts_with(b"HEAD") { "" } else { BODY }
    )
    .into_bytes()
}
