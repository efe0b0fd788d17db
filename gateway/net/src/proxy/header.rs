//! What a proxy says before a connection that it passes on: the PROXY protocol, versions 1 and 2.
//!
//! The crate `proxy-header` understands a header; where one ends, and that it is bounded, is decided here.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};

use crate::counters::ProxyFailure;

const V1_BEGIN: &[u8] = b"PROXY ";
/// A line of version 1 with its end.
const V1_BYTES_MAX: usize = 107;
const V2_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2, before the part whose length the last two of them tell.
const V2_FIXED_BYTES: usize = 16;
/// Of version 2, with all that a proxy adds to the addresses.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Version 2, LOCAL: the proxy asks for itself.
const LOCAL: u8 = 0x20;
/// How a header looks by which a proxy asks for itself.
pub const LOCAL_HEADER: [u8; V2_FIXED_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub bytes: usize,
    /// The client; `None`: whoever holds the other end of the socket.
    pub source: Option<SocketAddr>,
}

impl Header {
    /// The header at the beginning of what came so far. `None`: it is not whole yet.
    pub fn read(received: &[u8]) -> Result<Option<Self>, ProxyFailure> {
        let begins = |with: &[u8]| received.iter().zip(with).all(|(a, b)| a == b);
        let end = if begins(V1_BEGIN) {
            v1_end(received)?
        } else if begins(V2_BEGIN) {
            v2_end(received)?
        } else {
            return Err(ProxyFailure::Missing);
        };
        match end.and_then(|end| received.get(..end)) {
            Some(header) => Self::whole(header).map(Some),
            None => Ok(None),
        }
    }

    fn whole(header: &[u8]) -> Result<Self, ProxyFailure> {
        let bytes = header.len();
        // Whatever addresses stand in it.
        if header.starts_with(V2_BEGIN) && header[V2_BEGIN.len()] == LOCAL {
            return Ok(Self { bytes, source: None });
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        match ProxyHeader::parse(header, config) {
            Ok((parsed, used)) if used == bytes => {
                let told = parsed.proxied_address().filter(|told| told.protocol == Protocol::Stream);
                Ok(Self { bytes, source: told.map(|told| told.source) })
            }
            _ => Err(ProxyFailure::Malformed),
        }
    }
}

fn v1_end(received: &[u8]) -> Result<Option<usize>, ProxyFailure> {
    match received.iter().take(V1_BYTES_MAX).position(|byte| *byte == b'\n') {
        None if received.len() >= V1_BYTES_MAX => Err(ProxyFailure::TooLong),
        at => Ok(at.map(|at| at + 1)),
    }
}

fn v2_end(received: &[u8]) -> Result<Option<usize>, ProxyFailure> {
    let Some(&[high, low]) = received.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES) else { return Ok(None) };
    let end = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if end > HEADER_BYTES_MAX { Err(ProxyFailure::TooLong) } else { Ok(Some(end)) }
}
