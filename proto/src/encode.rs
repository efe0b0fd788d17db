//! Frames to be sent, written at the end of a caller's buffer (RFC 6455, 5.2).

use std::ops::Deref;

use crate::{close::is_sendable, mask};

/// Longest header of an unmasked frame.
pub const HEADER_BYTES_MAX: usize = 10;
/// RSV1: of a message that a [`Deflater`](crate::deflate::Deflater) made (RFC 7692, 6).
pub const DEFLATED: u8 = 0x40;
/// Longest reason of a close frame.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// What a frame is (RFC 6455, 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with the message under way.
    Continuation = 0,
    /// Begins a text message.
    Text = 1,
    /// Begins a binary message.
    Binary = 2,
    /// Ends the connection.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or says that one is alive.
    Pong = 10,
}

impl Opcode {
    pub(crate) fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The header of an unmasked frame: 2, 4 or 10 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Header {
    /// Of a frame whose payload a [`Deflater`](crate::deflate::Deflater) made (RFC 7692, 6: RSV1).
    pub fn deflated(mut self) -> Header {
        self.bytes[0] |= DEFLATED;
        self
    }
}

/// The header of a server's frame with `payload_bytes` of payload.
pub fn header(opcode: Opcode, fin: bool, payload_bytes: usize) -> Header {
    let mut bytes = [0; HEADER_BYTES_MAX];
    bytes[0] = u8::from(fin) << 7 | opcode as u8;
    let len = if payload_bytes < 126 {
        bytes[1] = payload_bytes as u8;
        2
    } else if let Ok(short) = u16::try_from(payload_bytes) {
        bytes[1] = 126;
        bytes[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        bytes[1] = 127;
        bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    };
    Header { bytes, len }
}

/// Appends a whole, unmasked frame. A control frame's payload must not exceed 125 bytes.
pub fn frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(!opcode.is_control() || payload.len() <= 125, "control payload over 125 bytes");
    out.extend_from_slice(&header(opcode, true, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a server's message in frames with at most `fragment_bytes` of payload each (RFC 6455, 5.4). `first`:
/// the opcode and [`DEFLATED`] perhaps, which only the first of them has (RFC 7692, 6.1).
pub fn fragments(out: &mut Vec<u8>, first: u8, payload: &[u8], fragment_bytes: usize) {
    let (mut rest, mut bits) = (payload, first);
    loop {
        let (fragment, later) = rest.split_at(rest.len().min(fragment_bytes));
        let mut header = header(Opcode::Continuation, later.is_empty(), fragment.len());
        header.bytes[0] |= std::mem::take(&mut bits);
        out.extend_from_slice(&header);
        out.extend_from_slice(fragment);
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

/// Appends a server's close frame. `reason` is cut at a character to
/// [`CLOSE_REASON_BYTES_MAX`]. For one without a code send an empty [`Opcode::Close`] frame.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let (payload, len) = close_payload(code, reason);
    frame(out, Opcode::Close, &payload[..len]);
}

/// Appends a client's frame, masked with `key` (RFC 6455, 5.3: a fresh random one for each frame).
pub fn masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    debug_assert!(!opcode.is_control() || payload.len() <= 125, "control payload over 125 bytes");
    let mut header = header(opcode, true, payload.len());
    header.bytes[1] |= 0x80;
    out.extend_from_slice(&header);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], key, 0);
}

/// Appends a client's close frame; otherwise like [`close`].
pub fn masked_close(out: &mut Vec<u8>, code: u16, reason: &str, key: [u8; 4]) {
    let (payload, len) = close_payload(code, reason);
    masked_frame(out, Opcode::Close, &payload[..len], key);
}

fn close_payload(code: u16, reason: &str) -> ([u8; 125], usize) {
    debug_assert!(is_sendable(code), "close code {code} must not be sent");
    let mut cut = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut payload = [0; 125];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + cut].copy_from_slice(&reason.as_bytes()[..cut]);
    (payload, 2 + cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_takes_its_shortest_form() {
        for (payload_bytes, header_bytes) in
            [(0, 2), (125, 2), (126, 4), (0xffff, 4), (0x1_0000, 10), (1 << 40, 10)]
        {
            assert_eq!(header(Opcode::Binary, true, payload_bytes).len(), header_bytes, "{payload_bytes}");
        }
        assert_eq!(*header(Opcode::Text, true, 5), [0x81, 5]);
        assert_eq!(*header(Opcode::Continuation, false, 256), [0x00, 126, 1, 0]);
    }

    #[test]
    fn fragments_of_a_compressed_message_say_so_on_the_first_only() {
        let mut out = Vec::new();
        fragments(&mut out, Opcode::Text as u8 | DEFLATED, b"abcdefg", 3);
        assert_eq!(out, *b"\x41\x03abc\x00\x03def\x80\x01g");
        out.clear();
        fragments(&mut out, Opcode::Binary as u8, b"abcdef", 3);
        assert_eq!(out, *b"\x02\x03abc\x80\x03def");
        out.clear();
        fragments(&mut out, Opcode::Text as u8, b"", 3);
        assert_eq!(out, *b"\x81\x00");
    }

    #[test]
    fn close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        close(&mut out, 1000, &"é".repeat(100));
        assert_eq!(out[..4], [0x88, 2 + 122, 0x03, 0xe8]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
    }

    #[test]
    fn rfc_example_of_a_masked_frame() {
        let mut out = Vec::new();
        masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
