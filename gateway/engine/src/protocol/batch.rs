//! Batches and snapshots: what they say before their updates, and the updates in a row.

use std::{io::Write, ops::Range};

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
            out.extend_from_slice(&self.made[piece.made.clone()]);
            out.extend_from_slice(piece.rest);
        }
        out.extend_from_slice(b"]}");
    }
}

/// What stands before the updates. `more`: further parts follow; `any`: this part or one before it has updates.
pub fn write_envelope(out: &mut Vec<u8>, envelope: &Envelope, more: bool, any: bool) {
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
