//! Server-sent events, as `--sse` has them: the answer to a request, and messages as they come.

use std::borrow::Cow;

/// Of a head, as of a WebSocket's.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What a connection has received in part.
#[derive(Debug, Default)]
pub struct Stream {
    unread: Vec<u8>,
}

impl Stream {
    /// What came, behind what was left before.
    pub fn join<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.unread.is_empty() {
            return Cow::Borrowed(bytes);
        }
        self.unread.extend_from_slice(bytes);
        Cow::Owned(std::mem::take(&mut self.unread))
    }

    /// What is not whole is kept.
    pub fn keep(&mut self, rest: &[u8]) {
        self.unread = rest.to_vec();
    }
}

/// Takes a whole head off the front: its status line where that is not 200. `Ok(None)`: it is not whole.
pub fn head(bytes: &[u8]) -> Result<Option<usize>, String> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) if line.starts_with(b"HTTP/1.1 200 ") => Ok(Some(end + 4)),
        Some(end) => {
            let status = line.strip_prefix(b"HTTP/1.1 ").unwrap_or(line);
            let told = [b"HTTP ", status, b" ", bytes[end + 4..].trim_ascii()].concat();
            Err(String::from_utf8_lossy(&told).trim().to_owned())
        }
        None if bytes.len() > HEAD_BYTES_MAX => Err("an answer without an end of its head".into()),
        None => Ok(None),
    }
}

/// Takes a whole event off the front: its message, empty where it has none, and its bytes.
pub fn event(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (mut at, mut message) = (0, &bytes[..0]);
    loop {
        let len = bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + len];
        at += len + 1;
        if line.is_empty() {
            return Some((message, at));
        }
        if let Some(data) = line.strip_prefix(b"data: ") {
            message = data;
        }
    }
}

/// Code and reason of the last event, if a message is that.
pub fn close(message: &[u8]) -> Option<(u16, String)> {
    #[derive(serde::Deserialize)]
    struct Close {
        code: u16,
        reason: String,
    }
    message.starts_with(br#"{"op":"close","#).then_some(())?;
    serde_json::from_slice(message).ok().map(|Close { code, reason }| (code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_whole_however_they_come() {
        let sent = b"event: batch\ndata: {\"op\":\"batch\"}\nid: 0:1\n\n:\n\nevent: notice\ndata: {}\n\n";
        for cut in 0..sent.len() {
            let (mut stream, mut messages) = (Stream::default(), Vec::new());
            for part in [&sent[..cut], &sent[cut..]] {
                let bytes = stream.join(part);
                let mut at = 0;
                while let Some((message, taken)) = event(&bytes[at..]) {
                    messages.push(String::from_utf8(message.to_vec()).unwrap());
                    at += taken;
                }
                stream.keep(&bytes[at..]);
            }
            assert_eq!(messages, ["{\"op\":\"batch\"}", "", "{}"], "{cut}");
        }
    }

    #[test]
    fn an_answer_is_a_stream_or_says_why_not() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nevent"), Ok(Some(25)));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
        let refused = head(b"HTTP/1.1 401 Unauthorized\r\n\r\n{\"code\":401}\n").unwrap_err();
        assert_eq!(refused, "HTTP 401 Unauthorized {\"code\":401}");
        assert_eq!(close(br#"{"op":"close","code":1001,"reason":"gone"}"#), Some((1001, "gone".to_owned())));
        assert_eq!(close(b"{\"op\":\"batch\"}"), None);
    }
}
