//! Decompressing messages.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Deflated, TAIL};
use crate::{Error, Event};

/// This much a message may hold whatever its ratio: short ones hurt nobody.
const RATIO_FREE_BYTES: usize = 4096;

/// What can be read after this, and not by itself, refers back to earlier messages.
static ANY_CONTEXT: [u8; 32 << 10] = [0; 32 << 10];

/// What a compressed message has become.
#[derive(Debug)]
pub struct Inflated<'a> {
    /// [`Event::Text`] or [`Event::Binary`].
    pub message: Event<'a>,
    /// What the sender's next message may refer back to: the last bytes of what it compressed so far, as
    /// many as its window has. Empty where no message may.
    pub window: &'a [u8],
}

/// What a compressed message may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InflateLimits {
    /// Longest decompressed message, in bytes.
    pub message_bytes: usize,
    /// Most bytes out for each byte in, beside as many as the message may refer back to, where it is longer
    /// than 4 KiB.
    pub ratio: usize,
}

/// A decompressor that is used for one message after another, of any number of senders. It takes up to
/// 40 KB, and as much as the longest message it has held and what that referred back to.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    /// Room that was needed so far, which is filled with zeros once only: a message of many short blocks
    /// would have that done for each of them.
    room: Vec<u8>,
    /// Where in it the message begins, behind what it may refer back to.
    start: usize,
    /// What the message has become so far, in bytes.
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
        Inflater { decompress: Decompress::new(false), room: Vec::new(), start: 0, len: 0 }
    }

    /// The message, of a sender whose messages stand for themselves, as [`Event::Text`] or
    /// [`Event::Binary`]. The error is to be answered as that of an [`Event::Fail`] is: what else the peer
    /// sends is not to be read.
    pub fn inflate(&mut self, deflated: &Deflated<'_>, limits: InflateLimits) -> Result<Event<'_>, Error> {
        self.inflate_after(&[], deflated, limits).map(|inflated| inflated.message)
    }

    /// The same of a sender whose messages may refer back to earlier ones: `dictionary` is the
    /// [`Inflated::window`] of its last compressed message, nothing before its first.
    pub fn inflate_after(
        &mut self,
        dictionary: &[u8],
        deflated: &Deflated<'_>,
        limits: InflateLimits,
    ) -> Result<Inflated<'_>, Error> {
        let read = self.read(dictionary, deflated, limits);
        if read == Err(Error::NotDeflate)
            && deflated.context_bits.is_none()
            && self.read(&ANY_CONTEXT, deflated, limits) != Err(Error::NotDeflate)
        {
            return Err(Error::RefersBack);
        }
        read?;
        let all = &self.room[..self.start + self.len];
        let window_bytes = deflated.context_bits.map_or(0, |bits| 1 << bits);
        let window = &all[all.len().saturating_sub(window_bytes)..];
        let out = &all[self.start..];
        let message = if deflated.is_text {
            simdutf8::basic::from_utf8(out).map(Event::Text).map_err(|_| Error::NotUtf8)?
        } else {
            Event::Binary(out)
        };
        Ok(Inflated { message, window })
    }

    fn read(
        &mut self,
        dictionary: &[u8],
        deflated: &Deflated<'_>,
        limits: InflateLimits,
    ) -> Result<(), Error> {
        // What is taken from earlier messages costs next to nothing, once.
        let by_ratio = deflated.bytes.len().saturating_mul(limits.ratio).saturating_add(dictionary.len());
        let by_ratio = by_ratio.max(RATIO_FREE_BYTES);
        let bytes_max = limits.message_bytes.min(by_ratio);
        self.decompress.reset(false);
        self.begin_after(dictionary);
        self.push(deflated.bytes, bytes_max, deflated, limits)?;
        let bytes = self.len;
        self.push(&TAIL, bytes_max, deflated, limits)?;
        if self.len > bytes {
            // The tail holds nothing: it was read as the rest of a block that is cut.
            return Err(Error::NotDeflate);
        }
        Ok(())
    }

    /// Forgets the last message, and has the next one begin after `dictionary`.
    fn begin_after(&mut self, dictionary: &[u8]) {
        (self.start, self.len) = (dictionary.len(), 0);
        if dictionary.is_empty() {
            return;
        }
        if self.room.len() < dictionary.len() {
            self.room.resize(dictionary.len(), 0);
        }
        self.room[..dictionary.len()].copy_from_slice(dictionary);
        // Refused only where a header is expected, and there is none (RFC 1951).
        let set = self.decompress.set_dictionary(dictionary);
        debug_assert!(set.is_ok(), "{set:?}");
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
            let at = self.start + self.len;
            if self.room.len() < at + room {
                self.room.resize(at + room, 0);
            }
            let (read, made) = (self.decompress.total_in(), self.decompress.total_out());
            let status =
                self.decompress.decompress(input, &mut self.room[at..at + room], FlushDecompress::Sync);
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
