//! Interned patterns, each with the list of its topics, most recently updated first.
//!
//! The patterns that match a new topic are found by looking up its name, each of its prefixes and the empty
//! string as keys: one step per segment. Those with a star before their end are found by [`Stars`].

use std::{collections::HashMap, time::Duration};

use super::{
    by_key::ByKey,
    class_id::ClassId,
    kept::Kept,
    pattern_id::PatternId,
    recency::{Ends, Lists},
    search::Search,
    spans::Spans,
    topics::Topics,
};
use crate::{
    topic::{pattern::Pattern, stars::Stars},
    update::TopicId,
};

/// Topics that leave a pattern's list in one go, and in a turn; where many are to, in a turn an eighth of them.
const LEAVING: usize = 1024;
const LEAVING_PART: usize = 8;

/// A class that is told when something of a pattern is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Watcher {
    pub class: ClassId,
    /// Which of the class's patterns it is.
    pub nth: u32,
}

/// How far a pattern has come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    /// Newest version among its topics.
    pub version: u64,
    /// Updates of its topics since it was interned.
    pub updates: u64,
}

/// A pattern that classes name. What a flush looks at comes first, in one line of the CPU's cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Interned {
    pattern: Pattern,
    list: Ends,
    pub spans: Spans,
    /// The drain of the inbox in which it was last touched.
    drain: u64,
    /// Classes that name it.
    users: u32,
    /// Topics in its list, and those that were looked at when it was made.
    topics: u32,
    looked_at: u32,
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
pub struct Patterns {
    slots: Vec<Option<Interned>>,
    /// Of each slot. A small class looks at all of its patterns and finds most unchanged, so these lie close together.
    marks: Vec<Mark>,
    /// Of each slot: the newest change of a status that named one of its topics, or of all when it was interned.
    statuses: Vec<u64>,
    free: Vec<PatternId>,
    by_key: HashMap<ByKey, PatternId>,
    /// Of `by_key`.
    stars: Stars,
    lists: Lists,
    /// Those of `by_key` that no class names.
    kept: Kept,
    /// No longer in `by_key`: topics leave their lists turn by turn.
    ending: Vec<PatternId>,
    /// So many in one go.
    leaving: usize,
    /// Topics looked at for those that were made.
    looked_at: u64,
    /// Newest change of a status.
    newest_status: u64,
}

impl Interned {
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }
}

impl Patterns {
    pub fn new(kept: Kept) -> Self {
        Self {
            slots: Vec::new(),
            marks: Vec::new(),
            statuses: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            stars: Stars::default(),
            lists: Lists::default(),
            kept,
            ending: Vec::new(),
            leaving: LEAVING,
            looked_at: 0,
            newest_status: 0,
        }
    }

    /// Tests with few topics make both small.
    pub fn set_sizes(&mut self, kept_looked_at: usize, leaving: usize) {
        self.kept.set_looked_at_min(kept_looked_at);
        self.leaving = leaving;
    }

    pub fn set_kept(&mut self, keep: Duration, bytes_max: usize) {
        self.kept.set(keep, bytes_max);
    }

    /// Those that classes name.
    pub fn len(&self) -> usize {
        self.by_key.len() - self.kept.len()
    }

    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Topics in all lists.
    pub fn listed(&self) -> usize {
        self.lists.len()
    }

    /// Topics looked at so far for those that were made.
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    pub fn get(&self, id: PatternId) -> &Interned {
        self.slots[id.0 as usize].as_ref().expect("classes hold only interned patterns")
    }

    pub fn mark(&self, id: PatternId) -> Mark {
        self.marks[id.0 as usize]
    }

    fn get_mut(&mut self, id: PatternId) -> &mut Interned {
        self.slots[id.0 as usize].as_mut().expect("classes hold only interned patterns")
    }

    /// Interns a pattern and counts one user. Where it is new its topics are looked for at once.
    pub fn acquire(&mut self, pattern: &Pattern, topics: &mut Topics) -> PatternId {
        if let Some(id) = self.reacquire(pattern) {
            return id;
        }
        let mut search = Search::new(pattern, topics);
        self.look(&mut search, topics, usize::MAX);
        self.insert(search, topics)
    }

