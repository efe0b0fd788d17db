//! How long a frame may be, and where frames in a row may be cut, so that others pass between (RFC 6455, 5.4).

use proto::encode::HEADER_BYTES_MAX;

/// The longest payload of a frame: between two of them a pong or a close may pass.
pub const FRAGMENT_BYTES: usize = 64 << 10;

/// Bytes of the first of `frames`, which are whole, unmasked, and at least one.
fn first_bytes(frames: &[u8]) -> usize {
    match frames[1] {
        126 => 4 + usize::from(u16::from_be_bytes([frames[2], frames[3]])),
        127 => {
            let len: [u8; 8] = frames[2..HEADER_BYTES_MAX].try_into().expect("it has eight bytes");
            HEADER_BYTES_MAX + u64::from_be_bytes(len) as usize
        }
        len => 2 + usize::from(len),
    }
}

/// Whether `frames` in a row are sent in several pieces.
#[inline]
pub fn is_long(frames: &[u8], fragment_bytes: usize) -> bool {
    frames.len() > fragment_bytes + HEADER_BYTES_MAX
}

/// Bytes of the whole frames at the start of `frames` that are sent together: at least one.
pub fn piece_bytes(frames: &[u8], fragment_bytes: usize) -> usize {
    let mut bytes = first_bytes(frames);
    while bytes < frames.len() {
        let end = bytes + first_bytes(&frames[bytes..]);
        if end > fragment_bytes + HEADER_BYTES_MAX {
            break;
        }
        bytes = end;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encoding::Encoding;

    #[test]
    fn what_is_cut_is_whole_frames_and_no_piece_is_long() {
        let mut frames = Vec::new();
        for bytes in [10, 1000, 64, 0, 65] {
            let json = format!("\"{}\"", "a".repeat(bytes));
            Encoding::Json.frame(json.as_bytes(), 64, &mut frames);
        }
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let (mut piece, later) = rest.split_at(piece_bytes(rest, 64));
            assert!(!is_long(piece, 64), "{} bytes", piece.len());
            while !piece.is_empty() {
                piece = &piece[first_bytes(piece)..];
            }
            rest = later;
        }
    }
}
