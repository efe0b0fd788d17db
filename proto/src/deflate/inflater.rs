//! Decompressing messages.

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::{Error, Event};

/// This much a message may hold whatever its ratio: short ones hurt nobody.
const RATIO_FREE_BYTES: usize = 4096;

/// A compressed message, whole and as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflated<'a> {
    /// It is text, which is checked when it is decompressed.
    pub is_text: bool,
    /// Without the tail that RFC 7692, 7.2.1 takes off.
    pub bytes: &'a [u8],
}

/// What a compressed message may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InflateLimits {
    /// Longest decompressed message, in bytes.
    pub message_bytes: usize,
    /// Most bytes out for each byte in, where a message is longer than 4 KiB.
    pub ratio: usize,
}

/// A decompressor that is used for one message after another. It takes up to 40 KB, and as much as the
/// longest message it has held.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    /// Room that was needed so far, which is filled with zeros once only: a message of many short blocks
    /// would have that done for each of them.
    room: Vec<u8>,
    /// What the message has become so far.
    len: usize,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater::new()
    }
}

impl Inflater {
    /// For windows of any size.
    pub fn new() -> Inflater {
        Inflater { decompress: Decompress::new(false), room: Vec::new(), len: 0 }
    }

    /// The message as [`Event::Text`] or [`Event::Binary`]. The error is to be answered as that of an
    /// [`Event::Fail`] is: what else the peer sends is not to be read.
    pub fn inflate(&mut self, deflated: &Deflated<'_>, limits: InflateLimits) -> Result<Event<'_>, Error> {
        let by_ratio = deflated.bytes.len().saturating_mul(limits.ratio).max(RATIO_FREE_BYTES);
        let bytes_max = limits.message_bytes.min(by_ratio);
        self.len = 0;
        self.decompress.reset(false);
        self.push(deflated.bytes, bytes_max, deflated, limits)?;
        let bytes = self.len;
        self.push(&TAIL, bytes_max, deflated, limits)?;
        if self.len > bytes {
            // The tail holds nothing: it was read as the rest of a block that is cut.
            return Err(Error::NotDeflate);
        }
        let out = &self.room[..self.len];
        if !deflated.is_text {
            return Ok(Event::Binary(out));
        }
        simdutf8::basic::from_utf8(out).map(Event::Text).map_err(|_| Error::NotUtf8)
    }

    /// Appends what `input` goes on with.
    fn push(
        &mut self,
        mut input: &[u8],
        bytes_max: usize,
        deflated: &Deflated<'_>,
        limits: InflateLimits,
    ) -> Result<(), Error> {
        loop {
            // One byte more than there may be tells that there is more.
            let room = (input.len() * 4).clamp(512, 64 << 10).min(bytes_max + 1 - self.len);
            if self.room.len() < self.len + room {
                self.room.resize(self.len + room, 0);
            }
            let (read, made) = (self.decompress.total_in(), self.decompress.total_out());
            let status = self.decompress.decompress(
                input,
                &mut self.room[self.len..self.len + room],
                FlushDecompress::Sync,
            );
            input = &input[(self.decompress.total_in() - read) as usize..];
            let made = (self.decompress.total_out() - made) as usize;
            self.len += made;
            if self.len > bytes_max {
                return Err(match limits.message_bytes {
                    message_bytes if bytes_max == message_bytes => {
                        let limit = u32::try_from(message_bytes).unwrap_or(u32::MAX);
                        Error::MessageTooBig { bytes: self.len as u64, limit }
                    }
                    _ => Error::Bomb { bytes: deflated.bytes.len() as u64, ratio: limits.ratio as u32 },
                });
            }
            match status.map_err(|_| Error::NotDeflate)? {
                // A block that says it is the last may be followed by more (RFC 7692, 7.2.3.4).
                Status::StreamEnd if !input.is_empty() => self.decompress.reset(false),
                Status::StreamEnd => return Ok(()),
                Status::Ok | Status::BufError if made < room => {
                    return if input.is_empty() { Ok(()) } else { Err(Error::NotDeflate) };
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}
