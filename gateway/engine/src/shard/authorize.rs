//! Tokens that clients show: with the request for a WebSocket, and by the op `auth`.

use std::collections::VecDeque;

use net::Sockets;

use super::{
    Application, Shard,
    access::{Access, Waits},
    granting::TooMany,
    guard::AGAIN_US,
    pending::{Asked, Checking, Shown},
    witness::Seen,
};
use crate::{
    access::{
        bad::Bad,
        claims::Token,
        grants::Right,
        rules::Place,
        verify::{Check, Compact, Credential, Verdict, Verified},
    },
    client::{CloseReason, Refused, Upgrade, answers::BAD_TOKEN, close, cors::Field},
    clock::Now,
    protocol::{
        encoding::Encoding,
        reply::{FORBIDDEN, TOO_MANY, UNAUTHORIZED},
        request::{AUTO, Op, Subscribe},
    },
    topic::pattern::Pattern,
};

impl Shard {
    pub(super) fn on_upgrade(
        &mut self,
        slot: u32,
        mut upgrade: Box<Upgrade>,
        net: &mut impl Sockets,
        now: Now,
    ) {
        match upgrade.token.take() {
            Some(Credential::Token(token)) => self.verify(slot, token, Shown::Upgrade(upgrade), now),
            Some(Credential::Certificate) => {
                let token = self.certified(slot, net, now);
                self.judge_upgrade(slot, *upgrade, token, now);
            }
            None => self.admit(slot, *upgrade, None, now),
        }
    }

    /// What the certificate of a client stands for.
    fn certified(&mut self, slot: u32, net: &mut impl Sockets, now: Now) -> Result<Token, Bad> {
        let certificate = net.certificate(self.at(slot).id).ok_or(Bad::Unreadable)?;
        let verifier = self.shared.tokens.verifier.as_ref().ok_or(Bad::NoKey)?;
        let token = Token::certified(verifier.named_by(certificate)?, &self.guard.rules, now.wall_us)?;
        self.unless_revoked(token, now)
    }

    fn unless_revoked(&self, token: Token, now: Now) -> Result<Token, Bad> {
        let (sub, jti) = (token.sub.as_deref(), token.jti.as_deref());
        let is_revoked = self.shared.tokens.revocations.has(sub, jti, now.wall_us);
        if is_revoked { Err(Bad::Revoked) } else { Ok(token) }
    }

    fn judge_upgrade(&mut self, slot: u32, upgrade: Upgrade, token: Result<Token, Bad>, now: Now) {
        match token {
            Ok(token) => self.admit(slot, upgrade, Some(token), now),
            Err(bad) => {
                self.stats.tokens_refused += 1;
                let refusal = (Refused::Token, format!("bad token: {bad}"), BAD_TOKEN);
                self.refuse(slot, upgrade, refusal, now);
            }
        }
    }

    pub(super) fn on_auth(&mut self, slot: u32, id: Option<String>, token: Compact, now: Now) {
        if self.guard.rules.from.contains(&Place::Op) {
            return self.verify(slot, token, Shown::Auth { id }, now);
        }
        self.answer_refusal(
            slot,
            id.as_deref(),
            FORBIDDEN,
            "auth is not taken: [access] token_from has no \"op\"",
        );
    }

    fn verify(&mut self, slot: u32, token: Compact, by: Shown, now: Now) {
        let verifier = self.shared.tokens.verifier.as_ref();
        match verifier.map_or(Verdict::Known(Err(Bad::NoKey)), |verifier| verifier.verify(&token.0)) {
            Verdict::Known(verified) => self.on_verified(slot, by, verified, now),
            Verdict::Later => {
                let client = self.at(slot);
                let conn = client.id;
                let checking = Box::new(Checking { token: Some(token), by });
                client.pend(|pending| pending.checking = Some(checking));
                self.guard.unchecked.push_back(conn);
                self.begin_checks(now);
            }
        }
    }

    /// Has tokens verified elsewhere, as many as there are places for.
    fn begin_checks(&mut self, now: Now) {
        let Some(verifier) = self.shared.tokens.verifier.clone() else { return };
        while let Some(conn) = self.guard.unchecked.front().copied() {
            let is_waiting =
                self.client(conn).and_then(|client| client.pending()).is_some_and(|p| p.checking.is_some());
            if is_waiting && !self.shared.tokens.begin_check() {
                self.guard.again_us = now.mono_us + AGAIN_US;
                return;
            }
            self.guard.unchecked.pop_front();
            if !is_waiting {
                continue;
            }
            let token = self.at(conn.slot).pend(|p| p.checking.as_mut().and_then(|c| c.token.take()));
            let inbox = self.inbox.clone();
            verifier.begin(Check {
                token: token.expect("one that stands in line was not begun"),
                then: Box::new(move |verified| inbox.push_verified(conn, verified)),
            });
        }
    }

