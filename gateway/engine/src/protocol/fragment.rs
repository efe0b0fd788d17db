//! Long messages in fragments (RFC 6455, section 5.4), and where frames in a row may be cut.

use std::borrow::Cow;

use proto::encode::{self, HEADER_BYTES_MAX};

/// The longest payload of a frame: between two of them a pong or a close may pass.
pub const FRAGMENT_BYTES: usize = 64 << 10;

const FIN: u8 = 0x80;

/// The first of whole, unmasked frames in a row.
#[derive(Debug)]
pub struct First<'a> {
    /// FIN, RSV1 and the opcode.
    pub byte: u8,
    pub payload: &'a [u8],
    /// Of the whole frame.
    pub bytes: usize,
}

/// The first of `frames`, which are whole, unmasked, and at least one.
pub fn first(frames: &[u8]) -> First<'_> {
    let (start, len) = match frames[1] {
        126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
        127 => {
            let len: [u8; 8] = frames[2..HEADER_BYTES_MAX].try_into().expect("it has eight bytes");
            (HEADER_BYTES_MAX, u64::from_be_bytes(len) as usize)
        }
        len => (2, len.into()),
    };
    First { byte: frames[0], payload: &frames[start..start + len], bytes: start + len }
}

/// Whether `frames` in a row are sent in several pieces.
#[inline]
pub fn is_long(frames: &[u8], fragment_bytes: usize) -> bool {
    frames.len() > fragment_bytes + HEADER_BYTES_MAX
}

/// Bytes of the whole frames at the start of `frames` that are sent together: at least one.
pub fn piece_bytes(frames: &[u8], fragment_bytes: usize) -> usize {
    let mut bytes = first(frames).bytes;
    while bytes < frames.len() {
        let end = bytes + first(&frames[bytes..]).bytes;
        if end > fragment_bytes + HEADER_BYTES_MAX {
            break;
        }
        bytes = end;
    }
    bytes
}

/// The same messages, each of which is one frame, with the long ones in fragments; `None`: none is long.
pub fn fragmented(frames: &[u8], fragment_bytes: usize) -> Option<Vec<u8>> {
    if frames.len() <= fragment_bytes {
        return None;
    }
    let headers = frames.len() / fragment_bytes * HEADER_BYTES_MAX;
    let (mut out, mut rest) = (Vec::with_capacity(frames.len() + headers), frames);
    while !rest.is_empty() {
        let frame = first(rest);
        encode::fragments(&mut out, frame.byte & !FIN, frame.payload, fragment_bytes);
        rest = &rest[frame.bytes..];
    }
    Some(out)
}

/// The first message of `frames`, its fragments joined, and the frames after it.
pub fn next_message(frames: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut frame = first(frames);
    let mut rest = &frames[frame.bytes..];
    let mut message = Cow::Borrowed(frame.payload);
    while frame.byte & FIN == 0 {
        frame = first(rest);
        rest = &rest[frame.bytes..];
        message.to_mut().extend_from_slice(frame.payload);
    }
    (message, rest)
}

#[cfg(test)]
mod tests {
    use proto::encode::{Opcode, frame};

    use super::*;

    #[test]
    fn what_is_cut_is_whole_frames_and_joined_it_is_what_it_was() {
        let messages = [vec![b'a'; 10], vec![b'b'; 1000], vec![b'c'; 64], Vec::new(), vec![b'd'; 65]];
        let mut frames = Vec::new();
        messages.iter().for_each(|message| frame(&mut frames, Opcode::Text, message));
        assert!(fragmented(&frames[..12], 64).is_none());
        let frames = fragmented(&frames, 64).unwrap();
        let (mut rest, mut joined) = (&frames[..], Vec::new());
        while !rest.is_empty() {
            let (message, later) = next_message(rest);
            joined.push(message.into_owned());
            rest = later;
        }
        assert_eq!(joined, messages);
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let (mut piece, later) = rest.split_at(piece_bytes(rest, 64));
            assert!(!is_long(piece, 64), "{} bytes", piece.len());
            while !piece.is_empty() {
                piece = &piece[first(piece).bytes..];
            }
            rest = later;
        }
    }
}
