//! Tokens in the schedule: who shows one, who renews it, what is revoked, and what has to end by itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use engine::protocol::encoding::Encoding;
use engine::{
    access::{
        revoked::Revoked,
        rules::{Granted, Role, Rules},
    },
    json::{pointer::Pointer, wanted::Wanted},
    shard::inbox::{Message, Revocation},
};
use net::sim::PeerEnd;

use super::Simulation;
use crate::support::{
    Peer,
    subscriber::{Asked, AskedOp},
    tokens::{Pass, granted},
};

/// A connection is closed so soon after its token has ended: a reload has all looked at within a second.
const PROMPT: Duration = Duration::from_millis(1500);

/// Tokens of a world.
#[derive(Debug, Default)]
pub(super) struct Passes {
    /// How many were made.
    made: u64,
    /// Names of tokens that were revoked.
    revoked: Vec<String>,
    /// When the rules changed last. µs, monotonic.
    changed_us: u64,
}

/// Mostly everything may be read without a token.
pub(super) fn random_rules(rng: &mut fastrand::Rng) -> Rules {
    let anonymous = (rng.u8(..3) == 0).then(Granted::default);
    let mut rules =
        Rules { is_open: rng.u8(..3) > 0, leeway_us: rng.i64(0..3_000_000), anonymous, ..Rules::default() };
    change_grants(&mut rules, rng);
    rules
}

/// Other tables grant other things; who needs a token stays the same.
fn change_grants(rules: &mut Rules, rng: &mut fastrand::Rng) {
    let everyone: [&[&str]; 4] = [&[], &["a.*", "n.*.{sub}"], &["m.*", "a.*"], &["*"]];
    rules.everyone = granted(
        rng.choice(everyone).unwrap(),
        rng.choice([&["a.b"][..], &[], &["m.x", "k.*"], &["conn.{conn}"]]).unwrap(),
    );
    if let Some(anonymous) = &mut rules.anonymous {
        *anonymous = granted(
            rng.choice([&["*"][..], &["*"], &["m.*"]]).unwrap(),
            rng.choice([&["a"][..], &[]]).unwrap(),
        );
    }
    let role = |sub: &str, granted| {
        let when = (Pointer::parse("/sub").unwrap(), Wanted::Text(sub.to_owned()));
        Role { when: vec![when], granted }
    };
    let roles = [role("t1", granted(&["k.*", "s.*"], &[])), role("a.b/c", granted(&["n.*"], &["n.x.*"]))];
    rules.roles = roles.into_iter().filter(|_| rng.bool()).collect();
}

impl Simulation {
    fn rules(&self) -> Arc<Rules> {
        self.world.config.access.tokens.rules.clone()
    }

    fn random_pass(&mut self, sub: Option<String>) -> Pass {
        let grants: [&[&str]; 7] =
            [&["*"], &["*"], &["*"], &["m.*", "n.*", "s.*"], &["*.*", "a", "b"], &["k.*", "m.x.*"], &[]];
        let autos: [&[&str]; 5] = [&[], &[], &["k.0"], &["m.*", "s.gap.0"], &["*"]];
        let texts = |texts: Option<&[&str]>| texts.unwrap().iter().map(|text| text.to_string()).collect();
        let lives_s = if self.rng.bool() { self.rng.i64(3..40) } else { self.rng.i64(400..2000) };
        self.passes.made += 1;
        Pass {
            sub,
            jti: format!("j{}", self.passes.made),
            exp_s: self.world.now.wall_us / 1_000_000 + lives_s,
            subscribe: texts(self.rng.choice(grants)),
            auto: texts(self.rng.choice(autos)),
            is_bad: self.rng.u8(..20) == 0,
            ..Pass::default()
        }
    }

    /// What a client shows with its request.
    pub(super) fn show(&mut self) {
        let rules = self.rules();
        if rules.is_open && self.rng.u8(..4) > 0 {
            return;
        }
        let sub = self.rng.choice([None, Some("t1"), Some("a.b/c")]).unwrap().map(str::to_owned);
        if self.rng.u8(..3) > 0 {
            let pass = self.random_pass(sub);
            let is_late = self.rng.u8(..3) == 0;
            self.world.showing = Some((pass, is_late));
        }
    }

    /// What follows for a client that was just dialled.
    pub(super) fn expect_first(&mut self, peer: usize, shown: Option<Pass>) {
        let rules = self.rules();
        let encoding = self.world.peers[peer].encoding;
        match shown {
            // It is not told that its token was accepted.
            shown if encoding == Encoding::Raw => {
                self.world.peers[peer].model.pass = shown.filter(|pass| !pass.is_bad);
            }
            Some(pass) => {
                let asked = Asked { id: None, op: AskedOp::Auth { pass } };
                self.world.peers[peer].model.asked.push_back(asked);
            }
            None => {
                let auto = rules.anonymous.as_ref().map_or(&[][..], |granted| &granted.auto);
                if !auto.is_empty() {
                    let topics = auto.iter().map(|grant| grant.as_str().to_owned()).collect();
                    let op =
                        AskedOp::Subscribe { sub: "auto".to_owned(), topics, interval_ms: None, since: None };
                    self.world.peers[peer].model.asked.push_back(Asked { id: None, op });
                }
                if rules.wants_token() && encoding.takes_ops() && self.rng.u8(..8) > 0 {
                    self.renew(peer);
                }
            }
        }
    }

