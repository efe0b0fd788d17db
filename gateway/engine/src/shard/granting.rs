//! What a client may do, and what becomes of its token.

use super::{Shard, access::Access};
use crate::{
    access::{claims::Token, grant::conn_text, grants::Right, holder::Holder},
    clock::Now,
    protocol::{
        reply::{self, Authorized, BAD_REQUEST, FORBIDDEN, UNAUTHORIZED},
        request::{AUTO, Op},
    },
    topic::pattern::Pattern,
};

/// The subject of a token has as many connections as it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooMany {
    pub max: usize,
}

impl Shard {
    /// Why a client may not do what it asks, as a code and a reason.
    pub(super) fn refusal_of(&mut self, slot: u32, op: &Op) -> Option<(u16, String)> {
        if self.at(slot).waits_for_token() && !matches!(op, Op::Auth(_)) {
            let reason = "a token is needed first: {\"op\":\"auth\",\"token\":…}";
            return Some((UNAUTHORIZED, reason.to_owned()));
        }
        let Op::Subscribe(subscribe) = op else { return None };
        if subscribe.sub == AUTO {
            let reason = format!("the subscription {AUTO} is the gateway's own; give yours another name");
            return Some((BAD_REQUEST, reason));
        }
        let pattern = self.not_granted(slot, Right::Subscribe, &subscribe.topics)?;
        Some((FORBIDDEN, format!("{pattern} is not granted")))
    }

    /// Whether an op of the gateway's own subscribes to what is not granted as `auto` any more.
    pub(super) fn is_outdated(&self, slot: u32, op: &Op) -> bool {
        let Op::Subscribe(subscribe) = op else { return false };
        let auto = self.granted(slot, Right::Auto);
        !subscribe.topics.iter().all(|pattern| auto.contains(pattern))
    }

    /// The first pattern to which a client has not that right.
    pub(super) fn not_granted(&mut self, slot: u32, right: Right, patterns: &[Pattern]) -> Option<Pattern> {
        let holder = self.clients[slot as usize].as_ref().and_then(|client| client.holder());
        let refused = self.guard.rules.not_covered(right, holder, self.conn_of(slot), patterns);
        self.stats.not_granted += u64::from(refused.is_some());
        refused.cloned()
    }

    /// All patterns that are granted to a client.
    pub(super) fn granted(&self, slot: u32, right: Right) -> Vec<Pattern> {
        let client = self.clients[slot as usize].as_ref();
        self.guard.rules.granted(right, client.and_then(|client| client.holder()), self.conn_of(slot))
    }

    pub(super) fn conn_of(&self, slot: u32) -> u64 {
        let client = self.clients[slot as usize].as_ref().expect("a live connection's slot is taken");
        self.shared.tokens.conn(self.index, client.id)
    }

    /// A client's token was accepted.
    pub(super) fn tell_authorized(&mut self, slot: u32, id: Option<&str>) {
        if self.at(slot).holder().is_none() {
            return;
        }
        let conn = conn_text(self.conn_of(slot));
        let Some(holder) = self.at(slot).holder() else { return };
        let encoded = holder.encoded_sub();
        let sub = holder.sub().zip(encoded.as_deref());
        let told = reply::authorized(&Authorized { id, sub, conn: &conn, exp_us: holder.exp_us });
        self.reply(slot, &told);
    }

    /// What a connection keeps of an accepted token. `is_counted`: among the connections of its subject, already.
    pub(super) fn holder_of(
        &mut self,
        mut token: Token,
        is_counted: bool,
        now: Now,
    ) -> Result<Holder, TooMany> {
        if let (Some(sub), false) = (&token.sub, is_counted) {
            let of_all = Some(self.guard.connections_per_sub).filter(|max| *max > 0);
            let max = [token.connections, of_all].into_iter().flatten().min().unwrap_or(usize::MAX);
            if !self.shared.tokens.count_in(sub, max) {
                return Err(TooMany { max });
            }
        }
        self.stats.tokens_accepted += 1;
        let grants = self.guard.grants.share(std::mem::take(&mut token.grants));
        Ok(Holder::new(&token, grants, now.wall_us))
    }

    /// The connection has ended, and what it shared is given back.
    pub(super) fn give_up_access(&mut self, slot: u32) {
        let Some(standing) = self.at(slot).access.take() else { return };
        if let Access::Holds(holder) = *standing {
            if let Some(sub) = holder.sub() {
                self.shared.tokens.count_out(sub);
            }
            holder.end(&mut self.guard.grants);
        }
    }
}