    /// Goes on with those whose token was verified elsewhere.
    pub(super) fn run_checks(&mut self, net: &mut impl Sockets, now: Now) {
        while let Some((conn, verified)) = self.inbox.pop_verified() {
            self.shared.tokens.end_check();
            let Some(client) = self.client(conn).filter(|client| client.pending().is_some()) else {
                continue;
            };
            if let Some(checking) = client.pend(|pending| pending.checking.take()) {
                self.on_verified(conn.slot, checking.by, verified, now);
                self.advance(conn.slot, net, now);
            }
        }
        if self.guard.next_us().is_some() {
            self.begin_checks(now);
        }
    }

    fn on_verified(&mut self, slot: u32, by: Shown, verified: Verified, now: Now) {
        let token = verified.and_then(|payload| {
            let token = Token::read(&payload, &self.guard.rules, now.wall_us)?;
            self.unless_revoked(token, now)
        });
        match (by, token) {
            (Shown::Upgrade(upgrade), token) => self.judge_upgrade(slot, *upgrade, token, now),
            (Shown::Auth { id }, Ok(token)) => self.authenticate(slot, id.as_deref(), token, now),
            (Shown::Auth { id }, Err(bad)) => {
                self.refuse_auth(slot, id.as_deref(), &format!("bad token: {bad}"), now);
            }
        }
    }

    /// Lets a client in, where it may subscribe to what rides on its URL.
    fn admit(&mut self, slot: u32, upgrade: Upgrade, token: Option<Token>, now: Now) {
        if token.is_some() && self.shared.draining() {
            let refusal = (Refused::Draining, Refused::Draining.text().to_owned(), &[][..]);
            return self.refuse(slot, upgrade, refusal, now);
        }
        let waits =
            token.is_none() && self.application == Application::Broadcast && self.guard.rules.wants_token();
        if let Some(token) = token {
            match self.holder_of(token, false, now) {
                Ok(holder) => self.at(slot).access = Some(Box::new(Access::Holds(holder))),
                Err(TooMany { max }) => {
                    let reason = format!("the subject of the token has {max} connections already");
                    let refusal = (Refused::Subject, reason, &[("Retry-After", "5")][..]);
                    return self.refuse(slot, upgrade, refusal, now);
                }
            }
        }
        if let (Some(subscribe), false) = (&upgrade.subscribe, waits)
            && let Some(pattern) = self.not_granted(slot, Right::Subscribe, &subscribe.topics)
        {
            let reason = format!("{pattern} is not granted");
            return self.refuse(slot, upgrade, (Refused::Grant, reason, &[]), now);
        }
        if let Some(refused) = self.is_vain(slot, &upgrade) {
            return self.refuse(slot, upgrade, (refused, refused.text().to_owned(), &[]), now);
        }
        if upgrade.is_head {
            let ended = self.at(slot).connection.answer(upgrade.head, CloseReason::ClientClosed, now);
            return self.ended(slot, ended, now);
        }
        if let Some(unjudged) = self.guard.unjudged.get_mut(slot as usize) {
            *unjudged = false;
        }
        let Upgrade { head, wire, deflate, declined, mut subscribe, .. } = upgrade;
        self.at(slot).connection.open(head, wire, deflate, now);
        if waits {
            let until_us = now.mono_us + self.limits.handshake_us;
            let subscribe = subscribe.take().map(Box::new);
            self.at(slot).access = Some(Box::new(Access::Waits(Waits { until_us, subscribe })));
        }
        self.stats.compression_declined += u64::from(declined);
        self.stats.accepted += 1;
        self.stats.accepted_by[wire.encoding.kind()] += 1;
        self.clients_open += 1;
        self.record(slot, Seen::Connected, now);
        self.ages.open(slot, now);
        self.set_timer(slot, now);
        self.tell_authorized(slot, None);
        self.greet(slot);
        if !waits {
            self.begin_subscriptions(slot, subscribe.map(Op::Subscribe), now);
        }
    }

