//! A server's answer to the opening request: RFC 6455, 4.1.

use crate::{HandshakeError, deflate::Agreement, fields::Fields, handshake};

/// Header fields of an answer other than 101.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(pub(crate) Fields<'a>);

impl<'a> Headers<'a> {
    /// The first value of that name (case-insensitive) that is UTF-8.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.values(name).next()
    }
}

/// A 101 that was checked against the key.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    fields: Fields<'a>,
    deflate: bool,
}

impl<'a> Response<'a> {
    /// Whether it was among those offered is for the caller to check. An empty field names none.
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.fields.values("sec-websocket-protocol").find(|name| !name.is_empty())
    }

    /// Whether the server accepts the permessage-deflate that was offered.
    pub fn deflate(&self) -> bool {
        self.deflate
    }

    /// The first value of that name (case-insensitive) that is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.values(name).next()
    }

    /// The fields of a 101. `offered`: permessage-deflate was.
    pub(crate) fn check(
        fields: Fields<'a>,
        nonce: [u8; 16],
        offered: bool,
    ) -> Result<Response<'a>, HandshakeError> {
        if let Some(name) = fields.dubious(is_vital) {
            return Err(HandshakeError::Dubious(name));
        }
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
        let mut deflate = false;
        for extension in fields.list("sec-websocket-extensions") {
            if deflate || !offered || !Agreement::accepts_ours(extension) {
                return Err(HandshakeError::Extension(extension.to_owned()));
            }
            deflate = true;
        }
        Ok(Response { fields, deflate })
    }
}

/// Whether the handshake rests on a field of that name (RFC 6455, 4.1).
fn is_vital(name: &str) -> bool {
    const PREFIX: &str = "sec-websocket-";
    let begins = name.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX));
    begins || name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("connection")
}
