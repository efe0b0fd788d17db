//! Batches and snapshots as WebSocket frames, encoded once for everyone who may have the same bytes.

use std::{
    io::Write,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use proto::{
    encode::{HEADER_BYTES_MAX, Opcode, header},
    msgpack,
};

use super::compress::Compress;
use crate::{
    planted::{Bug, planted},
    wire::{Encoding, Wire},
};

/// One batch or snapshot, ready to send: one WebSocket frame or, in parts, several in a row.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Bytes,
    /// WebSocket frames in `bytes`.
    pub parts: u32,
    pub updates: u32,
}

/// What a frame says before its updates.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub class: u64,
    pub ts_us: i64,
    /// `None`: a snapshot.
    pub from: Option<u64>,
    pub version: u64,
    pub oldest_us: Option<i64>,
    /// In a snapshot that begins another one.
    pub epoch: Option<&'a str>,
}

/// One update's text: what was made for this frame, and after it what is as it was taken in.
#[derive(Debug)]
pub struct Piece<'a> {
    /// In the text that goes with all pieces.
    pub made: Range<usize>,
    pub rest: &'a [u8],
}

impl Piece<'_> {
    fn bytes(&self) -> usize {
        self.made.len() + self.rest.len()
    }
}

/// How the bytes of a frame come about.
#[derive(Debug)]
pub struct Encoder<'a> {
    /// No payload is longer before it is compressed, unless a single update makes it so.
    pub frame_bytes_max: usize,
    pub wire: Wire,
    /// For a whole class, in place of members of it.
    pub for_class: bool,
    pub compress: &'a mut Compress,
    pub pinned: &'a Pinned,
}

/// Bytes of all frames of a shard that are alive: in flight, queued or cached.
#[derive(Debug, Clone, Default)]
pub struct Pinned(Arc<AtomicUsize>);

impl Pinned {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Bytes that count for as long as they live.
    pub fn hold(&self, bytes: Vec<u8>) -> Bytes {
        self.0.fetch_add(bytes.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Held { bytes, pinned: self.clone() })
    }
}

struct Held {
    bytes: Vec<u8>,
    pinned: Pinned,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pinned.0.fetch_sub(self.bytes.capacity(), Ordering::Relaxed);
    }
}

/// Room for an envelope's fixed text and numbers.
const ENVELOPE_BYTES_MAX: usize = 192;

impl Encoder<'_> {
    /// Encodes updates, which are in version order, in as few frames as `frame_bytes_max` allows. `made`:
    /// the text that goes with all pieces.
    pub fn encode(self, envelope: &Envelope<'_>, made: &[u8], pieces: &[Piece<'_>]) -> Frame {
        let room = self.frame_bytes_max.saturating_sub(ENVELOPE_BYTES_MAX);
        let total: usize = pieces.iter().map(|piece| piece.bytes() + 1).sum();
        let parts_about = total / room.max(1) + 1;
        let as_it_is = self.wire == Wire::default();
        let bytes_about = total + parts_about * (ENVELOPE_BYTES_MAX + HEADER_BYTES_MAX);
        let mut out = Vec::with_capacity(if as_it_is { bytes_about } else { bytes_about / 3 });
        let mut head = Vec::with_capacity(ENVELOPE_BYTES_MAX);
        let (mut payload, mut packed) = (Vec::new(), Vec::new());
        let (mut parts, mut first) = (0, 0);
        loop {
            let (end, len) = part(&pieces[first..], room);
            let end = first + end;
            let last = end == pieces.len();
            head.clear();
            write_head(&mut head, envelope, !last && !planted(Bug::MoreForgotten), !pieces.is_empty());
            let texts = Texts { head: &head, made, pieces: &pieces[first..end] };
            if as_it_is {
                out.extend_from_slice(&header(Opcode::Text, true, head.len() + len + b"]}".len()));
                texts.write(&mut out);
            } else {
                payload.clear();
                texts.write(&mut payload);
                if self.wire.encoding == Encoding::Msgpack {
                    packed.clear();
                    msgpack::from_json(&payload, &mut packed).expect("updates were checked to be JSON");
                    std::mem::swap(&mut packed, &mut payload);
                }
                let wire =
                    if self.for_class { self.wire } else { self.compress.for_few(&payload, self.wire) };
                self.compress.frame(&mut out, wire.encoding.opcode(), &payload, wire);
            }
            parts += 1;
            first = end;
            if last {
                break;
            }
        }
        if !as_it_is {
            out.shrink_to_fit();
        }
        Frame { bytes: self.pinned.hold(out), parts, updates: pieces.len() as u32 }
    }
}

