//! Items that are published together, all or none of them.

use std::collections::{HashMap, HashSet};

use crate::{
    sequencer::{publication::Refused, table::Preview},
    topic::{
        changes::{Base, Changes},
        table::Table,
    },
};

/// What earlier publications of the same group would do, none of which is applied yet.
#[derive(Debug, Default)]
pub struct Group<'a> {
    /// It has one publication only, so that nothing needs to be previewed.
    pub(super) is_single: bool,
    /// They are taken over whole, however long each is: its publisher made it of many.
    pub(super) is_taken_over: bool,
    /// Topics that they bring to life, and of those how many bring another one that counts their keys.
    pub(super) births: HashSet<&'a str>,
    pub(super) counts: usize,
    /// By how much they add to the keys that go by themselves.
    pub(super) timed: usize,
    pub(super) tables: HashMap<&'a str, Preview>,
    /// Bytes that topics would have, and what that is more than now.
    pub(super) bytes: HashMap<&'a str, usize>,
    pub(super) added: isize,
    /// The publication by which they had more bytes than there is room for, and why it is refused unless those
    /// after it make room.
    pub(super) over: Option<Refused>,
    pub(super) admitted: usize,
    /// See [`Group::changes`].
    changes: usize,
}

impl Group<'_> {
    /// What all of them together are refused for.
    pub fn refused(self) -> Option<Refused> {
        self.over
    }

    /// What it costs to apply them, with the one that was refused: one for each, for each key that it names, and
    /// for each that a whole table takes the place of.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// `table` and `changes` of a publication whose topic is keyed, before its table is previewed.
    pub(super) fn count(&mut self, topic: &str, table: Option<&Table>, changes: Option<&Changes>) {
        let held = || self.tables.get(topic).map_or(table.map_or(0, Table::len), |preview| preview.len);
        let replaced = changes.filter(|changes| changes.base != Base::Held).map_or(0, |_| held());
        self.changes += 1 + changes.map_or(0, Changes::len) + replaced;
    }

    /// Of so many publications.
    pub fn of(publications: usize) -> Self {
        Self { is_single: publications == 1, ..Self::default() }
    }

    /// Of one publication that another gateway or an earlier run gives.
    pub fn taken_over() -> Self {
        Self { is_single: true, is_taken_over: true, ..Self::default() }
    }
}
