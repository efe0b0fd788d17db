//! Parsing a frame header: RFC 6455, 5.2, each rule as soon as its byte is there.

use crate::{Error, encode::Opcode};

/// Longest header with a mask.
pub(crate) const HEADER_BYTES_MAX: usize = 14;

/// RSV1 among the three reserved bits.
const RSV1: u8 = 0b100;

/// A frame's header, checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub opcode: Opcode,
    pub fin: bool,
    /// RSV1: it begins a compressed message (RFC 7692, 6).
    pub deflated: bool,
    /// Zero for an unmasked frame.
    pub key: [u8; 4],
    pub header_bytes: usize,
    pub payload_bytes: usize,
}

/// What the rules depend on besides the header itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    /// Masks come from clients, and from them always.
    pub masked: bool,
    /// Messages may be compressed.
    pub deflate: bool,
    /// Bytes so far of the fragmented message under way, if there is one.
    pub message_bytes: Option<usize>,
    pub message_bytes_max: usize,
}

impl Header {
    /// `None` while bytes are missing.
    #[inline]
    pub fn parse(bytes: &[u8], context: Context) -> Result<Option<Header>, Error> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (opcode, fin, deflated) = opcode(first, context)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if (second & 0x80 != 0) != context.masked {
            return Err(if context.masked { Error::Unmasked } else { Error::Masked });
        }
        if opcode.is_control() && second & 0x7f > 125 {
            return Err(Error::ControlTooLong(opcode as u8));
        }
        let Some((payload_bytes, length_end)) = length(bytes, second & 0x7f)? else { return Ok(None) };
        let payload_bytes = within_limit(payload_bytes, opcode, context)?;
        if !context.masked {
            let key = [0; 4];
            return Ok(Some(Header { opcode, fin, deflated, key, header_bytes: length_end, payload_bytes }));
        }
        let Some(&key) = bytes[length_end..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Header { opcode, fin, deflated, key, header_bytes: length_end + 4, payload_bytes }))
    }
}

#[inline]
fn opcode(first: u8, context: Context) -> Result<(Opcode, bool, bool), Error> {
    let fin = first & 0x80 != 0;
    let reserved = first >> 4 & 7;
    // Of a message's frames only the first says that it is compressed.
    let deflated = reserved == RSV1 && context.deflate && matches!(first & 0x0f, 1 | 2);
    if reserved != 0 && !deflated {
        return Err(Error::ReservedBits(reserved));
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Error::ReservedOpcode(first & 0x0f))?;
    let in_message = context.message_bytes.is_some();
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => Err(Error::FragmentedControl(opcode as u8)),
        Opcode::Continuation if !in_message => Err(Error::UnexpectedContinuation),
        Opcode::Text | Opcode::Binary if in_message => Err(Error::ExpectedContinuation(opcode as u8)),
        _ => Ok((opcode, fin, deflated)),
    }
}

/// The payload length and where its bytes end in the header.
#[inline]
fn length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Error> {
    let (length, end, length_min) = match short {
        126 => {
            let Some(&wide) = bytes[2..].first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(wide)), 4, 126)
        }
        127 => {
            if bytes.get(2).is_some_and(|top| top & 0x80 != 0) {
                return Err(Error::LengthTopBit);
            }
            let Some(&wide) = bytes[2..].first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(wide), 10, 0x1_0000)
        }
        _ => (u64::from(short), 2, 0),
    };
    if length < length_min {
        return Err(Error::LengthNotMinimal(length));
    }
    Ok(Some((length, end)))
}

/// Before any memory is taken for it.
#[inline]
fn within_limit(payload_bytes: u64, opcode: Opcode, context: Context) -> Result<usize, Error> {
    let limit = context.message_bytes_max as u64;
    let bytes = payload_bytes.saturating_add(context.message_bytes.unwrap_or(0) as u64);
    if !opcode.is_control() && bytes > limit {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        return Err(Error::MessageTooBig { bytes, limit });
    }
    // Not above the limit, which is a usize, or not above 125.
    Ok(payload_bytes as usize)
}
