//! What is known to be stale or incomplete, by source, by topic, and by what publishers say; told to every
//! shard as it changes.

mod awaited;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use engine::{
    clock::Now,
    protocol::status::{Change, Status, TopicState},
    shard::inbox::{Inbox, Message},
    topic::pattern::Pattern,
};
use net::metric::{Kind, Metric, named};
use serde::Serialize;
use thiserror::Error;

use awaited::{Awaited, id_of, live};

/// A gap's status lasts so long at least, also where the next update is whole again.
const GAP_US: i64 = 1_000_000;

/// Who says it. Each speaks for itself: a publisher's word does not end a source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// By place in the configuration.
    Source(usize),
    /// What its venue refuses.
    Denied(usize),
    Topic,
    /// `POST /status`.
    Publisher,
    /// The gateway that this one is chained to.
    Upstream,
}

/// There is no room for another status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Full {
    #[error(
        "there are {max} statuses that are not live, [limits] statuses: end some with state \"live\" or raise that"
    )]
    Count { max: usize },
    #[error(
        "statuses that are not live would take {would} bytes, [limits] status_bytes = {max}: end some with state \"live\", name fewer topics, or raise that"
    )]
    Bytes { would: usize, max: usize },
}

/// A status as `GET /status` lists it.
#[derive(Debug, Serialize)]
pub struct StatusRow {
    topics: Topics,
    state: &'static str,
    since: i64,
    reason: Arc<str>,
}

type Topics = Arc<[Pattern]>;

#[derive(Debug)]
struct StatusEntry {
    id: u64,
    status: Status,
    /// It is live again, and clients get that then. Microseconds since the Unix epoch.
    ends_us: Option<i64>,
}

/// All that is not live. Lives on the control plane's thread, so its lock is never waited for.
#[derive(Debug)]
pub struct Health {
    inboxes: Vec<Arc<Inbox>>,
    max: usize,
    bytes_max: AtomicUsize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<(Origin, Topics), StatusEntry>,
    /// By inbox: changes that found no room, of a status the newest whole one and parts that follow it.
    waiting: Vec<VecDeque<Arc<Change>>>,
    /// Topics of an earlier run.
    restored: Awaited,
    /// By source: it is back, but not with all topics.
    returning: BTreeMap<usize, Returning>,
    /// Of what publishers, topics, sources and upstream say.
    bytes: usize,
    counters: HealthCounters,
}

/// A source that brings something since its connection was made anew.
#[derive(Debug)]
struct Returning {
    /// Of the status that told that it was gone.
    id: u64,
    /// Topics that it has not brought again.
    awaited: Awaited,
}

impl Book {
    /// Of all statuses.
    fn all_bytes(&self) -> usize {
        let returning = self.returning.values().map(|returning| returning.awaited.bytes());
        self.bytes + self.restored.bytes() + returning.sum::<usize>()
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct HealthCounters {
    pub changes: u64,
    pub refused: u64,
    /// Gauges.
    pub bytes: u64,
    pub stale: u64,
    pub gap: u64,
    /// Topics of an earlier run without an update.
    pub restored: u64,
}

impl HealthCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::by(Kind::Gauge, "fanwire_statuses", "Statuses that are not live", "state", |c| {
            named(["stale", "gap"], &[c.stale, c.gap])
        }),
        Metric::counter("fanwire_status_changes", "Changes of statuses told to the shards", |c| c.changes),
        Metric::gauge("fanwire_status_bytes", "Bytes of statuses that are not live", |c| c.bytes),
        Metric::counter(
            "fanwire_statuses_refused",
            "Statuses not told, since there were [limits] statuses or status_bytes",
            |c| c.refused,
        ),
        Metric::gauge("fanwire_topics_unconfirmed", "Restored topics without an update yet", |c| c.restored),
    ];
}

impl Health {
    /// `max`: `[limits] statuses`; `bytes_max`: `[limits] status_bytes`.
    pub fn new(inboxes: &[Arc<Inbox>], max: usize, bytes_max: usize) -> Arc<Self> {
        let book = Book { waiting: inboxes.iter().map(|_| VecDeque::new()).collect(), ..Book::default() };
        Arc::new(Self {
            inboxes: inboxes.to_vec(),
            max,
            bytes_max: AtomicUsize::new(bytes_max),
            book: Mutex::new(book),
        })
    }

