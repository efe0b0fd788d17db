//! What a connection may do: what its token grants, what everyone's and its roles' tables do, or the anonymous one's.

use super::{
    grant::Who,
    grants::Right,
    holder::Holder,
    rules::{Granted, Rules},
};
use crate::topic::pattern::Pattern;

impl Rules {
    /// What tables of the configuration grant to whoever has this token, or none.
    fn tables<'a>(&'a self, holder: Option<&Holder>) -> impl Iterator<Item = &'a Granted> {
        let roles = holder.map_or(0, |holder| holder.roles);
        let held = self.roles.iter().enumerate().filter(move |(i, _)| roles >> i & 1 == 1);
        let first = if holder.is_some() { Some(&self.everyone) } else { self.anonymous.as_ref() };
        first.into_iter().chain(held.map(|(_, role)| &role.granted))
    }

    /// The first pattern of which not all that it selects is granted.
    pub fn not_covered<'a>(
        &self,
        right: Right,
        holder: Option<&Holder>,
        conn: u64,
        patterns: &'a [Pattern],
    ) -> Option<&'a Pattern> {
        if right == Right::Subscribe && self.is_open {
            return None;
        }
        let granted = self.granted(right, holder, conn);
        patterns.iter().find(|pattern| !granted.iter().any(|grant| grant.covers(pattern)))
    }

    /// All patterns that are granted, none twice; with `clients = "open"` everything may be read besides.
    pub fn granted(&self, right: Right, holder: Option<&Holder>, conn: u64) -> Vec<Pattern> {
        let own = holder.into_iter().flat_map(|holder| holder.grants.of(right));
        let mut granted: Vec<Pattern> = self.configured(right, holder, conn).chain(own).collect();
        granted.sort_unstable();
        granted.dedup();
        granted
    }

    fn configured<'a>(
        &'a self,
        right: Right,
        holder: Option<&'a Holder>,
        conn: u64,
    ) -> impl Iterator<Item = Pattern> + 'a {
        let sub = holder.and_then(Holder::encoded_sub);
        let tables = self.tables(holder).flat_map(move |table| table.of(right));
        tables.filter_map(move |grant| grant.pattern(Who { sub: sub.as_deref(), conn }))
    }

    /// The shortest interval of a client: the token's own, else the least of its roles', else everyone's.
    pub fn interval_ms_min(&self, holder: Option<&Holder>) -> Option<u64> {
        let own = holder.and_then(Holder::interval_ms_min);
        let mut tables = self.tables(holder).map(|table| table.interval_ms_min);
        let first = tables.next().flatten();
        own.or(tables.flatten().min()).or(first)
    }
}
