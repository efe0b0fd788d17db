//! A compressed message.

/// A compressed message, whole and as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflated<'a> {
    /// It is text, which is checked when it is decompressed.
    pub is_text: bool,
    /// Without the tail that RFC 7692, 7.2.1 takes off.
    pub bytes: &'a [u8],
    /// The sender's window as a power of two, where the message may refer back to earlier ones (7.1.1).
    pub context_bits: Option<u8>,
}