    /// What is held already stays.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Relaxed)
    }

    /// Sets the state of `topics` as `origin` sees it.
    pub fn set(
        &self,
        origin: Origin,
        mut topics: Vec<Pattern>,
        state: TopicState,
        reason: &str,
        now_us: i64,
    ) -> Result<(), Full> {
        topics.sort();
        topics.dedup();
        let mut book = self.book();
        let book = &mut *book;
        let is_source = matches!(origin, Origin::Source(_));
        let key = (origin, Topics::from(topics));
        let known = book.entries.get_mut(&key);
        if state == TopicState::Live {
            let Some(entry) = known else { return Ok(()) };
            if entry.status.state == TopicState::Gap && now_us < entry.status.since_us + GAP_US {
                entry.ends_us = Some(entry.status.since_us + GAP_US);
                return Ok(());
            }
            let Some(entry) = book.entries.remove(&key) else { return Ok(()) };
            book.bytes -= entry.status.bytes();
            let live = Status { state, since_us: now_us, reason: reason.into(), ..entry.status };
            self.tell(book, Change::whole(entry.id, live));
            return Ok(());
        }
        let mut status = Status { topics: key.1.clone(), state, since_us: now_us, reason: reason.into() };
        let (is_new, before) = (known.is_none(), known.map_or(0, |entry| entry.status.bytes()));
        let others = book.all_bytes() - before;
        let fits = |bytes: usize| bytes <= before || others + bytes <= self.bytes_max();
        if !fits(status.bytes()) && is_source {
            // Clients get that a source is dead whatever publishers say, if need be without the reason.
            status.reason = "".into();
        }
        if !is_source && (is_new && book.entries.len() >= self.max || !fits(status.bytes())) {
            return Err(self.refuse(book, is_new, others + status.bytes()));
        }
        book.bytes = book.bytes + status.bytes() - before;
        let id = match book.entries.get_mut(&key) {
            Some(entry) if entry.status.state == state && state == TopicState::Stale => {
                // Since when it is stale stays, and another reason alone is not told again.
                (entry.status.reason, entry.ends_us) = (status.reason, None);
                return Ok(());
            }
            Some(entry) => {
                (entry.status, entry.ends_us) = (status.clone(), None);
                entry.id
            }
            None => {
                let id = id_of(&key);
                book.entries.insert(key, StatusEntry { id, status: status.clone(), ends_us: None });
                id
            }
        };
        self.tell(book, Change::whole(id, status));
        Ok(())
    }

    fn refuse(&self, book: &mut Book, is_new: bool, would: usize) -> Full {
        book.counters.refused += 1;
        let full = match is_new && book.entries.len() >= self.max {
            true => Full::Count { max: self.max },
            false => Full::Bytes { would, max: self.bytes_max() },
        };
        if book.counters.refused == 1 {
            tracing::warn!("a state is not told: {full}. More are only counted");
        }
        full
    }

    /// Ends all that `origin` has said.
    pub fn end_all(&self, origin: Origin, now_us: i64) {
        let said: Vec<Topics> = {
            let book = self.book();
            let keys = book.entries.keys().filter(|(whose, _)| *whose == origin);
            keys.map(|(_, topics)| topics.clone()).collect()
        };
        for topics in said {
            // Ending one takes no room.
            let _ = self.set(origin, topics.to_vec(), TopicState::Live, "", now_us);
        }
    }

    /// What is not live.
    pub fn list(&self) -> Vec<StatusRow> {
        let row = |status: &Status| StatusRow {
            topics: status.topics.clone(),
            state: status.state.name(),
            since: status.since_us,
            reason: status.reason.clone(),
        };
        let book = self.book();
        let entries = book.entries.values().map(|entry| row(&entry.status));
        let awaited = book.returning.values().map(|returning| &returning.awaited).chain([&book.restored]);
        entries.chain(awaited.flat_map(Awaited::statuses).map(|status| row(&status))).collect()
    }

    pub fn counters(&self) -> HealthCounters {
        let book = self.book();
        let of = |state| book.entries.values().filter(|entry| entry.status.state == state).count() as u64;
        let restored = book.restored.len() as u64;
        let bytes = book.all_bytes() as u64;
        HealthCounters {
            bytes,
            stale: of(TopicState::Stale),
            gap: of(TopicState::Gap),
            restored,
            ..book.counters
        }
    }

    /// These topics are of an earlier run: stale until [`Health::confirm`]. As many as `[limits] statuses`
    /// chunks hold are told.
    pub fn restored(&self, topics: &[Arc<str>], now_us: i64) {
        let mut book = self.book();
        let reason = "restored from an earlier run, no update since";
        let room = self.bytes_max().saturating_sub(book.all_bytes());
        let (awaited, told) = Awaited::new("restored", topics, reason, (self.max, room), now_us);
        book.counters.refused += awaited.beyond() as u64;
        book.restored = awaited;
        told.into_iter().for_each(|change| self.tell(&mut book, change));
    }

    /// Updates of these topics have come; those that were not restored do not matter.
    pub fn confirm<'a>(&self, topics: impl Iterator<Item = &'a Arc<str>>, now_us: i64) {
        let mut book = self.book();
        let (told, _) = book.restored.confirm(topics, now_us);
        told.into_iter().for_each(|change| self.tell(&mut book, change));
    }

    /// Source `i` is gone, with all its `topics`.
    pub fn lose(&self, i: usize, topics: Vec<Pattern>, reason: &str, now_us: i64) {
        let returning = self.book().returning.remove(&i);
        // A source always finds room.
        let _ = self.set(Origin::Source(i), topics, TopicState::Stale, reason, now_us);
        if let Some(returning) = returning {
            let mut book = self.book();
            returning.awaited.end(reason).into_iter().for_each(|change| self.tell(&mut book, change));
        }
    }

    /// Source `i` brings something again. Of its `topics`, where it was gone, `left` are still to come, and
    /// `back` have come since this was called last.
    pub fn regain(
        &self,
        i: usize,
        topics: Vec<Pattern>,
        left: impl FnOnce() -> Vec<Arc<str>>,
        back: &[Arc<str>],
        now: Now,
    ) {
        let now_us = now.wall_us;
        let mut book = self.book();
        let key = (Origin::Source(i), Topics::from(topics));
        let mut begins = false;
        if let Some(id) = book.entries.get(&key).map(|entry| entry.id) {
            let left = left();
            if left.is_empty() {
                drop(book);
                // Ending one takes no room.
                let _ = self.set(key.0, key.1.to_vec(), TopicState::Live, "", now_us);
                return;
            }
            if let Some(entry) = book.entries.remove(&key) {
                book.bytes -= entry.status.bytes();
            }
            let reason = "its source is connected again and has not brought it since";
            let (awaited, told) =
                Awaited::new(("source", i), &left, reason, (usize::MAX, usize::MAX), now_us);
            begins = true;
            book.returning.insert(i, Returning { id, awaited });
            told.into_iter().for_each(|change| self.tell(&mut book, change));
        }
        let Some(returning) = book.returning.get_mut(&i) else { return };
        let (told, others) = returning.awaited.confirm(back.iter(), now_us);
        let (id, is_whole) = (returning.id, returning.awaited.is_empty());
        // Those that are not awaited were told to be gone too.
        let mut others: Vec<Pattern> = others.into_iter().map(Pattern::of_topic).collect();
        others.sort_unstable();
        let of_source = if is_whole {
            book.returning.remove(&i);
            Some(Change::whole(id, live(&key.1, now_us)))
        } else if begins {
            Some(Change::whole(id, live(&others, now_us)))
        } else {
            (!others.is_empty()).then(|| Change::part(id, live(&others, now_us)))
        };
        told.into_iter().chain(of_source).for_each(|change| self.tell(&mut book, change));
    }

    /// Ends gaps whose statuses lasted long enough, and hands on what found no room.
    pub fn tick(&self, now_us: i64) {
        let ended: Vec<(Origin, Topics)> = {
            let book = self.book();
            let ended = |entry: &StatusEntry| entry.ends_us.is_some_and(|ends_us| ends_us <= now_us);
            book.entries.iter().filter(|(_, entry)| ended(entry)).map(|(key, _)| key.clone()).collect()
        };
        for (origin, topics) in ended {
            // Ending one takes no room.
            let _ = self.set(origin, topics.to_vec(), TopicState::Live, "", now_us);
        }
        self.send(&mut self.book());
    }

    fn tell(&self, book: &mut Book, change: Change) {
        book.counters.changes += 1;
        let change = Arc::new(change);
        for waiting in &mut book.waiting {
            if change.is_whole {
                // What it takes the place of is told no more.
                waiting.retain(|older| older.id != change.id);
            }
            waiting.push_back(change.clone());
        }
        self.send(book);
    }

    fn send(&self, book: &mut Book) {
        for (inbox, waiting) in self.inboxes.iter().zip(&mut book.waiting) {
            while let Some(change) = waiting.pop_front() {
                if inbox.push(Message::Status(change.clone())).is_err() {
                    waiting.push_front(change);
                    break;
                }
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("telling never panics")
    }
}
