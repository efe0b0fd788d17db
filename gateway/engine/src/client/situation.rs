//! What the answer to a request depends on beside it.

use std::net::SocketAddr;

use super::{dictionaries::Dictionaries, handshakes::Handshakes, refused::Refused};
use crate::{
    access::{rules::Rules, verify::Verify},
    address::Address,
    clock::Now,
    http::{host::Host, origin::Origins, proxies::Proxies, raw_path::RawPath},
    minutely::Minutely,
    settings::{Compression, Refusing},
};

/// What the answer depends on beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    pub peer: Address,
    /// The peer is a proxy whose word on the host that it was asked for counts, where origins are compared with it.
    pub is_proxied: bool,
    /// The listener's address is of loopback.
    pub is_loopback: bool,
    /// `[access] hosts`.
    pub hosts: &'a [Host],
    /// `[access] origins`.
    pub origins: &'a Origins,
    /// `[server] refuse`.
    pub refusing: Refusing,
    /// Where the peer is a proxy that tells for whom it asks.
    pub proxies: Option<&'a Proxies>,
    pub refused: Option<Refused>,
    pub draining: bool,
    /// Sources are waited for that have brought nothing yet.
    pub warming: bool,
    /// Why the gateway does not keep up.
    pub behind: Option<&'static str>,
    /// Some shard does not answer the control plane.
    pub silent: bool,
    pub admin: Option<SocketAddr>,
    pub admin_tls: bool,
    /// `[limits] patterns`.
    pub patterns_max: usize,
    pub compression: &'a Compression,
    /// What `[access]` says of tokens, and what verifies them; `None`: there are no keys.
    pub rules: &'a Rules,
    pub verifier: Option<&'a dyn Verify>,
    /// The client has shown a certificate.
    pub has_certificate: bool,
    /// Room for what clients' compressed messages refer back to.
    pub dictionaries: &'a Dictionaries,
    /// How many may begin.
    pub handshakes: &'a Handshakes,
    /// Requests that are refused for their host, and for their origin: the log names some.
    pub hosts_told: &'a Minutely,
    pub origins_told: &'a Minutely,
    pub now: Now,
    /// `[[raw]]`.
    pub raw_paths: &'a [RawPath],
    /// Every path is a WebSocket and no subprotocol is spoken: the echo server.
    pub echo: bool,
}

impl Situation<'_> {
    /// The log names a request that is refused for its page or its host, once a minute.
    pub(super) fn tell(&self, reason: &str, told: &Minutely) {
        if let Some(left_out) = told.happened(self.now.mono_us) {
            tracing::warn!(peer = %self.peer, left_out, "refused with 403: {reason}");
        }
    }
}
