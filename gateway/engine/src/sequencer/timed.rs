//! Keys that go by themselves: since the connections that wrote them are gone, or since nobody writes them again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{settings::Limits, topic::policy::KeyTerms, update::TopicId};

/// A restored key of a bound topic is given so long at least: those who wrote it have to connect again.
const RESTORED_LINGER: Duration = Duration::from_secs(60);

/// As [`Change::key`](crate::topic::changes::Change::key).
type Key = Arc<[u8]>;

/// How many keys may be that go by themselves.
#[derive(Debug, Clone, Copy)]
pub struct TimedMax {
    pub all: usize,
    pub of_connection: usize,
}

impl TimedMax {
    pub fn of(limits: &Limits) -> Self {
        Self { all: limits.timed_keys, of_connection: limits.timed_keys_per_connection }
    }
}

/// All keys that go by themselves, with the connections that wrote them.
#[derive(Debug, Default)]
pub struct TimedKeys {
    tables: HashMap<TopicId, Timed>,
    /// Keys of bound topics that a connection has written.
    by_writer: HashMap<u64, BTreeSet<(TopicId, Key)>>,
    /// When each key ends that has an end. µs, monotonic.
    ends: BTreeSet<(u64, TopicId, Key)>,
    len: usize,
}

/// Those of one topic.
#[derive(Debug)]
struct Timed {
    terms: KeyTerms,
    keys: HashMap<Key, Life>,
}

#[derive(Debug, Default)]
struct Life {
    /// Connections that it is bound to, few.
    writers: Vec<u64>,
    /// The last of them is gone. µs, monotonic.
    lingers_until_us: Option<u64>,
    written_us: u64,
}

impl Life {
    /// When it ends, unless it is written again.
    fn end_us(&self, terms: KeyTerms) -> Option<u64> {
        let expires_us = terms.expiry.map(|expiry| after(self.written_us, expiry));
        [self.lingers_until_us, expires_us].into_iter().flatten().min()
    }

    /// What it counts as: itself, and each connection.
    fn len(&self) -> usize {
        1 + self.writers.len()
    }
}

fn after(us: u64, duration: Duration) -> u64 {
    us + duration.as_micros() as u64
}

impl TimedKeys {
    /// A key was set. `writer`: the connection of a client; what a publisher sets is bound to nobody.
    pub fn written(&mut self, topic: TopicId, terms: KeyTerms, key: &[u8], writer: Option<u64>, now_us: u64) {
        let writer = writer.filter(|_| terms.linger.is_some());
        if writer.is_none() {
            self.forget(topic, key);
            if terms.expiry.is_none() {
                return;
            }
        }
        self.enter(topic, terms, key, |life| {
            (life.written_us, life.lingers_until_us) = (now_us, None);
            if let Some(writer) = writer.filter(|writer| !life.writers.contains(writer)) {
                life.writers.push(writer);
            }
        });
        if let Some(writer) = writer {
            let key = self.tables[&topic].keys.get_key_value(key).expect("it was entered").0.clone();
            self.by_writer.entry(writer).or_default().insert((topic, key));
        }
    }

    /// A key of an earlier run: nobody is left of those who wrote it.
    pub fn restored(&mut self, topic: TopicId, terms: KeyTerms, key: &[u8], now_us: u64) {
        self.enter(topic, terms, key, |life| {
            life.written_us = now_us;
            life.lingers_until_us = terms.linger.map(|linger| after(now_us, linger.max(RESTORED_LINGER)));
        });
    }

    fn enter(&mut self, topic: TopicId, terms: KeyTerms, key: &[u8], change: impl FnOnce(&mut Life)) {
        let timed = self.tables.entry(topic).or_insert_with(|| Timed { terms, keys: HashMap::new() });
        let (key, mut life) = match timed.keys.remove_entry(key) {
            Some((key, life)) => {
                self.len -= life.len();
                life.end_us(terms).map(|end_us| self.ends.remove(&(end_us, topic, key.clone())));
                (key, life)
            }
            None => (key.into(), Life::default()),
        };
        change(&mut life);
        self.len += life.len();
        life.end_us(terms).map(|end_us| self.ends.insert((end_us, topic, key.clone())));
        timed.keys.insert(key, life);
    }