    /// Shows a token by an op.
    pub(super) fn renew(&mut self, peer: usize) {
        let model = &self.world.peers[peer].model;
        let shown = model.asked.iter().rev().find_map(|asked| match &asked.op {
            AskedOp::Auth { pass } if !pass.is_bad => Some(pass.sub.clone()),
            _ => None,
        });
        let held = shown.or(model.pass.as_ref().map(|pass| pass.sub.clone()));
        let sub = match held {
            Some(sub) if self.rng.u8(..10) > 0 => sub,
            _ => self.rng.choice([None, Some("t1".to_owned()), Some("x".to_owned())]).unwrap(),
        };
        let pass = self.random_pass(sub);
        self.world.ask(peer, AskedOp::Auth { pass });
    }

    /// Tokens that are verified elsewhere come back, one or all.
    pub(super) fn finish_checks(&mut self, all: bool) {
        while self.world.believer.finish() && all {}
    }

    /// All of them, also those that wait for a place.
    pub(super) fn finish_all_checks(&mut self) {
        while self.world.shared.tokens.checks() > 0 || self.world.shard.stats().checks_waiting > 0 {
            self.finish_checks(true);
            self.advance(Duration::from_millis(5));
        }
    }

    pub(super) fn revoke(&mut self) {
        let peer = self.rng.usize(..self.conduct.len());
        let Some(pass) = self.world.peers[peer].model.pass.clone() else { return };
        let revoked = Revoked::Jti(pass.jti.as_str().into());
        let now_us = self.world.now.wall_us;
        let until_us = now_us + 3_600_000_000;
        self.world.shared.tokens.revocations.revoke(revoked.clone(), until_us, now_us).unwrap();
        let revocation = Revocation { revoked: Arc::new(revoked), answer: Box::new(|_| {}) };
        assert!(self.world.inbox.push(Message::Revoke(revocation)).is_ok());
        self.world.peers[peer].model.may_be_revoked = true;
        self.passes.revoked.push(pass.jti);
        self.tally.revoked += 1;
    }

    /// Other tables grant other things from now on, once nothing is under way by which it could not be told who is
    /// judged by which.
    pub(super) fn reload_rules(&mut self) {
        (0..self.conduct.len()).for_each(|peer| self.world.resume(peer));
        self.finish_all_checks();
        let holds_up = !self.rules().is_open && self.rng.bool();
        let looked_at = self.world.config.limits.topics_looked_at_per_s;
        let build_bytes = self.world.config.fanout.build_bytes;
        if holds_up {
            // Until the rules have changed ops that look at many topics rest, and answers are short.
            self.world.config.limits.topics_looked_at_per_s = 20;
            self.world.config.fanout.build_bytes = 1 << 20;
            self.world.reload();
        }
        self.advance(PROMPT + Duration::from_millis(500));
        let is_clear = |peer: &Peer| {
            let own = |asked: &Asked| asked.is_own() || matches!(asked.op, AskedOp::Auth { .. });
            peer.slot_freed || peer.open && peer.model.doubtful == 0 && !peer.model.asked.iter().any(own)
        };
        let stats = self.world.shard.stats();
        let may_change =
            stats.build_clients + stats.build_classes == 0 && self.world.peers.iter().all(is_clear);
        if may_change && holds_up {
            self.ask_much();
        }
        if may_change {
            let mut rules = (*self.rules()).clone();
            change_grants(&mut rules, &mut self.rng);
            self.world.peers.iter_mut().for_each(|peer| peer.model.on_rules(&rules));
            self.world.config.access.tokens.rules = rules.into();
            self.passes.changed_us = self.world.now.mono_us;
            self.tally.rules += 1;
        }
        // With another limit those who rest go on.
        self.world.config.limits.topics_looked_at_per_s = looked_at;
        self.world.reload();
        if holds_up {
            self.world.settle();
            self.world.config.fanout.build_bytes = build_bytes;
            self.world.reload();
        }
    }

    /// Those who have asked for nothing do, so that some rest.
    fn ask_much(&mut self) {
        for peer in 0..self.conduct.len() {
            let Peer { open, leaving, model, encoding, .. } = &self.world.peers[peer];
            if *open && !leaving && encoding.takes_ops() && model.asked.is_empty() {
                (0..self.rng.usize(..4)).for_each(|_| self.subscribe(peer));
            }
        }
        self.world.settle();
    }

    /// Whoever reads has lost what is not granted any more.
    fn check_grants(&mut self) {
        let (now_us, stats) = (self.world.now.mono_us, self.world.shard.stats());
        let prompt_us = PROMPT.as_micros() as u64;
        let is_soon = now_us < self.passes.changed_us + prompt_us;
        if is_soon || self.draining || stats.build_clients + stats.build_classes > 0 {
            return;
        }
        for at in 0..self.conduct.len() {
            let peer = &self.world.peers[at];
            let is_there = peer.open && !peer.leaving && peer.close.is_none() && !peer.slot_freed;
            let reads = peer.reading && now_us - peer.reading_since_us > prompt_us;
            if is_there && reads && peer.model.asked.is_empty() {
                self.world.check_grants(at);
            }
        }
    }