    /// `fields`: of an HTTP answer.
    fn refuse(
        &mut self,
        slot: u32,
        upgrade: Upgrade,
        (refused, reason, fields): (Refused, String, &[Field<'_>]),
        now: Now,
    ) {
        self.stats.refused(refused.status(), Some(refused));
        self.record_refused(slot, refused, now);
        let answer = upgrade.refuse(refused, &reason, fields);
        let ended = self.at(slot).connection.answer(answer, CloseReason::Refused, now);
        self.ended(slot, ended, now);
    }

    fn record_refused(&mut self, slot: u32, refused: Refused, now: Now) {
        self.record(slot, Seen::Refused { status: Some(refused.status()), by: Some(refused) }, now);
    }

    fn refuse_auth(&mut self, slot: u32, id: Option<&str>, reason: &str, now: Now) {
        self.stats.tokens_refused += 1;
        self.record_refused(slot, Refused::Token, now);
        self.answer_refusal(slot, id, UNAUTHORIZED, reason);
        if self.at(slot).waits_for_token() {
            let ended =
                self.at(slot).connection.close_saying(CloseReason::Unauthorized, close::BAD_TOKEN, now);
            self.ended(slot, ended, now);
        }
    }

    /// A good token on an open connection: its first, or one in place of another.
    fn authenticate(&mut self, slot: u32, id: Option<&str>, token: Token, now: Now) {
        let held = self.at(slot).holder();
        if held.is_some_and(|held| held.sub() != token.sub.as_deref()) {
            return self.refuse_auth(slot, id, "the token is of another subject than the connection", now);
        }
        let is_counted = held.is_some();
        let holder = match self.holder_of(token, is_counted, now) {
            Ok(holder) => holder,
            Err(TooMany { max }) => {
                let reason = format!("the subject of the token has {max} connections already");
                self.record_refused(slot, Refused::Subject, now);
                self.answer_refusal(slot, id, TOO_MANY, &reason);
                if self.at(slot).waits_for_token() {
                    self.close(slot, CloseReason::Connections, now);
                }
                return;
            }
        };
        let before = self.at(slot).access.replace(Box::new(Access::Holds(holder)));
        self.at(slot).declines_auto = false;
        let due_us = self.access_due_us(slot, now);
        self.wheel.hasten(slot, due_us);
        self.tell_authorized(slot, id);
        match before.map(|before| *before) {
            Some(Access::Waits(waits)) => self.let_in(slot, waits.subscribe, now),
            Some(Access::Holds(before)) => {
                before.end(&mut self.guard.grants);
                self.at(slot).pend(|pending| pending.is_judged = true);
            }
            None => self.at(slot).pend(|pending| pending.is_judged = true),
        }
    }

    /// A client does not have to wait any more. `subscribe`: what rode on its URL.
    pub(super) fn let_in(&mut self, slot: u32, subscribe: Option<Box<Subscribe>>, now: Now) {
        let op = subscribe.map(|subscribe| Op::Subscribe(*subscribe));
        let op = op.filter(|op| !self.refuses(slot, None, op, now));
        self.begin_subscriptions(slot, op, now);
    }

    /// What is granted as `auto`, and behind it `op`: what rode on the URL, and is granted.
    fn begin_subscriptions(&mut self, slot: u32, op: Option<Op>, now: Now) {
        let is_raw = self.encoding_of(slot) == Encoding::Raw;
        let auto = if is_raw { Vec::new() } else { self.granted(slot, Right::Auto) };
        if auto.is_empty() {
            return op.into_iter().for_each(|op| self.ask(slot, None, op, now));
        }
        let auto = self.ours(auto_subscribe(auto));
        let op = op.map(|op| self.asked(None, op));
        self.at(slot).pend(|pending| pending.queue.extend([auto].into_iter().chain(op)));
    }

    /// What the gateway asks for a client, by what is granted.
    fn ours(&self, op: Op) -> Box<Asked> {
        let mut asked = self.asked(None, op);
        asked.is_ours = true;
        asked
    }

    /// Takes from a client what is not granted to it any more, and subscribes to what is now granted as `auto`.
    pub(super) fn judge_subscriptions(&mut self, slot: u32, now: Now) {
        if self.encoding_of(slot) == Encoding::Raw {
            return self.judge_raw(slot, now);
        }
        let mut auto = self.granted(slot, Right::Auto);
        let is_open = self.guard.rules.is_open;
        let granted = if is_open { Vec::new() } else { self.granted(slot, Right::Subscribe) };
        let mut queue = VecDeque::new();
        for at in 0..self.at(slot).subs.len() {
            let sub = &self.at(slot).subs[at];
            let (is_auto, class) = (&*sub.name == AUTO, sub.class);
            if is_open && !is_auto {
                continue;
            }
            let (name, mut held) = (sub.name.clone(), self.named_in(class));
            if is_auto {
                let wanted = |pattern: &Pattern| auto.contains(pattern);
                let (kept, lost): (Vec<Pattern>, Vec<Pattern>) = held.into_iter().partition(wanted);
                auto.retain(|pattern| !kept.contains(pattern));
                held = lost;
            } else {
                held.retain(|pattern| !granted.iter().any(|grant| grant.covers(pattern)));
            }
            if !held.is_empty() {
                queue.push_back(self.ours(Op::Unsubscribe { sub: name.into(), topics: Some(held) }));
            }
        }
        if !auto.is_empty() && !self.at(slot).declines_auto {
            queue.push_back(self.ours(auto_subscribe(auto)));
        }
        // What the client asks is judged when it goes on; what the gateway did was by what was granted before.
        let waiting = self.at(slot).pend(|pending| std::mem::take(&mut pending.queue));
        for asked in waiting {
            if asked.is_ours {
                self.fanout.release(&asked.interning.ids);
            } else {
                queue.push_back(asked);
            }
        }
        if !queue.is_empty() {
            self.at(slot).pend(|pending| pending.queue = queue);
        }
    }
}

fn auto_subscribe(topics: Vec<Pattern>) -> Op {
    Op::Subscribe(Subscribe { sub: AUTO.to_owned(), topics, ..Subscribe::default() })
}
