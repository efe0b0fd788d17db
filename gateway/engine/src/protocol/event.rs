//! Server-sent events (WHATWG HTML, section 9.2.5).
//!
//! ```text
//! event: batch
//! data: {"op":"batch","class":1,…}
//! id: 8f0c2a77d1e94b02:7
//! ```

use std::io::Write;

use crate::topic::epoch::Epoch;

/// Keeps a connection on which nothing was sent for long from being taken for dead. It is no event.
pub const COMMENT: &[u8] = b":\n\n";

/// Room for what stands around a message.
pub const EVENT_BYTES_MAX: usize = 80;

/// The beginning of an event, up to its message.
pub fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// Its end, behind a message of one line. `id`: where a client stands that has it, which it says when it comes back.
pub fn end(out: &mut Vec<u8>, id: Option<(Epoch, u64)>) {
    if let Some((epoch, version)) = id {
        write!(out, "\nid: {epoch}:{version}").expect("writing to memory does not fail");
    }
    out.extend_from_slice(b"\n\n");
}

/// A client that loses the connection comes back after so long.
pub fn retry(after_ms: u64) -> Vec<u8> {
    format!("retry: {after_ms}\n\n").into_bytes()
}

/// What a message of the gateway is, by the member that it begins with.
pub fn name_of(json: &[u8]) -> &str {
    let name = json.strip_prefix(br#"{"op":""#).and_then(|rest| rest.split(|byte| *byte == b'"').next());
    name.and_then(|name| std::str::from_utf8(name).ok()).expect("a message of the gateway begins with its op")
}

/// JSON on one line: a line break can only stand between its tokens, where a space is as good (RFC 8259, section 2).
pub fn unbroken(json: &mut [u8]) {
    for byte in json {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_message_on_one_line_whatever_stands_in_it() {
        let mut out = Vec::new();
        begin(&mut out, name_of(br#"{"op":"batch","class":1}"#));
        let start = out.len();
        out.extend_from_slice(b"{\"op\":\"batch\",\"data\":{\r\n\"a\":\n\"b\\n\"}}");
        unbroken(&mut out[start..]);
        end(&mut out, Epoch::parse("8f0c2a77d1e94b02").map(|epoch| (epoch, 7)));
        let expected =
            "event: batch\ndata: {\"op\":\"batch\",\"data\":{  \"a\": \"b\\n\"}}\nid: 8f0c2a77d1e94b02:7\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(retry(1500), b"retry: 1500\n\n");
    }
}
