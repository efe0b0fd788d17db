//! Keys of tables: which a client may write, and which go by themselves.

use std::sync::Arc;

use super::{Admitted, Group, Topics};
use crate::{
    sequencer::{
        publication::{Body, Publication, Why},
        timed::TimedMax,
    },
    topic::{
        changes::{Base, Change, Changes},
        key::write_key,
        policy::{Mode, Policy, Write},
    },
    update::TopicId,
};

impl Topics {
    /// Whether who wrote a publication may write what it does. `at`: its topic.
    pub fn may_write(&self, publication: &Publication, at: Option<TopicId>) -> Result<(), Why> {
        self.check_count(publication)?;
        let policy = self.policy_at(&publication.topic, at);
        if publication.writer.is_none() {
            return Ok(());
        }
        let topic = || publication.topic.clone();
        if policy.write == Write::None {
            return Err(Why::NotWritable { topic: topic() });
        }
        if !matches!(*policy.mode, Mode::Keyed(_)) {
            return Ok(());
        }
        let Body::Changes(changes) = &publication.body else {
            return Err(Why::WholeTable { topic: topic() });
        };
        if changes.base != Base::Held {
            return Err(Why::WholeTable { topic: topic() });
        }
        match policy.write {
            Write::OwnKey => check_own(publication, changes),
            Write::Any | Write::None => Ok(()),
        }
    }

    /// Whether there is room for the keys that go by themselves. `at`: the topic.
    pub(super) fn check_timed(
        &self,
        publication: &Publication,
        changes: &Changes,
        policy: &Policy,
        at: Option<TopicId>,
        group: &mut Group<'_>,
    ) -> Result<(), Why> {
        let (terms, writer) = (policy.key_terms, publication.writer);
        if !terms.are_timed() || group.is_taken_over {
            return Ok(());
        }
        let set = changes.iter().filter(|change| change.value.is_some());
        let each = set.map(|change| self.timed.added_by(at, terms, change.key, writer)).filter(|n| *n > 0);
        let (keys, added) = each.fold((0, 0), |(keys, added), n| (keys + 1, added + n));
        let topic = || publication.topic.clone();
        let bound = writer.filter(|_| terms.linger.is_some() && keys > 0);
        let TimedMax { all, of_connection } = self.timed_max;
        if bound.is_some_and(|writer| self.timed.of_writer(writer) + keys > of_connection) {
            return Err(Why::TooManyBound { topic: topic(), max: of_connection });
        }
        if added > 0 && self.timed.len() + group.timed + added > all {
            return Err(Why::TooManyTimed { topic: topic(), max: all });
        }
        group.timed += added;
        Ok(())
    }

    /// After a publication was applied: which keys it wrote, and which are no more.
    pub(super) fn note_keys(
        &mut self,
        id: TopicId,
        publication: &Publication,
        changes: Option<&Changes>,
        now_us: u64,
    ) {
        let Some(topic) = self.directory.get(id).filter(|topic| !topic.gone) else {
            return self.timed.retain(id, |_| false);
        };
        let terms = topic.policy.key_terms;
        let (true, Some(table), Some(changes)) = (terms.are_timed(), &topic.table, changes) else { return };
        if changes.base != Base::Held {
            self.timed.retain(id, |key| table.get(key).is_some());
        }
        for Change { key, .. } in changes.iter() {
            match table.get(key) {
                Some(_) => self.timed.written(id, terms, key, publication.writer, now_us),
                None => self.timed.forget(id, key),
            }
        }
    }

    /// A client has written what is there already: that is a write of its keys all the same.
    pub fn write_again(&mut self, publication: &Publication, admitted: &Admitted, now_us: u64) {
        let Some(id) = admitted.at else { return };
        self.note_keys(id, publication, admitted.changes.as_deref(), now_us);
        self.touch(id, now_us);
    }

    /// A topic of an earlier run is there.
    pub(super) fn restore_keys(&mut self, name: &str, now_us: u64) {
        let Some(id) = self.find(name) else { return };
        let topic = &self.directory[id];
        let terms = topic.policy.key_terms;
        if let (true, Some(table)) = (terms.are_timed(), &topic.table) {
            table.keys().for_each(|key| self.timed.restored(id, terms, key, now_us));
        }
    }

    /// The connection of a client has ended.
    pub fn left(&mut self, writer: u64, now_us: u64) {
        self.timed.left(writer, now_us);
    }

    /// The deletion of the next key that ends by itself.
    pub(super) fn key_due(&mut self, now_us: u64) -> Option<Publication> {
        let (id, key) = self.timed.due(now_us)?;
        let mut changes = Changes::new(Base::Held);
        changes.push(Change { key, value: None });
        self.counters.keys_expired += 1;
        let publication =
            Publication::new(self.directory[id].name.clone(), Body::Changes(Arc::new(changes)), 0);
        // It says nothing of what publishers count.
        Some(Publication { is_counted: true, ..publication })
    }

    /// Keys that go by themselves, with the connections that wrote those that are bound.
    pub fn timed_keys(&self) -> usize {
        self.timed.len()
    }
}

/// A client's own keys are its subject, and those below it.
fn check_own(publication: &Publication, changes: &Changes) -> Result<(), Why> {
    let Some(by) = &publication.by else {
        let own = "its token has no sub".to_owned();
        return Err(Why::NotOwn { topic: publication.topic.clone(), own });
    };
    let (mut own, mut below) = (Vec::new(), Vec::new());
    write_key(&mut own, by);
    write_key(&mut below, &format!("{by}/"));
    below.pop();
    if changes.iter().all(|change| change.key == own || change.key.starts_with(&below)) {
        return Ok(());
    }
    Err(Why::NotOwn { topic: publication.topic.clone(), own: format!("{by}, {by}/…") })
}
