//! HTTP/1 heads: gathering, checking and taking them apart.

use std::mem::MaybeUninit;

use crate::{
    HandshakeError, Limits, Refusal,
    fields::{Fields, is_unreadable},
};

/// Field slots on the stack; [`Limits::headers`] counts up to this.
const HEADERS_MAX: usize = 256;

/// A head that cannot be used.
#[derive(Debug)]
pub(crate) enum BadHead {
    Malformed(httparse::Error),
    TooLong(usize),
    TooManyHeaders(usize),
}

/// The length of the whole head at the beginning of `input`; `None` while bytes are missing.
pub(crate) type End = Result<Option<usize>, BadHead>;

/// Where a request's head ends.
pub(crate) fn request_end(input: &[u8], limits: &Limits) -> End {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = &mut slots[..limits.headers.min(HEADERS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    end(request.parse_with_uninit_headers(window(input, limits), slots), input, limits)
}

/// Where the head of an answer ends. Lines that are no fields are passed over, also such that hold a NUL or a CR within,
/// and a field may be folded (RFC 9112, 5.2): firewalls in front of servers write what they like.
pub(crate) fn response_end(input: &[u8], limits: &Limits) -> End {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = &mut slots[..limits.headers.min(HEADERS_MAX)];
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    config.allow_spaces_after_header_name_in_responses(true);
    config.ignore_invalid_headers_in_responses(true);
    let head = window(input, limits);
    let parsed = config.parse_response_with_uninit_headers(&mut response, head, slots);
    let (Err(error), Some((readable, dropped))) = (parsed, without_unreadable(head)) else {
        return end(parsed, input, limits);
    };
    if error == httparse::Error::TooManyHeaders {
        return end(parsed, input, limits);
    }
    // Rarely a line holds what the parser does not pass over.
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = &mut slots[..limits.headers.min(HEADERS_MAX)];
    let mut response = httparse::Response::new(&mut []);
    let parsed = config.parse_response_with_uninit_headers(&mut response, &readable, slots);
    Ok(end(parsed, input, limits)?.map(|end| end + dropped))
}

/// The head without its unreadable lines, and how many bytes those have; `None`: it has none. A last line that
/// is not whole is left out too: whether it can be read is not known yet.
fn without_unreadable(head: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut kept, mut has_begun) = (Vec::new(), false);
    let mut used = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let is_empty = matches!(line, b"\n" | b"\r\n");
        used += line.len();
        let is_field = line.strip_suffix(b"\n").is_some_and(|line| !is_unreadable(line));
        // The line of the status has to be right.
        if !has_begun || is_field {
            kept.extend_from_slice(line);
        }
        if has_begun && is_empty {
            break;
        }
        has_begun |= !is_empty;
    }
    let dropped = used - kept.len();
    (dropped > 0).then_some((kept, dropped))
}

/// Nothing beyond the limit is looked at, so that the outcome does not depend on how reads were cut.
fn window<'a>(input: &'a [u8], limits: &Limits) -> &'a [u8] {
    &input[..input.len().min(limits.head_bytes)]
}

fn end(parsed: httparse::Result<usize>, input: &[u8], limits: &Limits) -> End {
    match parsed {
        Ok(httparse::Status::Complete(end)) => Ok(Some(end)),
        Ok(httparse::Status::Partial) if input.len() >= limits.head_bytes => {
            Err(BadHead::TooLong(limits.head_bytes))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(BadHead::TooManyHeaders(limits.headers.min(HEADERS_MAX))),
        Err(error) => Err(BadHead::Malformed(error)),
    }
}

/// The first line and the fields of a head that was found whole. Empty lines may stand before it.
pub(crate) fn split(head: &[u8]) -> (&[u8], Fields<'_>) {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let head = &head[start..];
    let line_end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    let (line, rest) = head.split_at(line_end);
    (line.trim_ascii_end(), Fields::new(rest))
}

/// The status in the first line of an answer.
pub(crate) fn status(line: &str) -> Option<u16> {
    line.split(' ').nth(1)?.parse().ok()
}

/// Interim answers that a server may send before its own.
const INTERIM_MAX: u8 = 16;

/// A head that came in part.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub bytes: Vec<u8>,
    /// Interim answers before it.
    interim: u8,
    /// The client's, to check the answer against.
    pub nonce: [u8; 16],
}

/// Whether a head that is whole or not asks by HEAD.
pub(crate) fn is_head(head: &[u8]) -> bool {
    split(head).0.starts_with(b"HEAD ")
}

impl Head {
    /// Takes what belongs to the head. Returns the bytes used and whether the head is whole now.
    pub fn extend(
        &mut self,
        input: &[u8],
        limits: &Limits,
        end: fn(&[u8], &Limits) -> End,
    ) -> Result<(usize, bool), BadHead> {
        let had = self.bytes.len();
        let taken = input.len().min(limits.head_bytes.saturating_sub(had));
        self.bytes.extend_from_slice(&input[..taken]);
        let Some(end) = end(&self.bytes, limits)? else { return Ok((taken, false)) };
        self.bytes.truncate(end);
        Ok((end - had, true))
    }
}

impl Head {
    /// The client's, which holds its nonce.
    pub fn of_client(nonce: [u8; 16]) -> Self {
        Self { nonce, ..Self::default() }
    }

    /// The server's, that came in part.
    pub fn begun(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), ..Self::default() }
    }

    /// Whether this whole head of an answer is that of an interim one (RFC 9110, 15.2), which says nothing
    /// yet; it is dropped then.
    pub fn skip_interim(&mut self) -> Result<bool, HandshakeError> {
        let (line, _) = split(&self.bytes);
        match status(&String::from_utf8_lossy(line)) {
            Some(101) => Ok(false),
            Some(100..=199) if self.interim == INTERIM_MAX => {
                Err(HandshakeError::TooManyInterim(INTERIM_MAX))
            }
            Some(100..=199) => {
                self.interim += 1;
                self.bytes.clear();
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Refusal {
        let (status, reason) = match bad {
            BadHead::Malformed(error) => (400, format!("malformed request head: {error}")),
            BadHead::TooLong(limit) => (431, format!("request head over {limit} bytes")),
            BadHead::TooManyHeaders(limit) => (431, format!("more than {limit} header fields")),
        };
        Refusal::new(status, reason)
    }
}

impl From<BadHead> for HandshakeError {
    fn from(bad: BadHead) -> HandshakeError {
        match bad {
            BadHead::Malformed(error) => HandshakeError::Malformed(error.to_string()),
            BadHead::TooLong(limit) => HandshakeError::HeadTooLong(limit),
            BadHead::TooManyHeaders(limit) => HandshakeError::TooManyHeaders(limit),
        }
    }
}
