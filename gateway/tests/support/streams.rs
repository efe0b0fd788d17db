//! Clients of HTTP answers that go on: server-sent events, and lines of NDJSON.

use engine::protocol::{encoding::Encoding, request::AUTO};
use serde_json::Value;

use super::{Peer, World, subscriber::Judge};

/// One message, with what an event says beside it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Said {
    /// Of an event; empty where there is none.
    pub name: String,
    /// One line of JSON; empty where there is none.
    pub data: String,
    pub id: Option<String>,
    pub retry: Option<u64>,
    /// Lines that clients pass over.
    pub comments: usize,
}

/// Takes the next whole message off what came; `None`: it has not come.
pub fn next(encoding: Encoding, bytes: &mut Vec<u8>) -> Option<Said> {
    let end: &[u8] = if encoding == Encoding::Ndjson { b"\n" } else { b"\n\n" };
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    let text = String::from_utf8(bytes[..at].to_vec()).expect("a stream is UTF-8");
    bytes.drain(..at + end.len());
    assert!(!text.contains('\r') && !text.is_empty(), "{text:?}");
    if encoding == Encoding::Ndjson {
        return Some(Said { data: text, ..Said::default() });
    }
    Some(event(&text))
}

/// As a browser reads it (WHATWG HTML, section 9.2.6), but that a message is one line and no field comes twice.
fn event(block: &str) -> Said {
    let mut said = Said::default();
    for line in block.lines() {
        if line.starts_with(':') {
            said.comments += 1;
            continue;
        }
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        let is_first = match name {
            "event" => std::mem::replace(&mut said.name, value.to_owned()).is_empty(),
            "data" => std::mem::replace(&mut said.data, value.to_owned()).is_empty(),
            "id" => said.id.replace(value.to_owned()).is_none(),
            "retry" => said.retry.replace(value.parse().expect("milliseconds")).is_none(),
            other => panic!("a field {other:?}"),
        };
        assert!(is_first, "{name} comes twice: {block:?}");
    }
    assert_eq!(said.name.is_empty(), said.data.is_empty(), "{block:?}");
    assert!(said.data.is_empty() || said.data.starts_with(&format!(r#"{{"op":"{}""#, said.name)), "{block}");
    said
}

/// An HTTP answer so far.
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn has(&self, field: &str) -> bool {
        self.head.lines().any(|line| line == field)
    }
}

impl World {
    /// A request for a stream; `fields`: of its head.
    pub fn ask_for_stream(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> usize {
        let peer = self.dial();
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let host = &self.host;
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.send_raw(peer, request.as_bytes());
        self.settle();
        peer
    }

    pub fn answer(&self, peer: usize) -> Answer {
        let bytes = &self.peers[peer].http;
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no whole head: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() }
    }
}

impl Peer {
    /// Reads an HTTP answer that goes on, and judges its messages as those of a WebSocket.
    pub(super) fn take_stream(&mut self, bytes: &[u8], log: bool, judge: &mut Judge<'_>) {
        if self.open {
            self.unread.extend_from_slice(bytes);
        } else {
            self.http.extend_from_slice(bytes);
            let end = self.http.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4);
            if let Some(end) = end.filter(|_| self.http.starts_with(b"HTTP/1.1 200 ")) {
                self.unread = self.http.split_off(end);
                (self.open, self.opened_us) = (true, judge.now_us);
            }
        }
        while self.open
            && let Some(said) = next(self.encoding, &mut self.unread)
        {
            assert!(self.close.is_none(), "{said:?} after the end");
            self.take_said(said, log, judge);
        }
    }

    fn take_said(&mut self, said: Said, log: bool, judge: &mut Judge<'_>) {
        assert!(said.retry.is_none() || self.model.draining, "{said:?} follows no draining notice");
        if said.data.is_empty() {
            return;
        }
        let message: Value = serde_json::from_str(&said.data).unwrap_or_else(|e| panic!("{e}: {said:?}"));
        if message["op"] == "close" {
            let code = message["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let reason = message["reason"].as_str().expect("a close has a reason");
            self.close = Some((code.expect("a close has a code"), reason.to_owned()));
            return;
        }
        self.heard(said.data, log, judge);
        if let Encoding::Sse { .. } = self.encoding {
            self.check_id(said.id, &message, judge);
        }
    }

    /// What is whole says where it takes its reader, but not what is granted as `auto`: a client that comes back says it of
    /// what it asked for.
    fn check_id(&mut self, id: Option<String>, message: &Value, judge: &Judge<'_>) {
        let is_whole = (message["op"] == "batch" || message["op"] == "snapshot") && message["more"] != true;
        let of_class = |class: u64| self.model.subs.iter().find(|sub| sub.class == class);
        let sub = message["class"].as_u64().filter(|_| is_whole).and_then(of_class);
        let expected = sub.filter(|sub| sub.name != AUTO).map(|sub| {
            let version = message["version"].as_u64().expect("it has a version");
            format!("{}:{version}", judge.epochs[sub.epoch].name)
        });
        assert_eq!(id, expected, "{message}");
        self.ids += u64::from(id.is_some());
    }
}