    /// No subject has more connections than it may.
    fn check_subjects(&mut self) {
        let most = self.world.config.limits.connections_per_sub;
        let mut open: HashMap<&str, usize> = HashMap::new();
        for peer in &self.world.peers {
            let is_there =
                peer.open && peer.reading && !peer.leaving && peer.close.is_none() && !peer.slot_freed;
            let is_open = self.world.net.inner().peer_end(peer.conn) == PeerEnd::Open;
            let sub = peer.model.pass.as_ref().and_then(|pass| pass.sub.as_deref());
            if let Some(sub) = sub.filter(|_| is_there && is_open) {
                *open.entry(sub).or_default() += 1;
            }
        }
        let over = open.iter().find(|(_, count)| most > 0 && **count > most);
        assert_eq!(over, None, "more than {most} of one subject");
    }

    /// Nobody who reads is served on a token that has ended, by itself or by revocation.
    pub(super) fn check_tokens(&mut self) {
        self.check_grants();
        self.check_subjects();
        let (now, leeway_us) = (self.world.now, self.rules().leeway_us);
        let prompt_us = PROMPT.as_micros() as u64;
        for (at, peer) in self.world.peers.iter().enumerate() {
            let is_there = peer.open && !peer.leaving && peer.close.is_none() && !peer.slot_freed;
            let reads = peer.reading && now.mono_us - peer.reading_since_us > prompt_us;
            let is_open = self.world.net.inner().peer_end(peer.conn) == PeerEnd::Open;
            let Some(pass) = peer.model.pass.as_ref().filter(|_| is_there && reads && is_open) else {
                continue;
            };
            let over_us = now.wall_us - pass.exp_s * 1_000_000 - leeway_us;
            assert!(over_us < prompt_us as i64, "peer {at}: its token has ended {over_us} µs ago");
            // The message may lie behind others.
            let is_revoked = self.passes.revoked.contains(&pass.jti) && self.world.inbox.is_empty();
            assert!(!is_revoked, "peer {at}: its token was revoked");
        }
    }

    /// Whether a client may be closed with 4401.
    pub(super) fn may_be_unauthorized(&self, at: usize) -> bool {
        let model = &self.world.peers[at].model;
        let is_missing = self.rules().wants_token() && model.pass.is_none();
        model.may_be_revoked || is_missing || model.accepted == 0 && self.has_shown_a_bad_one(at)
    }

    /// Whether the first token that a client showed cannot be accepted, or not any more.
    fn has_shown_a_bad_one(&self, at: usize) -> bool {
        let mut shown = self.world.peers[at].model.asked.iter().filter_map(|asked| match &asked.op {
            AskedOp::Auth { pass } => Some(pass),
            _ => None,
        });
        let ends_us = |pass: &Pass| pass.exp_s * 1_000_000 + self.rules().leeway_us;
        shown.next().is_some_and(|pass| pass.is_bad || ends_us(pass) <= self.world.now.wall_us)
    }

    /// Whether a client's token has ended.
    pub(super) fn has_expired(&self, at: usize) -> bool {
        let pass = self.world.peers[at].model.pass.as_ref();
        pass.is_some_and(|pass| pass.exp_s * 1_000_000 + self.rules().leeway_us <= self.world.now.wall_us)
    }

    /// Whether a request may have been refused for its token, or waited for it for too long.
    pub(super) fn may_be_refused(&self, peer: &Peer) -> bool {
        let shown = peer.model.asked.iter().any(|asked| matches!(asked.op, AskedOp::Auth { .. }));
        let is = |status: &[u8]| peer.http.starts_with(status);
        let is_crowded = self.may_be_crowded() && is(b"HTTP/1.1 429 ");
        // Who cannot ask later is refused at once, also for what it may not have.
        let is_refused = match peer.encoding.takes_ops() {
            true => shown && (peer.http.is_empty() || is(b"HTTP/1.1 401 ") || is_crowded),
            false => peer.http.is_empty() || is(b"HTTP/1.1 401 ") || is(b"HTTP/1.1 403 ") || is_crowded,
        };
        !peer.open && is_refused
    }

    /// Whether a subject may have as many connections as it may.
    pub(super) fn may_be_crowded(&self) -> bool {
        self.world.config.limits.connections_per_sub > 0
    }

    /// Counts what its tokens came to.
    pub(super) fn note_tokens(&mut self, at: usize) {
        let model = &self.world.peers[at].model;
        self.tally.authorized += model.accepted;
        self.tally.taken += model.taken;
        self.tally.not_granted += model.refused;
        let code = self.world.peers[at].close_code();
        self.tally.expired += u64::from(code == Some(4005));
        self.tally.unauthorized += u64::from(code == Some(4401));
    }
}
