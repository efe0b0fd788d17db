//! The ways in which clients speak: plain, by TLS, in MessagePack.

use engine::protocol::encoding::Encoding;

use super::{
    World,
    subscriber::{Asked, AskedOp},
    tls::{Clients, Version},
    tokens::Pass,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Plain,
    Tls,
    Msgpack,
}

pub const WIRES: [Wire; 3] = [Wire::Plain, Wire::Tls, Wire::Msgpack];

impl World {
    /// A connection with its handshake sent.
    pub fn dial_by(&mut self, wire: Wire, target: &str) -> usize {
        match wire {
            Wire::Plain => self.dial_to(target),
            Wire::Msgpack => self.dial_as(target, true, Encoding::Msgpack),
            Wire::Tls => {
                let tls = Clients::without_tickets().connect(Version::Tls13);
                self.dial_tls(Some(tls), target, false, Encoding::Json)
            }
        }
    }

    /// The same, showing a token that is verified at once.
    pub fn dial_by_showing(&mut self, wire: Wire, target: &str, pass: &Pass) -> usize {
        self.showing = Some((pass.clone(), false));
        let peer = self.dial_by(wire, target);
        let op = AskedOp::Auth { pass: pass.clone() };
        self.peers[peer].model.asked.push_back(Asked { id: None, op });
        peer
    }
}
