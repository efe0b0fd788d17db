//! What topics do by time alone: hold back, become stale, expire.

use super::{Topics, after};
use crate::{
    protocol::status::TopicState,
    sequencer::publication::{Body, Publication},
    unit::show_duration,
    update::TopicId,
};

impl Topics {
    /// Whether the topic's deadband holds an admitted publication back; it keeps it then.
    pub fn hold(&mut self, publication: &Publication, at: Option<TopicId>, now_us: u64) -> bool {
        let room = self.room();
        let Some((id, topic)) = self.directory.living_mut(at) else { return false };
        let (Some(deadband), Some(band)) = (&topic.policy.deadband, &mut topic.band) else { return false };
        let held_one = band.holds_one();
        if !self.deadlines.hold(id, band, deadband, publication, room, now_us) {
            return false;
        }
        if !held_one {
            band.seq_sent = topic.count.last;
        }
        topic.touched_us = now_us;
        let hole = topic.count(publication);
        self.counters.count(hole.skipped, hole.is_anew);
        self.counters.held_back += 1;
        true
    }

    /// A repeat says that what is held still holds, so the topic is not silent. `false`: it is older than the
    /// topic's last update and says nothing.
    pub fn confirm(&mut self, publication: &Publication, at: Option<TopicId>, now_us: u64) -> bool {
        let Some((id, topic)) = self.directory.living_mut(at) else { return false };
        if publication.seq.is_none_or(|seq| Some(seq.last) != topic.count.last) {
            return false;
        }
        self.touch(id, now_us);
        true
    }

    /// What a topic that is there holds is said to hold still.
    pub(super) fn touch(&mut self, id: TopicId, now_us: u64) {
        let topic = &mut self.directory[id];
        topic.touched_us = now_us;
        if topic.state == TopicState::Stale && !topic.is_restored {
            topic.state = TopicState::Live;
            let name = topic.name.clone();
            if let Some(stale_after) = topic.policy.stale_after {
                self.deadlines.stale_at(after(now_us, stale_after), id, name.clone());
            }
            self.tell(&name, TopicState::Live, String::new());
        }
    }

    /// A value that is held back, whenever its time would have come.
    pub fn release(&mut self) -> Option<Publication> {
        self.deadlines.released(u64::MAX)
    }

    /// The next publication that time alone brings about: a value held back until now, or the end of a key or a topic.
    pub fn due(&mut self, now_us: u64) -> Option<Publication> {
        if let Some(publication) = self.deadlines.released(now_us).or_else(|| self.key_due(now_us)) {
            return Some(publication);
        }
        self.look_for_stale(now_us);
        while let Some((id, name)) = self.deadlines.expiring(now_us) {
            let Some((_, topic)) =
                self.directory.living_mut(Some(id)).filter(|(_, topic)| topic.name == name)
            else {
                continue;
            };
            let Some(expiry) = topic.policy.expiry else { continue };
            let at_us = topic.touched_us + expiry.as_micros() as u64;
            if at_us <= now_us {
                self.counters.expired += 1;
                return Some(Publication::new(name, Body::Gone, 0));
            }
            self.deadlines.expire_at(at_us, id, name);
        }
        None
    }

    /// Topics without an update for their `stale_after`.
    fn look_for_stale(&mut self, now_us: u64) {
        while let Some((id, name)) = self.deadlines.aging(now_us) {
            let Some((_, topic)) =
                self.directory.living_mut(Some(id)).filter(|(_, topic)| topic.name == name)
            else {
                continue;
            };
            let Some(stale_after) = topic.policy.stale_after else { continue };
            let at_us = topic.touched_us + stale_after.as_micros() as u64;
            if at_us > now_us {
                self.deadlines.stale_at(at_us, id, name);
                continue;
            }
            if topic.has_gap {
                // That it is incomplete is told already, and until all of it comes.
                self.deadlines.stale_at(after(now_us, stale_after), id, name);
                continue;
            }
            // It is looked at again when an update has come.
            topic.state = TopicState::Stale;
            let reason = format!("nothing came for {}", show_duration(stale_after));
            self.tell(&name, TopicState::Stale, reason);
        }
    }
}
