//! What a connection keeps of its token.

use std::rc::Rc;

use super::{
    claims::Token,
    grants::{Grants, SharedGrants},
};
use crate::topic::encoded;

/// A client is told that its token expires so long before, or at half of what is left where that is less.
const TOLD_BEFORE_US: i64 = 60_000_000;
const NO_INTERVAL: u32 = u32::MAX;

/// Of the token of a connection. Small, since there are very many.
#[derive(Debug)]
pub struct Holder {
    /// Its own.
    pub grants: Rc<Grants>,
    /// `sub`, and behind it `jti`.
    who: Box<str>,
    sub_bytes: u8,
    /// The client was told that it expires.
    pub is_told: bool,
    interval_ms_min: u32,
    /// Those of the configuration that it holds, by their places.
    pub roles: u64,
    /// µs since the Unix epoch, like what follows.
    pub exp_us: i64,
    tell_us: i64,
}

const _: () = assert!(size_of::<Holder>() <= 64);

impl Holder {
    /// `now_us`: since the Unix epoch.
    pub fn new(token: &Token, grants: Rc<Grants>, now_us: i64) -> Self {
        let (sub, jti) = (token.sub.as_deref().unwrap_or(""), token.jti.as_deref().unwrap_or(""));
        let before_us = TOLD_BEFORE_US.min((token.exp_us - now_us) / 2).max(0);
        Self {
            grants,
            who: [sub, jti].concat().into(),
            sub_bytes: sub.len().try_into().expect("a subject has 128 bytes at most"),
            // Within the leeway there is nothing to tell any more.
            is_told: token.exp_us <= now_us,
            interval_ms_min: token.interval_ms_min.map_or(NO_INTERVAL, |ms| ms as u32),
            roles: token.roles,
            exp_us: token.exp_us,
            tell_us: token.exp_us - before_us,
        }
    }

    /// Of whom it is.
    pub fn sub(&self) -> Option<&str> {
        Some(&self.who[..usize::from(self.sub_bytes)]).filter(|sub| !sub.is_empty())
    }

    /// Its own name.
    pub fn jti(&self) -> Option<&str> {
        Some(&self.who[usize::from(self.sub_bytes)..]).filter(|jti| !jti.is_empty())
    }

    /// The subject as one segment of a topic.
    pub fn encoded_sub(&self) -> Option<String> {
        self.sub().map(encoded::segment)
    }

    pub fn interval_ms_min(&self) -> Option<u64> {
        (self.interval_ms_min != NO_INTERVAL).then_some(self.interval_ms_min.into())
    }

    /// When it is next to be looked at: to tell the client that it expires, or to close the connection.
    pub fn due_us(&self, leeway_us: i64) -> i64 {
        if self.is_told { self.ends_us(leeway_us) } else { self.tell_us.min(self.ends_us(leeway_us)) }
    }

    /// When the connection is closed.
    pub fn ends_us(&self, leeway_us: i64) -> i64 {
        self.exp_us.saturating_add(leeway_us)
    }

    /// Gives back what it shared.
    pub fn end(self, shared: &mut SharedGrants) {
        shared.give_back(self.grants);
    }
}
