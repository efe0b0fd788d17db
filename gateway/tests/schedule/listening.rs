//! Other ways to listen in the schedule: streams over HTTP, and bare values.

use engine::protocol::encoding::Encoding;
use proto::encode::Opcode;

use super::{INTERVALS_MS, Saved, Simulation};
use crate::support::{
    raw::Values,
    subscriber::{Asked, AskedOp},
};

/// What a client asks for by its URL.
pub(super) struct Target {
    pub url: String,
    subscribe: Option<AskedOp>,
    values: Option<Values>,
}

impl Simulation {
    /// Who says all by its URL may come back to where it was.
    pub(super) fn target(&mut self, encoding: Encoding) -> Target {
        let resumed = self.resumed.take();
        let interval_ms = self.rng.choice(INTERVALS_MS).unwrap();
        let interval = interval_ms.map_or_else(String::new, |ms| format!("interval_ms={ms}"));
        if encoding.takes_ops() {
            return Target { url: "/ws".to_owned(), subscribe: None, values: None };
        }
        if encoding == Encoding::Raw {
            let topic = self.rng.choice(["a", "a.b", "m.x", "s.gap.0", "s.gap.1"]).unwrap();
            let snapshot = self.rng.bool();
            let url = format!("/raw/{topic}?snapshot={}&{interval}", u8::from(snapshot));
            let values = Some(Values::new(topic, snapshot, &self.world.publisher.epochs));
            return Target { url, subscribe: None, values };
        }
        let mut topics: Vec<String> =
            (0..self.rng.usize(1..4)).map(|_| self.rng.choice(&self.patterns).unwrap().clone()).collect();
        topics.sort();
        topics.dedup();
        let mut since = None;
        if let Some(Saved { patterns, epoch, version, .. }) = resumed {
            (topics, since) = (patterns, Some((epoch, version)));
        }
        let path = if encoding == Encoding::Ndjson { "/stream" } else { "/sse" };
        let at =
            since.as_ref().map_or_else(String::new, |(epoch, version)| format!("&since={epoch}:{version}"));
        let url = format!("{path}?topics={}&{interval}{at}", topics.join(","));
        let subscribe = Some(AskedOp::Subscribe { sub: String::new(), topics, interval_ms, since });
        Target { url, subscribe, values: None }
    }

    pub(super) fn expect_target(&mut self, peer: usize, target: Target) {
        let peer = &mut self.world.peers[peer];
        peer.raw = target.values;
        peer.model.asked.extend(target.subscribe.map(|op| Asked { id: None, op }));
    }

    /// Something that a client without ops does. What it says of bare values is not granted.
    pub(super) fn say_something(&mut self, peer: usize) {
        if self.world.peers[peer].encoding != Encoding::Raw {
            // It is passed over.
            self.world.send_raw(peer, b"GET / HTTP/1.1\r\n");
            return;
        }
        for _ in 0..if self.rng.u8(..40) == 0 { 30 } else { 1 } {
            self.conduct[peer].garbage += 1;
            self.world.send_frame(peer, Opcode::Text, b"hello");
        }
    }
}
