//! Batches and snapshots: what they say before their updates, and the updates in a row.

use std::{
    fmt::{self, Write},
    ops::{Deref, Range},
};

use proto::msgpack;

use super::event;
use crate::topic::epoch::Epoch;

/// Room for an envelope's fixed text and numbers.
pub const ENVELOPE_BYTES_MAX: usize = 192;

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
    /// All of it as MessagePack, where that is known.
    pub packed: &'a [u8],
}

impl Piece<'_> {
    pub fn bytes(&self) -> usize {
        self.made.len() + self.rest.len()
    }
}

/// Bytes of updates that a part may have.
pub fn part_room(part_bytes: usize) -> usize {
    part_bytes.saturating_sub(ENVELOPE_BYTES_MAX)
}

/// How many of `pieces` fit into `room`, at least one.
pub fn count_in(pieces: &[Piece<'_>], room: usize) -> usize {
    let mut bytes = 0;
    let fits = |piece: &&Piece<'_>| {
        bytes += piece.bytes() + usize::from(bytes > 0);
        bytes <= room
    };
    pieces.iter().take_while(fits).count().max(1).min(pieces.len())
}

/// One message's payload.
#[derive(Debug)]
pub struct Texts<'a> {
    pub head: &'a [u8],
    pub made: &'a [u8],
    pub pieces: &'a [Piece<'a>],
}

impl Texts<'_> {
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.bytes() + 1).sum();
        self.head.len() + pieces.saturating_sub(1) + b"]}".len()
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if !piece.made.is_empty() {
                out.extend_from_slice(&self.made[piece.made.clone()]);
            }
            out.extend_from_slice(piece.rest);
        }
        out.extend_from_slice(b"]}");
    }

    /// The same on one line.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(out);
        event::unbroken(&mut out[start..]);
    }

    /// The same as MessagePack. `out` is empty.
    pub fn write_packed(&self, out: &mut Vec<u8>) {
        let pack = |json: &[u8], out: &mut Vec<u8>| {
            msgpack::from_json(json, out).expect("updates were checked to be JSON");
        };
        pack(&[self.head, b"]}"].concat(), out);
        // The last of it is the empty array of updates.
        out.pop();
        msgpack::begin_array(out, self.pieces.len());
        for piece in self.pieces {
            let made = &self.made[piece.made.clone()];
            match (piece.packed, made, piece.rest) {
                (&[], &[], json) | (&[], json, &[]) => pack(json, out),
                (&[], made, rest) => pack(&[made, rest].concat(), out),
                (packed, ..) => out.extend_from_slice(packed),
            }
        }
    }
}

/// What stands before the updates of a message.
#[derive(Debug)]
pub struct Head {
    bytes: [u8; ENVELOPE_BYTES_MAX],
    len: usize,
}

impl Head {
    /// `more`: further parts follow; `any`: this part or one before it has updates.
    pub fn new(envelope: &Envelope, more: bool, any: bool) -> Self {
        let mut head = Self { bytes: [0; ENVELOPE_BYTES_MAX], len: 0 };
        let op: &[u8] = match envelope.from {
            Some(_) => br#"{"op":"batch","class":"#,
            None => br#"{"op":"snapshot","class":"#,
        };
        head.number(op, envelope.class);
        head.number(br#","ts":"#, envelope.ts_us);
        if let Some(from) = envelope.from {
            head.number(br#","from":"#, from);
        }
        head.number(br#","version":"#, envelope.version);
        if let Some(epoch) = envelope.epoch {
            write!(head, r#","epoch":"{epoch}""#).expect("there is room for an epoch");
        }
        if let (Some(oldest_us), false, true) = (envelope.oldest_us, more, any) {
            head.number(br#","oldest":"#, oldest_us);
        }
        if more {
            head.text(br#","more":true"#);
        }
        head.text(br#","updates":["#);
        head
    }

    #[inline]
    fn text(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    #[inline]
    fn number(&mut self, before: &[u8], number: impl itoa::Integer) {
        self.text(before);
        self.text(itoa::Buffer::new().format(number).as_bytes());
    }
}

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text.as_bytes());
        Ok(())
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
