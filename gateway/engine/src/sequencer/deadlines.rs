//! What happens to topics when no update comes: held-back values go out, topics become stale and expire.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    publication::{Body, Publication},
    topics::topic_size,
};
use crate::{
    json::Node,
    topic::policy::{Deadband, Policy},
    update::TopicId,
};

/// When, and whose. µs, monotonic.
type Key = (u64, TopicId);

/// At most one value is held back a topic, and one expiry and one age are looked at.
#[derive(Debug, Default)]
pub struct Deadlines {
    held: BTreeMap<Key, Publication>,
    held_bytes: usize,
    expiries: BTreeMap<Key, Arc<str>>,
    ages: BTreeMap<Key, Arc<str>>,
}

/// What a topic with a deadband sent last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Band {
    /// The number, where there was one, and when. µs, monotonic.
    sent: Option<f64>,
    sent_us: u64,
    /// A newer value is held back until then. µs, monotonic.
    held_until_us: Option<u64>,
    /// While one is: the publisher's count of what was sent.
    pub seq_sent: Option<u64>,
}

impl Band {
    pub fn holds_one(&self) -> bool {
        self.held_until_us.is_some()
    }

    /// Whether `number` has to wait, and until when. Without a number nothing waits.
    fn holds(&self, number: Option<f64>, deadband: &Deadband, now_us: u64) -> Option<u64> {
        let moved = (number? - self.sent?).abs();
        let until_us = self.sent_us + deadband.max.as_micros() as u64;
        (moved <= deadband.by && now_us < until_us).then_some(until_us)
    }
}

impl Deadlines {
    /// Holds an update back where it did not move by enough. It takes the place of one that is held
    /// already, from which it takes over the due time, so that no wait is hidden. Where there are no `room`
    /// bytes for it, it is not held back.
    pub fn hold(
        &mut self,
        id: TopicId,
        band: &mut Band,
        deadband: &Deadband,
        publication: &Publication,
        room: usize,
        now_us: u64,
    ) -> bool {
        let Some(until_us) = band.holds(number(publication, deadband), deadband, now_us) else {
            return false;
        };
        let older = self.held.get(&(until_us, id));
        let (due_us, bytes_before) =
            older.map_or((publication.due_us, 0), |held| (held.due_us, held_size(held)));
        let bytes = held_size(publication);
        if bytes > bytes_before + room {
            return false;
        }
        // Its own copy: what it came in with, maybe a long publish, must not wait with it.
        let body = match &publication.body {
            Body::Data(data) => Body::Data(Bytes::copy_from_slice(data)),
            body => body.clone(),
        };
        self.held
            .insert((until_us, id), Publication { due_us, is_counted: true, body, ..publication.clone() });
        self.held_bytes = self.held_bytes + bytes - bytes_before;
        band.held_until_us = Some(until_us);
        true
    }

    /// An update goes out: nothing older is held back any more.
    pub fn sent(
        &mut self,
        id: TopicId,
        band: &mut Band,
        deadband: &Deadband,
        publication: &Publication,
        now_us: u64,
    ) {
        if let Some(until_us) = band.held_until_us {
            let held = self.held.remove(&(until_us, id));
            self.held_bytes -= held.map_or(0, |held| held_size(&held));
        }
        *band = Band { sent: number(publication, deadband), sent_us: now_us, ..Band::default() };
    }

    /// A topic comes to life.
    pub fn begin(&mut self, id: TopicId, name: &Arc<str>, policy: &Policy, now_us: u64) {
        let at_us = |duration: Duration| now_us + duration.as_micros() as u64;
        if let Some(expiry) = policy.expiry {
            self.expire_at(at_us(expiry), id, name.clone());
        }
        if let Some(stale_after) = policy.stale_after {
            self.stale_at(at_us(stale_after), id, name.clone());
        }
    }

    pub fn expire_at(&mut self, at_us: u64, id: TopicId, name: Arc<str>) {
        self.expiries.insert((at_us, id), name);
    }

    /// A held-back value whose time has come.
    pub fn released(&mut self, now_us: u64) -> Option<Publication> {
        let (_, publication) = due(&mut self.held, now_us)?;
        self.held_bytes -= held_size(&publication);
        Some(publication)
    }

    /// A topic to be looked at: it expires unless there was an update since it was entered.
    pub fn expiring(&mut self, now_us: u64) -> Option<(TopicId, Arc<str>)> {
        due(&mut self.expiries, now_us)
    }

    pub fn stale_at(&mut self, at_us: u64, id: TopicId, name: Arc<str>) {
        self.ages.insert((at_us, id), name);
    }

    /// A topic to be looked at: it is stale unless there was an update since it was entered.
    pub fn aging(&mut self, now_us: u64) -> Option<(TopicId, Arc<str>)> {
        due(&mut self.ages, now_us)
    }

    /// Bytes of the values held back, each of which counts as a topic.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Values held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// What a value counts as while it is held back.
fn held_size(publication: &Publication) -> usize {
    topic_size(&publication.topic, publication.body.bytes())
}

fn due<T>(queue: &mut BTreeMap<Key, T>, now_us: u64) -> Option<(TopicId, T)> {
    let first = queue.first_entry().filter(|first| first.key().0 <= now_us)?;
    let ((_, id), what) = first.remove_entry();
    Some((id, what))
}

/// The number a deadband looks at.
fn number(publication: &Publication, deadband: &Deadband) -> Option<f64> {
    let Body::Data(data) = &publication.body else { return None };
    let node = Node::parse(data).ok()?;
    node.find(&deadband.at.steps)?.scalar()?.parse::<f64>().ok().filter(|number| number.is_finite())
}
