//! Batches and snapshots as they are sent, encoded once for everyone who may have the same bytes.

use bytes::Bytes;
use proto::encode::{HEADER_BYTES_MAX, Opcode, header};

use super::{budget::Budget, compress::Compress, pinned::Pinned};
use crate::{
    protocol::{
        batch::{ENVELOPE_BYTES_MAX, Envelope, Head, Piece, Texts, count_in, part_room},
        encoding::{Encoding, Wire},
        event, raw,
    },
    topic::epoch::Epoch,
};

/// One batch or snapshot, ready to send: one message or, in parts, several in a row. A long WebSocket message is in
/// fragments. Empty where nothing of it is a message.
#[derive(Debug, Clone)]
pub struct Frame {
    pub bytes: Bytes,
    /// Messages in `bytes`.
    pub parts: u32,
    pub updates: u32,
    /// Where it takes who reads it.
    pub version: u64,
}

/// How the bytes of a frame come about.
#[derive(Debug)]
pub struct Encoder<'a> {
    pub wire: Wire,
    /// Of the position that it takes its readers to.
    pub epoch: Epoch,
    /// For a whole class, in place of members of it.
    pub for_class: bool,
    pub compress: &'a mut Compress,
    pub budget: &'a mut Budget,
}

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
    pub fn with_capacity(
        bytes: usize,
        updates: usize,
        part_bytes: usize,
        fragment_bytes: usize,
        wire: Wire,
    ) -> Self {
        let parts = (bytes / part_room(part_bytes).max(1)).min(updates) + 1;
        let fragments = parts + bytes / fragment_bytes;
        let around = ENVELOPE_BYTES_MAX + event::EVENT_BYTES_MAX;
        let bytes = bytes + parts * around + fragments * HEADER_BYTES_MAX;
        let out = Vec::with_capacity(if wire.is_plain() { bytes } else { bytes / 3 });
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
        if bytes <= room {
            let mut parts = Parts::default();
            self.part(&mut parts, envelope, made, pieces, false);
            return parts;
        }
        let fragment_bytes = self.compress.fragment_bytes;
        let mut parts = Parts::with_capacity(bytes, pieces.len(), part_bytes, fragment_bytes, self.wire);
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
        to.updates += pieces.len() as u32;
        to.version = envelope.version;
        let head = Head::new(envelope, more, to.updates > 0);
        let texts = Texts { head: &head, made, pieces };
        let len = texts.len();
        self.budget.spend(len, self.wire);
        if self.wire == Wire::default() && len <= self.compress.fragment_bytes {
            let header = header(Opcode::Text, true, len);
            to.out.reserve_exact(header.len() + len);
            to.out.extend_from_slice(&header);
            texts.write(&mut to.out);
            to.count += 1;
            return;
        }
        match self.wire.encoding {
            Encoding::Json => {
                let mut payload = Vec::with_capacity(len);
                texts.write(&mut payload);
                self.message(to, &payload);
            }
            Encoding::Msgpack => {
                let mut payload = Vec::with_capacity(len);
                texts.write_packed(&mut payload);
                self.message(to, &payload);
            }
            Encoding::Sse { ids } => {
                to.out.reserve_exact(len + event::EVENT_BYTES_MAX);
                event::begin(&mut to.out, if envelope.from.is_some() { "batch" } else { "snapshot" });
                texts.write_line(&mut to.out);
                event::end(&mut to.out, (ids && !more).then_some((self.epoch, envelope.version)));
                to.count += 1;
            }
            Encoding::Ndjson => {
                to.out.reserve_exact(len + 1);
                texts.write_line(&mut to.out);
                to.out.push(b'\n');
                to.count += 1;
            }
            Encoding::Raw => {
                for data in pieces.iter().filter_map(|piece| raw::data_of(piece.rest)) {
                    self.message(to, &raw::text_of(data));
                }
            }
        }
    }

    /// Appends a WebSocket message.
    fn message(&mut self, to: &mut Parts, payload: &[u8]) {
        let wire = if self.for_class { self.wire } else { self.compress.for_few(payload, self.wire) };
        self.compress.frame(&mut to.out, wire.encoding.opcode(), payload, wire);
        to.count += 1;
    }
}