    /// A connection is gone: keys that no other one has written linger from now on.
    pub fn left(&mut self, writer: u64, now_us: u64) {
        for (topic, key) in self.by_writer.remove(&writer).unwrap_or_default() {
            let terms = self.tables[&topic].terms;
            self.enter(topic, terms, &key, |life| {
                life.writers.retain(|other| *other != writer);
                if life.writers.is_empty() {
                    life.lingers_until_us = terms.linger.map(|linger| after(now_us, linger));
                }
            });
        }
    }

    /// The next key that has ended: it is to be deleted, and [forgotten](TimedKeys::forget) by that.
    pub fn due(&self, now_us: u64) -> Option<(TopicId, &[u8])> {
        let (end_us, topic, key) = self.ends.first()?;
        (*end_us <= now_us).then_some((*topic, &**key))
    }

    /// A key is no more, or bound to nobody.
    pub fn forget(&mut self, topic: TopicId, key: &[u8]) {
        let Some(timed) = self.tables.get_mut(&topic) else { return };
        let Some((key, life)) = timed.keys.remove_entry(key) else { return };
        self.len -= life.len();
        life.end_us(timed.terms).map(|end_us| self.ends.remove(&(end_us, topic, key.clone())));
        if timed.keys.is_empty() {
            self.tables.remove(&topic);
        }
        let place = (topic, key);
        for writer in life.writers {
            let written = self.by_writer.get_mut(&writer).expect("it has written this");
            written.remove(&place);
            if written.is_empty() {
                self.by_writer.remove(&writer);
            }
        }
    }

    /// Of a topic all keys are no more but those that `stay`.
    pub fn retain(&mut self, topic: TopicId, stay: impl Fn(&[u8]) -> bool) {
        let Some(timed) = self.tables.get(&topic) else { return };
        let ended: Vec<Key> = timed.keys.keys().filter(|key| !stay(key)).cloned().collect();
        ended.iter().for_each(|key| self.forget(topic, key));
    }

    /// By how much setting a key would add to [`TimedKeys::len`].
    pub fn added_by(
        &self,
        topic: Option<TopicId>,
        terms: KeyTerms,
        key: &[u8],
        writer: Option<u64>,
    ) -> usize {
        let life = topic.and_then(|topic| self.tables.get(&topic)?.keys.get(key));
        match (writer.filter(|_| terms.linger.is_some()), life) {
            (Some(writer), Some(life)) => usize::from(!life.writers.contains(&writer)),
            (Some(_), None) => 2,
            (None, Some(_)) => 0,
            (None, None) => usize::from(terms.expiry.is_some()),
        }
    }

