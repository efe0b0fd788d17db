//! Connections that do not begin as those of a trusted proxy do.

use engine::protocol::encoding::Encoding;

use super::Simulation;
use crate::support::proxies::{self, BALANCER};

impl Simulation {
    /// Nobody is let in by such a header, whatever follows.
    pub(super) fn forge(&mut self) -> usize {
        let stranger = self.world.address;
        let (socket, begin) = match self.rng.u8(..5) {
            0 => (stranger, proxies::header(stranger)),
            1 => (BALANCER, Vec::new()),
            2 => (BALANCER, b"PROXY TCP4 somewhere\r\n".to_vec()),
            3 => (BALANCER, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec()),
            _ => (BALANCER, b"PROXY TCP4 192.0".to_vec()),
        };
        let peer = self.world.dial_beneath(socket, &begin, 0);
        if self.rng.bool() {
            self.world.speak(peer, "/ws", false, Encoding::Json);
        }
        self.world.peers[peer].leaving = true;
        peer
    }
}