    /// One user more of a pattern that is interned already.
    pub fn reacquire(&mut self, pattern: &Pattern) -> Option<PatternId> {
        let id = self.by_key.get(pattern.key()).copied()?;
        if self.get(id).users == 0 {
            self.kept.take(id);
        }
        self.retain(id);
        Some(id)
    }

    /// Looks for topics of a new pattern: `most` are looked at. `true`: it was the last of them.
    pub fn look(&mut self, search: &mut Search, topics: &Topics, most: usize) -> bool {
        let before = search.looked_at;
        let is_over = search.step(topics, most);
        self.looked_at += (search.looked_at - before) as u64;
        is_over
    }

    /// Interns a pattern that is new, whose topics were looked for, and counts one user.
    pub fn insert(&mut self, search: Search, topics: &mut Topics) -> PatternId {
        let pattern = search.pattern.clone();
        let interned = Interned {
            pattern: pattern.clone(),
            users: 1,
            topics: 0,
            looked_at: u32::try_from(search.looked_at).unwrap_or(u32::MAX),
            watchers: Vec::new(),
            list: Ends::default(),
            spans: Spans::default(),
            drain: 0,
        };
        let matching = search.finish(topics);
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                self.marks.push(Mark::default());
                self.statuses.push(0);
                PatternId(self.slots.len() as u32 - 1)
            }
        };
        self.slots[id.0 as usize] = Some(interned);
        self.marks[id.0 as usize] = Mark::default();
        self.statuses[id.0 as usize] = self.newest_status;
        self.stars.add(pattern.key());
        self.by_key.insert(ByKey(pattern), id);
        for (version, topic) in matching {
            let node = self.add(id, topic);
            if let Some(topic) = topics.get_mut(topic) {
                topic.nodes.push(node);
            }
            self.marks[id.0 as usize].version = version;
        }
        id
    }

    /// The number of a pattern, where it is interned.
    pub fn find(&self, pattern: &Pattern) -> Option<PatternId> {
        self.by_key.get(pattern.key()).copied()
    }

    /// One user more of an interned pattern.
    pub fn retain(&mut self, id: PatternId) {
        self.get_mut(id).users += 1;
    }

    /// Whether a class names it.
    pub fn is_held(&self, pattern: &Pattern) -> bool {
        self.find(pattern).is_some_and(|id| self.get(id).users > 0)
    }

    /// One user less. Without the last one it is kept for a while, or ends.
    pub fn release(&mut self, id: PatternId, topics: &mut Topics) {
        let pattern = self.get_mut(id);
        pattern.users -= 1;
        let (users, len, looked_at) = (pattern.users, pattern.topics as usize, pattern.looked_at as usize);
        if users > 0 {
            return;
        }
        if !self.kept.keep(id, len, looked_at) {
            self.end(id, topics);
        }
        while let Some(id) = self.kept.pop(0) {
            self.end(id, topics);
        }
    }

    /// Ends what was kept for long enough, and lets some topics leave.
    pub fn begin_turn(&mut self, now_us: u64, topics: &mut Topics) {
        self.kept.begin_turn(now_us);
        while let Some(id) = self.kept.pop(now_us) {
            self.end(id, topics);
        }
        let left: usize = self.ending.iter().map(|id| self.get(*id).topics as usize).sum();
        let mut room = self.leaving.max(left / LEAVING_PART);
        while room > 0
            && let Some(id) = self.ending.pop()
        {
            room -= self.empty(id, room, topics);
        }
    }

    /// Whether topics are still to leave what has ended.
    pub fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    fn end(&mut self, id: PatternId, topics: &mut Topics) {
        let key = self.slots[id.0 as usize].as_ref().expect("it is interned until here").pattern.key();
        self.by_key.remove(key);
        self.stars.remove(key);
        self.empty(id, self.leaving, topics);
    }

    /// Lets so many topics leave one that has ended; gives how many did.
    fn empty(&mut self, id: PatternId, most: usize, topics: &mut Topics) -> usize {
        let pattern = self.slots[id.0 as usize].as_mut().expect("it is interned until it is empty");
        let mut left = 0;
        while left < most
            && let Some((at, topic)) = self.lists.pop_front(&mut pattern.list)
        {
            topics
                .get_mut(topic)
                .expect("a list holds topics that are held")
                .nodes
                .retain(|node| *node != at);
            left += 1;
        }
        pattern.topics -= left as u32;
        if pattern.topics == 0 {
            self.slots[id.0 as usize] = None;
            self.free.push(id);
        } else {
            self.ending.push(id);
        }
        left
    }

    /// Has a class told of what is taken in. Gives its place.
    pub fn watch(&mut self, id: PatternId, watcher: Watcher) -> u32 {
        let watchers = &mut self.get_mut(id).watchers;
        watchers.push(watcher);
        watchers.len() as u32 - 1
    }

    /// Ends [`Patterns::watch`]. Gives the watcher that moved to its place, if any.
    pub fn unwatch(&mut self, id: PatternId, place: u32) -> Option<Watcher> {
        let watchers = &mut self.get_mut(id).watchers;
        watchers.swap_remove(place as usize);
        watchers.get(place as usize).copied()
    }

    /// Enters a new topic into the list of every pattern that matches it.
    pub fn birth(&mut self, id: TopicId, topics: &mut Topics) {
        let topic = topics.get_mut(id).expect("a topic is there when it is born");
        let mut matching = Vec::new();
        self.stars.each_key(&topic.name, &mut |key| matching.extend(self.by_key.get(key)));
        topic.nodes = matching.into_iter().map(|pattern| self.add(pattern, id)).collect();
    }

    /// Takes a forgotten topic out of its lists.
    pub fn forget(&mut self, nodes: &[u32]) {
        for &at in nodes {
            let pattern = interned(&mut self.slots, self.lists.pattern(at));
            self.lists.remove(&mut pattern.list, at);
            pattern.topics -= 1;
        }
    }

    /// Positions begin anew. Call when no topic is left.
    pub fn restart(&mut self) {
        self.slots.iter_mut().flatten().for_each(|pattern| pattern.spans = Spans::default());
        self.marks.iter_mut().for_each(|mark| mark.version = 0);
    }

    /// Moves a topic to the front of its lists. `drain` tells drains of the inbox apart; `stir` is told who watches: of
    /// `each` update, or once a drain.
    pub fn touch(
        &mut self,
        nodes: &[u32],
        (version, due_us): (u64, i64),
        drain: u64,
        each: bool,
        mut stir: impl FnMut(ClassId),
    ) {
        let patterns = self.len();
        for &at in nodes {
            let id = self.lists.pattern(at);
            let pattern = interned(&mut self.slots, id);
            self.lists.touch(&mut pattern.list, at);
            let fresh = pattern.drain != drain;
            pattern.spans.note(version, due_us, fresh, patterns);
            pattern.drain = drain;
            if fresh || each {
                pattern.watchers.iter().for_each(|watcher| stir(watcher.class));
            }
            let mark = &mut self.marks[id.0 as usize];
            (mark.version, mark.updates) = (version, mark.updates + 1);
        }
    }

    /// Notes that change `at` of a status names a topic.
    pub fn note_status(&mut self, topic: &str, at: u64) {
        self.newest_status = at;
        let (by_key, statuses) = (&self.by_key, &mut self.statuses);
        self.stars.each_key(topic, &mut |key| {
            by_key.get(key).into_iter().for_each(|id| statuses[id.0 as usize] = at);
        });
    }

    /// The newest change of a status that names a topic of the pattern, or one before it was interned.
    pub fn status_of(&self, id: PatternId) -> u64 {
        self.statuses[id.0 as usize]
    }

    /// Topics of a pattern, most recently updated first.
    pub fn recent(&self, id: PatternId) -> impl Iterator<Item = TopicId> + '_ {
        self.lists.recent(self.get(id).list)
    }

    fn add(&mut self, id: PatternId, topic: TopicId) -> u32 {
        let pattern = interned(&mut self.slots, id);
        pattern.topics += 1;
        self.lists.add(&mut pattern.list, id, topic)
    }
}

fn interned(slots: &mut [Option<Interned>], id: PatternId) -> &mut Interned {
    slots[id.0 as usize].as_mut().expect("places belong to interned patterns")
}
