//! A server's answer to the opening request: RFC 6455, 4.1.

use crate::{HandshakeError, fields::Fields, handshake};

/// A 101 that was checked against the key.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    fields: Fields<'a>,
}

impl<'a> Response<'a> {
    /// Whether it was among those offered is for the caller to check.
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.header("sec-websocket-protocol")
    }

    /// The first value of that name (case-insensitive) that is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.values(name).next()
    }

    /// The fields of a 101.
    pub(crate) fn check(fields: Fields<'a>, nonce: [u8; 16]) -> Result<Response<'a>, HandshakeError> {
        if !fields.has_token("upgrade", "websocket") {
            return Err(HandshakeError::NoUpgrade);
        }
        if !fields.has_token("connection", "upgrade") {
            return Err(HandshakeError::NoConnection);
        }
        let accept = handshake::accept_value(&handshake::key(nonce));
        if fields.only("sec-websocket-accept") != Some(&*accept) {
            return Err(HandshakeError::WrongAccept);
        }
        if let Some(extension) = fields.list("sec-websocket-extensions").next() {
            return Err(HandshakeError::Extension(extension.to_owned()));
        }
        Ok(Response { fields })
    }
}