    /// Keys, and of those that are bound each connection that wrote them.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Keys that are bound to a connection.
    pub fn of_writer(&self, writer: u64) -> usize {
        self.by_writer.get(&writer).map_or(0, BTreeSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId(3);
    const SECOND: u64 = 1_000_000;

    fn bound() -> KeyTerms {
        KeyTerms { linger: Some(Duration::from_secs(5)), ..KeyTerms::default() }
    }

    fn expiring() -> KeyTerms {
        KeyTerms { expiry: Some(Duration::from_secs(5)), ..KeyTerms::default() }
    }

    /// When the only key that is there ends, to the second.
    fn end(keys: &TimedKeys) -> Option<u64> {
        (0..1000).find(|second| keys.due(second * SECOND).is_some())
    }

    /// Nothing is left of any key.
    fn assert_empty(keys: &TimedKeys) {
        assert_eq!((keys.len, keys.ends.len(), keys.by_writer.len(), keys.tables.len()), (0, 0, 0, 0));
    }

    #[test]
    fn a_bound_key_ends_a_while_after_the_last_connection_that_wrote_it() {
        let mut keys = TimedKeys::default();
        keys.written(TOPIC, bound(), b"k", Some(1), 0);
        keys.written(TOPIC, bound(), b"k", Some(2), SECOND);
        keys.written(TOPIC, bound(), b"k", Some(2), SECOND);
        assert_eq!((keys.len(), keys.of_writer(1), keys.of_writer(2)), (3, 1, 1));
        keys.left(1, 2 * SECOND);
        assert_eq!(keys.due(900 * SECOND), None, "another connection is there");
        keys.left(2, 10 * SECOND);
        keys.left(2, 12 * SECOND);
        assert_eq!(end(&keys), Some(15));
        keys.forget(TOPIC, b"k");
        assert_empty(&keys);
    }

    #[test]
    fn a_bound_key_that_another_connection_writes_again_in_time_stays() {
        let mut keys = TimedKeys::default();
        keys.written(TOPIC, bound(), b"k", Some(1), 0);
        keys.left(1, 10 * SECOND);
        keys.written(TOPIC, bound(), b"k", Some(2), 14 * SECOND);
        assert_eq!(keys.due(100 * SECOND), None);
        keys.left(2, 200 * SECOND);
        assert_eq!(end(&keys), Some(205));
    }

    #[test]
    fn a_publisher_takes_the_binding_off() {
        let mut keys = TimedKeys::default();
        keys.written(TOPIC, bound(), b"k", Some(1), 0);
        keys.written(TOPIC, bound(), b"k", None, SECOND);
        assert_empty(&keys);
        keys.left(1, 2 * SECOND);
        assert_eq!(end(&keys), None);
    }

    #[test]
    fn a_key_that_is_not_written_for_so_long_ends_whoever_wrote_it() {
        for writer in [None, Some(1)] {
            let mut keys = TimedKeys::default();
            keys.written(TOPIC, expiring(), b"k", writer, 0);
            keys.written(TOPIC, expiring(), b"k", writer, 3 * SECOND);
            assert_eq!((keys.len(), keys.ends.len()), (1, 1));
            assert_eq!(end(&keys), Some(8));
            keys.forget(TOPIC, b"k");
            assert_empty(&keys);
        }
    }

    #[test]
    fn of_both_terms_the_earlier_end_counts() {
        let terms = KeyTerms { expiry: Some(Duration::from_secs(60)), ..bound() };
        let mut keys = TimedKeys::default();
        keys.written(TOPIC, terms, b"k", Some(1), 0);
        keys.left(1, 10 * SECOND);
        assert_eq!(end(&keys), Some(15));
        let mut keys = TimedKeys::default();
        keys.written(TOPIC, terms, b"k", Some(1), 0);
        assert_eq!(end(&keys), Some(60), "also while its connection is there");
    }

    #[test]
    fn a_restored_key_is_given_a_minute_at_least() {
        let mut keys = TimedKeys::default();
        keys.restored(TOPIC, bound(), b"k", SECOND);
        assert_eq!(end(&keys), Some(61));
        let mut keys = TimedKeys::default();
        keys.restored(TOPIC, KeyTerms { linger: Some(Duration::from_secs(90)), ..bound() }, b"k", 0);
        assert_eq!(end(&keys), Some(90));
        let mut keys = TimedKeys::default();
        keys.restored(TOPIC, bound(), b"k", 0);
        keys.written(TOPIC, bound(), b"k", Some(1), SECOND);
        assert_eq!(end(&keys), None, "it was written again");
        let mut keys = TimedKeys::default();
        keys.restored(TOPIC, expiring(), b"k", SECOND);
        assert_eq!(end(&keys), Some(6), "what expires counts from the restart");
    }

    #[test]
    fn what_setting_a_key_would_add_is_what_it_adds() {
        let mut keys = TimedKeys::default();
        for (terms, writer) in [
            (bound(), Some(1)),
            (bound(), Some(1)),
            (bound(), Some(2)),
            (expiring(), Some(1)),
            (expiring(), None),
        ] {
            let topic = TopicId(u32::from(terms.expiry.is_some()));
            let added = keys.added_by(Some(topic), terms, b"k", writer);
            let before = keys.len();
            keys.written(topic, terms, b"k", writer, 0);
            assert_eq!(keys.len(), before + added, "{terms:?} {writer:?}");
        }
        keys.retain(TopicId(0), |_| false);
        keys.retain(TopicId(1), |_| false);
        assert_empty(&keys);
    }
}
