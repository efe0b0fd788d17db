//! Which updates there is room for.

use super::{
    Admitted, Group, Topic, Topics,
    counting::{self, count_size},
    size::{table_size, topic_size},
};
use crate::{
    sequencer::{
        publication::{Body, Publication, Refused, Why, check_value},
        table::{self, Cut, Preview, changes_of},
    },
    topic::{
        changes::{Base, Changes},
        name::check_topic,
        policy::{Keyed, Mode, Policy},
        table::Table,
    },
    update::TopicId,
};

impl Topics {
    /// Whether `publication` may be applied, after those of its `group` before it. `at`: its topic.
    pub fn admit<'a>(
        &self,
        publication: &'a Publication,
        at: Option<TopicId>,
        group: &mut Group<'a>,
    ) -> Result<Admitted, Why> {
        if let Body::Unread(why) = &publication.body {
            return Err(Why::Unread { topic: publication.topic.clone(), why: why.clone() });
        }
        let policy = self.policy_at(&publication.topic, at);
        if !group.is_taken_over {
            self.may_write(publication, at)?;
        }
        let bytes_max = if group.is_taken_over { usize::MAX } else { self.value_bytes_max };
        let known = at.map(|id| &self.directory[id]);
        let table = known.and_then(|topic| topic.table.as_deref());
        // The limits hold for what stays.
        let cut = match &publication.body {
            Body::Changes(changes) if changes.long().is_none() => table::cut(table, changes),
            _ => None,
        };
        let (bytes, cut) = match cut {
            Some(Cut { changes, bytes }) => (bytes, Some(changes)),
            None => (publication.body.bytes(), None),
        };
        let staying = cut.clone().map(Body::Changes);
        check_value(&publication.topic, staying.as_ref().unwrap_or(&publication.body), bytes, bytes_max)?;
        let lives = known.is_some_and(|t| !t.gone) || group.births.contains(&*publication.topic);
        if publication.body.is_gone() && !lives {
            return Err(Why::Unknown { topic: publication.topic.clone() });
        }
        if known.is_none() && !lives {
            check_topic(&publication.topic)?;
            counting::check_name(policy, &publication.topic)?;
        }
        let counts = usize::from(policy.key_terms.are_counted);
        if !lives && self.live + group.births.len() + group.counts + counts >= self.live_max {
            return Err(Why::TooMany { topic: publication.topic.clone(), max: self.live_max });
        }
        let changes = match &*policy.mode {
            Mode::Keyed(bounds) => {
                let changes = changes_of(publication)?;
                group.count(&publication.topic, table, Some(&changes));
                let staying = cut.as_ref().unwrap_or(&changes);
                self.check_timed(publication, staying, policy, at, group)?;
                let room = self.room().saturating_sub(count_size(policy, &publication.topic));
                let size = table_after(table, publication, staying, bounds, group, room)?;
                self.check_room(known, policy, publication, size, group)?;
                Some(cut.filter(|_| !changes.goes_on).unwrap_or(changes))
            }
            _ if matches!(publication.body, Body::Changes(_)) => {
                return Err(Why::NotKeyed { topic: publication.topic.clone() });
            }
            _ => {
                group.count(&publication.topic, None, None);
                self.check_room(known, policy, publication, Some(publication.body.bytes()), group)?;
                None
            }
        };
        if !lives {
            group.births.insert(&publication.topic);
            group.counts += counts;
        }
        group.admitted += 1;
        Ok(Admitted { at, changes: changes.filter(|_| !publication.body.is_gone()) })
    }

    /// Whether a client writes what its table has already.
    pub fn changes_nothing(&self, publication: &Publication, admitted: &Admitted) -> bool {
        let (Some(_), Some(changes)) = (publication.writer, &admitted.changes) else { return false };
        // The first write of what was restored says that it holds.
        let topic = admitted.at.map(|id| &self.directory[id]).filter(|topic| !topic.is_restored);
        topic.and_then(|topic| topic.table.as_deref()).is_some_and(|table| {
            changes.base == Base::Held && changes.iter().all(|change| table.get(change.key) == change.value)
        })
    }

    /// What is left beyond the depth of a message whose last update of a topic, `publication`, was refused or is a
    /// repeat: its deletion, for which the topic's count does not move; `None`: nothing is.
    pub fn cut_after(
        &self,
        publication: &Publication,
        at: Option<TopicId>,
    ) -> Option<(Publication, Admitted)> {
        let Body::Changes(changes) = &publication.body else { return None };
        let topic = self.directory.get(at?).filter(|topic| !topic.gone && !topic.is_restored)?;
        if changes.goes_on {
            return None;
        }
        let mut none = Changes::new(Base::Held);
        none.depth.clone_from(&changes.depth);
        let changes = table::cut(topic.table.as_deref(), &none)?.changes;
        let (ts_us, body) = (Some(topic.ts_us), Body::Changes(changes.clone()));
        let cut = Publication { ts_us, is_counted: true, body, ..publication.clone() };
        Some((cut, Admitted { at, changes: Some(changes) }))
    }

    /// Holds what a topic would have, its value or table of `size`, against `[limits] topics_bytes`. What makes
    /// it smaller always passes. `None`: there is room, however much it is.
    fn check_room<'a>(
        &self,
        known: Option<&Topic>,
        policy: &Policy,
        publication: &'a Publication,
        size: Option<usize>,
        group: &mut Group<'a>,
    ) -> Result<(), Why> {
        let Some(size) = size else { return Ok(()) };
        let count = count_size(policy, &publication.topic);
        let size = if publication.body.is_gone() { 0 } else { topic_size(&publication.topic, size) + count };
        let held = known.filter(|topic| !topic.gone).map(|topic| topic.bytes + count);
        let before = group.bytes.get(&*publication.topic).copied().or(held).unwrap_or(0);
        let all = self.bytes() as isize;
        let after = all + group.added + size as isize - before as isize;
        let max = self.bytes_max;
        let is_over = after > max as isize && after > all;
        let why = || Why::NoRoom { topic: publication.topic.clone(), bytes: after as usize, max };
        if group.is_single {
            return if is_over { Err(why()) } else { Ok(()) };
        }
        group.bytes.insert(&publication.topic, size);
        group.added = after - all;
        if !is_over {
            group.over = None;
        } else if group.over.is_none() {
            group.over = Some(Refused { index: group.admitted, why: why() });
        }
        Ok(())
    }

    /// Bytes that may be added to all topics.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes())
    }

    /// All topics with their names, values and tables, and what deadbands hold back.
    pub fn bytes(&self) -> usize {
        self.bytes + self.deadlines.held_bytes()
    }
}

/// Holds what `changes` would leave against the topic's bounds. Gives its size; `None`: it fits whatever
/// is there already, into `room` too.
fn table_after<'a>(
    table: Option<&Table>,
    publication: &'a Publication,
    changes: &Changes,
    bounds: &Keyed,
    group: &mut Group<'a>,
    room: usize,
) -> Result<Option<usize>, Why> {
    let (keys, bytes) = table.map_or((0, 0), |table| (table.len(), table.bytes()));
    let most = topic_size(&publication.topic, table_size(changes.len(), changes.bytes()));
    let fits = keys + changes.len() <= bounds.keys && bytes + changes.bytes() <= bounds.table_bytes;
    if fits && most <= room && group.is_single {
        return Ok(None);
    }
    let preview = group.tables.entry(&publication.topic).or_insert_with(|| Preview::of(table));
    preview.enter(table, changes, &publication.topic, bounds)?;
    Ok(Some(table_size(preview.len, preview.bytes)))
}
