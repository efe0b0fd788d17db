//! Batches and snapshots as WebSocket frames, encoded once for everyone who may have the same bytes.

use std::{io::Write, ops::Range};

use bytes::Bytes;
use proto::{
    encode::{HEADER_BYTES_MAX, Opcode, header},
    msgpack,
};

use super::{budget::Budget, compress::Compress, pinned::Pinned};
use crate::{
    planted::{Bug, planted},
    protocol::encoding::{Encoding, Wire},
    topic::epoch::Epoch,
};

/// One batch or snapshot, ready to send: one WebSocket frame or, in parts, several in a row.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Bytes,
    /// WebSocket frames in `bytes`.
    pub parts: u32,
    pub updates: u32,
    /// Where it takes who reads it.
    pub version: u64,
}

/// What a frame says before its updates.
#[derive(Debug, Clone, Copy)]
pub struct Envelope {
    pub class: u64,
    pub ts_us: i64,
    /// `None`: a snapshot.
    pub from: Option<u64>,
    pub version: u64,
    pub oldest_us: Option<i64>,
    /// In a snapshot that begins another one.
    pub epoch: Option<Epoch>,
}

/// One update's text: what was made for this frame, and after it what is as it was taken in.
#[derive(Debug)]
pub struct Piece<'a> {
    /// In the text that goes with all pieces.
    pub made: Range<usize>,
    pub rest: &'a [u8],
}

impl Piece<'_> {
    pub fn bytes(&self) -> usize {
        self.made.len() + self.rest.len()
    }
}

/// How the bytes of a frame come about.
#[derive(Debug)]
pub struct Encoder<'a> {
    pub wire: Wire,
    /// For a whole class, in place of members of it.
    pub for_class: bool,
    pub compress: &'a mut Compress,
    pub budget: &'a mut Budget,
}

/// Room for an envelope's fixed text and numbers.
const ENVELOPE_BYTES_MAX: usize = 192;

/// The parts of one batch or snapshot that are encoded so far.
#[derive(Debug, Default)]
pub struct Parts {
    out: Vec<u8>,
    count: u32,
    updates: u32,
    version: u64,
}

impl Parts {
    /// `bytes`: of the updates to come, about, and how many there are.
    pub fn with_capacity(bytes: usize, updates: usize, part_bytes: usize, wire: Wire) -> Self {
        let parts = (bytes / part_room(part_bytes).max(1)).min(updates) + 1;
        let bytes = bytes + parts * (ENVELOPE_BYTES_MAX + HEADER_BYTES_MAX);
        let out = Vec::with_capacity(if wire == Wire::default() { bytes } else { bytes / 3 });
        Self { out, ..Self::default() }
    }

    /// All of them.
    pub fn finish(mut self, wire: Wire, pinned: &Pinned) -> Frame {
        if wire != Wire::default() {
            self.out.shrink_to_fit();
        }
        let Self { count, updates, version, .. } = self;
        Frame { bytes: pinned.hold(self.out), parts: count, updates, version }
    }
}

/// Bytes of updates that a part may have.
pub fn part_room(part_bytes: usize) -> usize {
    part_bytes.saturating_sub(ENVELOPE_BYTES_MAX)
}

impl Encoder<'_> {
    /// Encodes updates, which are in version order, in as few parts as `part_bytes` allows. `made`: the text
    /// that goes with all pieces.
    pub fn all(
        &mut self,
        envelope: &Envelope,
        made: &[u8],
        pieces: &[Piece<'_>],
        part_bytes: usize,
    ) -> Parts {
        let room = part_room(part_bytes);
        let bytes = pieces.iter().map(|piece| piece.bytes() + 1).sum();
        let mut parts = Parts::with_capacity(bytes, pieces.len(), part_bytes, self.wire);
        let mut first = 0;
        loop {
            let end = first + count_in(&pieces[first..], room);
            let last = end == pieces.len();
            self.part(&mut parts, envelope, made, &pieces[first..end], !last);
            first = end;
            if last {
                return parts;
            }
        }
    }

    /// Appends one part. `more`: it is not the last one.
    pub fn part(
        &mut self,
        to: &mut Parts,
        envelope: &Envelope,
        made: &[u8],
        pieces: &[Piece<'_>],
        more: bool,
    ) {
        (to.count, to.updates) = (to.count + 1, to.updates + pieces.len() as u32);
        to.version = envelope.version;
        let mut head = Vec::with_capacity(ENVELOPE_BYTES_MAX);
        write_head(&mut head, envelope, more && !planted(Bug::MoreForgotten), to.updates > 0);
        let texts = Texts { head: &head, made, pieces };
        let len = texts.len();
        self.budget.spend(len, self.wire);
        if self.wire == Wire::default() {
            to.out.extend_from_slice(&header(Opcode::Text, true, len));
            texts.write(&mut to.out);
            return;
        }
        let mut payload = Vec::with_capacity(len);
        texts.write(&mut payload);
        if self.wire.encoding == Encoding::Msgpack {
            let mut packed = Vec::with_capacity(len);
            msgpack::from_json(&payload, &mut packed).expect("updates were checked to be JSON");
            payload = packed;
        }
        let wire = if self.for_class { self.wire } else { self.compress.for_few(&payload, self.wire) };
        self.compress.frame(&mut to.out, wire.encoding.opcode(), &payload, wire);
    }
}

/// How many of `pieces` fit into `room`, at least one.
fn count_in(pieces: &[Piece<'_>], room: usize) -> usize {
    let mut bytes = 0;
    let fits = |piece: &&Piece<'_>| {
        bytes += piece.bytes() + usize::from(bytes > 0);
        bytes <= room
    };
    pieces.iter().take_while(fits).count().max(1).min(pieces.len())
}

/// One frame's payload.
struct Texts<'a> {
    head: &'a [u8],
    made: &'a [u8],
    pieces: &'a [Piece<'a>],
}

impl Texts<'_> {
    fn len(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.bytes() + 1).sum();
        self.head.len() + pieces.saturating_sub(1) + b"]}".len()
    }

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

fn write_head(out: &mut Vec<u8>, envelope: &Envelope, more: bool, any: bool) {
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
