//! A keyed topic on a shard: its table, and from which position on its changes can be told one by one.

use crate::{
    protocol::update,
    topic::{
        changes::{Base, Change, Changes},
        policy,
        table::{KEY_BYTES, Table},
    },
};

#[derive(Debug, Clone)]
pub struct Keyed {
    table: Table,
    /// A cursor below this gets the whole table: the topic was born, it was reset or gone, or a
    /// tombstone above that position was dropped. 0: there was no update yet.
    floor: u64,
    tombstones_max: usize,
    /// Of tombstones: as many as of the table itself.
    tombstone_bytes_max: usize,
}

impl Keyed {
    pub fn new(policy: &policy::Keyed) -> Self {
        let (tombstones_max, tombstone_bytes_max) = (policy.key_tombstones, policy.table_bytes);
        Self { table: Table::default(), floor: 0, tombstones_max, tombstone_bytes_max }
    }

    /// Gives the number of tombstones that were dropped.
    pub fn apply(&mut self, changes: &Changes, version: u64) -> usize {
        debug_assert!(changes.base != Base::Whole, "only what differs crosses");
        if changes.base == Base::Empty || self.floor == 0 {
            self.empty(version);
            self.table.reserve(changes.len(), changes.bytes());
        }
        for Change { key, value } in changes.iter() {
            match value {
                Some(value) => self.table.set(key, value, version),
                None => drop(self.table.del(key, version)),
            }
        }
        self.trim(self.tombstones_max)
    }

    fn trim(&mut self, tombstones_max: usize) -> usize {
        let (dropped, newest) = self.table.trim(tombstones_max, self.tombstone_bytes_max);
        self.floor = self.floor.max(newest.unwrap_or(0));
        dropped
    }

    /// Bytes kept for clients that are behind.
    pub fn history_bytes(&self) -> usize {
        self.table.tombstone_bytes() + self.table.tombstones() * KEY_BYTES
    }

    /// Gives them back. Gives the number of tombstones that were dropped.
    pub fn drop_history(&mut self) -> usize {
        self.trim(0)
    }

    /// The topic is gone, or was reset.
    pub fn empty(&mut self, version: u64) {
        self.table.clear();
        self.floor = version;
    }

    /// What [`Keyed::write`] appends, about.
    pub fn bytes_after(&self, from: Option<u64>) -> usize {
        match from.filter(|from| *from >= self.floor) {
            None => self.table.bytes() + self.len(),
            Some(from) => self.table.set_after(from).map(|member| member.len() + 1).sum(),
        }
    }

    /// Keys that are there.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Appends what takes a subscriber from `from` (`None`: from nothing) to the present, and closes the
    /// update: `"set":{…},"del":[…]}`, with `"reset":true,` before it where `set` is the whole table.
    pub fn write(&self, from: Option<u64>, out: &mut Vec<u8>) {
        let from = from.filter(|from| *from >= self.floor);
        let reset = from.is_none();
        let set = self.table.set_after(from.unwrap_or(0));
        let deleted = from.map(|from| self.table.deleted_after(from));
        update::write_table(out, reset, set, deleted.into_iter().flatten());
    }
}
