//! One topic, as the control plane keeps it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    changes::{Base, Changes},
    config::policy::Policy,
    control::{deadlines::Band, item::Item, table},
    status::State,
    table::Table,
    update::TopicId,
};

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) v: u64,
    pub(super) version: u64,
    pub(super) ts_us: i64,
    pub(super) gone: bool,
    /// As in `Update::json`.
    pub(super) json: Bytes,
    pub(super) policy: Arc<Policy>,
    /// Of a keyed topic.
    pub(super) table: Option<Box<Table>>,
    /// The publisher's count of the last update that had one.
    pub(super) seq: Option<u64>,
    /// Where there is a deadband.
    pub(super) band: Option<Box<Band>>,
    /// When an update came last, sent or held back. µs, monotonic.
    pub(super) touched_us: u64,
    /// As it was told last.
    pub(super) state: State,
    /// It comes from an earlier run and had no update in this one.
    pub(super) is_restored: bool,
}

impl Topic {
    /// Takes over an update's count; gives the number of updates that are missing before it.
    pub(super) fn count(&mut self, item: &Item, changes: Option<&Changes>) -> u64 {
        let Some(seq) = item.seq else { return 0 };
        let is_whole = changes.is_some_and(|changes| changes.base != Base::Held);
        let skipped = if is_whole { 0 } else { seq.skipped(self.seq) };
        self.seq = Some(seq.last);
        skipped
    }

    pub(super) fn keys(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.len())
    }

    /// Changes its table, or ends it; gives what the shards have to change.
    pub(super) fn apply(&mut self, changes: Option<Arc<Changes>>) -> Option<Arc<Changes>> {
        let Some(changes) = changes else {
            self.table = None;
            return None;
        };
        Some(table::apply(self.table.get_or_insert_default(), &changes))
    }

    /// Its state after an update before which `skipped` are missing; gives what is to be told, if anything.
    pub(super) fn change_state(
        &mut self,
        item: &Item,
        changes: Option<&Changes>,
        skipped: u64,
        seq_before: Option<u64>,
    ) -> Option<(State, String)> {
        let is_whole = changes.is_none_or(|changes| changes.base != Base::Held);
        let state = match (self.state, skipped) {
            (_, 1..) if !self.gone => State::Gap,
            // A table stays incomplete until all of it comes.
            (State::Gap, _) if !is_whole => State::Gap,
            _ => State::Live,
        };
        if state == self.state && skipped == 0 {
            return None;
        }
        self.state = state;
        let reason = match (skipped, seq_before, item.seq) {
            (1.., Some(before), Some(seq)) => {
                format!("seq stepped from {before} to {}: {skipped} updates are missing", seq.last)
            }
            _ => String::new(),
        };
        Some((state, reason))
    }
}
