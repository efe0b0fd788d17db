//! Close frames: RFC 6455, 5.5.1 and 7.4.

use crate::Error;

/// What a peer's close frame said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close<'a> {
    /// 1000–1003, 1007–1014 or 3000–4999.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// The payload of a close frame; `None` when it is empty.
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Option<Close<'a>>, Error> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Error::CloseTooShort) };
        };
        let code = u16::from_be_bytes(*code);
        if !is_sendable(code) {
            return Err(Error::CloseCode(code));
        }
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Error::NotUtf8)?;
        Ok(Some(Close { code, reason }))
    }
}

/// 1004 is reserved; 1005, 1006 and 1015 stand for closes that were never on the wire.
pub(crate) fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