/// One frame's payload.
struct Texts<'a> {
    head: &'a [u8],
    made: &'a [u8],
    pieces: &'a [Piece<'a>],
}

impl Texts<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.made[piece.made.clone()]);
            out.extend_from_slice(piece.rest);
        }
        out.extend_from_slice(b"]}");
    }
}

/// How many of `pieces` fit into `room`, at least one, and their length with commas.
fn part(pieces: &[Piece<'_>], room: usize) -> (usize, usize) {
    let mut len = 0;
    for (i, piece) in pieces.iter().enumerate() {
        let with = len + piece.bytes() + usize::from(i > 0);
        if i > 0 && with > room {
            return (i, len);
        }
        len = with;
    }
    (pieces.len(), len)
}

fn write_head(out: &mut Vec<u8>, envelope: &Envelope<'_>, more: bool, any: bool) {
    let Envelope { class, ts_us, version, .. } = *envelope;
    // Writing to a Vec cannot fail.
    let _ = match envelope.from {
        Some(from) => {
            write!(out, r#"{{"op":"batch","class":{class},"ts":{ts_us},"from":{from},"version":{version}"#)
        }
        None => write!(out, r#"{{"op":"snapshot","class":{class},"ts":{ts_us},"version":{version}"#),
    };
    if let Some(epoch) = envelope.epoch {
        let _ = write!(out, r#","epoch":"{epoch}""#);
    }
    match envelope.oldest_us {
        Some(oldest_us) if !more && any => {
            let _ = write!(out, r#","oldest":{oldest_us}"#);
        }
        _ => {}
    }
    out.extend_from_slice(if more { br#","more":true,"updates":["# } else { br#","updates":["# });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(updates: &[String]) -> Vec<Piece<'_>> {
        updates.iter().map(|update| Piece { made: 0..0, rest: update.as_bytes() }).collect()
    }

    fn encode(envelope: &Envelope<'_>, updates: &[String], pinned: &Pinned, wire: Wire) -> Frame {
        let mut compress = Compress::new(&crate::config::Config::embedded_demo().compression);
        let encoder =
            Encoder { frame_bytes_max: 1024, wire, for_class: true, compress: &mut compress, pinned };
        encoder.encode(envelope, &[], &pieces(updates))
    }

    fn payloads(mut bytes: &[u8]) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let (start, len) = match bytes[1] {
                126 => (4, u16::from_be_bytes([bytes[2], bytes[3]]) as usize),
                127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
                n => (2, n as usize),
            };
            out.push(serde_json::from_slice(&bytes[start..start + len]).unwrap());
            bytes = &bytes[start + len..];
        }
        out
    }

    #[test]
    fn parts_are_bounded_ordered_and_marked() {
        let updates: Vec<String> =
            (0..100).map(|i| format!(r#"{{"topic":"t{i}","pad":"{}"}}"#, "x".repeat(100))).collect();
        let pinned = Pinned::default();
        let envelope =
            Envelope { class: 3, ts_us: 5, from: Some(1), version: 9, oldest_us: Some(4), epoch: None };
        let frame = encode(&envelope, &updates, &pinned, Wire::default());
        let parts = payloads(&frame.bytes);
        assert_eq!(parts.len() as u32, frame.parts);
        let topics: Vec<String> = parts
            .iter()
            .flat_map(|part| part["updates"].as_array().unwrap())
            .map(|update| update["topic"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(topics, (0..100).map(|i| format!("t{i}")).collect::<Vec<_>>());
        for (i, part) in parts.iter().enumerate() {
            let last = i + 1 == parts.len();
            assert!(part.to_string().len() <= 1024 + 64, "part {i}");
            assert_eq!(part.get("more").is_some(), !last);
            assert_eq!(part.get("oldest").is_some(), last);
            assert_eq!((part["from"].as_u64(), part["version"].as_u64()), (Some(1), Some(9)));
        }
        assert!(pinned.bytes() >= frame.bytes.len());
        drop(frame);
        assert_eq!(pinned.bytes(), 0);
    }

    #[test]
    fn an_update_longer_than_a_frame_goes_alone() {
        let updates = [format!("\"{}\"", "a".repeat(2000)), "1".to_owned()];
        let envelope = Envelope { class: 1, ts_us: 0, from: None, version: 1, oldest_us: None, epoch: None };
        let frame = encode(&envelope, &updates, &Pinned::default(), Wire::default());
        assert_eq!((frame.parts, frame.updates), (2, 2));
    }
}
