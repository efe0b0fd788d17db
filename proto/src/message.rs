//! A message that is put together from several pieces.

use crate::Error;

/// A message under way.
#[derive(Debug)]
pub(crate) enum Message {
    Text(Text),
    Binary(Vec<u8>),
    /// Compressed, of text or not.
    Deflated {
        is_text: bool,
        bytes: Vec<u8>,
    },
    /// After our close frame nobody wants it; only the order of frames still counts.
    Ignored,
}

impl Message {
    /// Appends a piece. `bytes_max` bounds the capacity; that the content stays below it was
    /// checked with the frame header.
    pub fn push(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Error> {
        match self {
            Message::Text(text) => return text.push(piece, bytes_max),
            Message::Binary(bytes) | Message::Deflated { bytes, .. } => {
                bytes.reserve_exact(growth(bytes.len(), bytes.capacity(), piece.len(), bytes_max));
                bytes.extend_from_slice(piece);
            }
            Message::Ignored => {}
        }
        Ok(())
    }

    /// Bytes received.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.checked.len() + usize::from(text.carry_len),
            Message::Binary(bytes) | Message::Deflated { bytes, .. } => bytes.len(),
            Message::Ignored => 0,
        }
    }

    /// Bytes of heap taken.
    pub fn capacity(&self) -> usize {
        match self {
            Message::Text(text) => text.checked.capacity(),
            Message::Binary(bytes) | Message::Deflated { bytes, .. } => bytes.capacity(),
            Message::Ignored => 0,
        }
    }
}

/// Text, checked as it comes: every byte is looked at once, and what is not UTF-8 is found with
/// the first byte that proves it (RFC 6455, 8.1).
#[derive(Debug, Default)]
pub(crate) struct Text {
    checked: String,
    /// The beginning of a character cut by the end of a piece, valid so far; up to 3 bytes rest here.
    carry: [u8; 4],
    carry_len: u8,
}

impl Text {
    fn push(&mut self, mut piece: &[u8], bytes_max: usize) -> Result<(), Error> {
        let capacity = self.checked.capacity();
        let more = usize::from(self.carry_len) + piece.len();
        self.checked.reserve_exact(growth(self.checked.len(), capacity, more, bytes_max));
        while self.carry_len > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            self.carry(&[byte])?;
            piece = rest;
        }
        let (whole, cut) = piece.split_at(piece.len() - cut_character(piece));
        self.checked.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| Error::NotUtf8)?);
        self.carry(cut)
    }

    /// Adds to the character under way.
    fn carry(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let had = usize::from(self.carry_len);
        let len = had + bytes.len();
        self.carry[had..len].copy_from_slice(bytes);
        match std::str::from_utf8(&self.carry[..len]) {
            Ok(character) => {
                self.checked.push_str(character);
                self.carry_len = 0;
            }
            Err(error) if error.error_len().is_some() => return Err(Error::NotUtf8),
            Err(_) => self.carry_len = len as u8,
        }
        Ok(())
    }

    /// The whole message.
    pub fn finish(&self) -> Result<&str, Error> {
        if self.carry_len > 0 { Err(Error::NotUtf8) } else { Ok(&self.checked) }
    }
}

/// How many bytes at the end (at most 3) are a character whose end is missing. Wrong for bytes
/// that are no UTF-8 anyway, which the checks on either side of the cut find.
fn cut_character(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x80..=0xbf => continue,
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        return if width > back + 1 { back + 1 } else { 0 };
    }
    0
}

/// What to reserve for `more` bytes: doubling, so that pieces cost little, but never past `bytes_max`.
fn growth(len: usize, capacity: usize, more: usize, bytes_max: usize) -> usize {
    let needed = len + more;
    if needed <= capacity { 0 } else { (capacity * 2).min(bytes_max).max(needed) - len }
}
