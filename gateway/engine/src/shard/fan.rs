//! The fan-out: one frame to every member of a class, in slices.

use net::Sockets;

use super::{Shard, job::Job};
use crate::{
    client::CloseReason,
    clock::Now,
    fanout::{ClassId, Flush},
    invariant,
    protocol::encoding::Encoding,
    topic::position::Position,
};

/// How often the bytes held by slow clients are looked at.
const PINNED_CHECK_US: u64 = 50_000;
/// A client whose send has not moved for this long is slow, also where its class is quiet.
const SLOW_US: u64 = 1_000_000;

impl Shard {
    /// Flushes the classes that are due. A class whose fan-out is still under way conflates on.
    pub(super) fn flush_due(&mut self, now: Now) {
        while let Some(class) = self.fanout.classes.pop_stirred() {
            self.flush_pressing(class, now);
        }
        while let Some(class) = self.fanout.classes.pop_due(now.mono_us) {
            self.flush(class, now);
            self.fanout.classes.schedule(class);
        }
    }

    /// Looks at a class now where it does not wait for its interval to pass. While its fan-out is under way it
    /// conflates on: the batch grows with the load, and at the end it is looked at again.
    pub(super) fn flush_pressing(&mut self, id: ClassId, now: Now) {
        if self.fanout.is_pressing(id) && !self.fanout.classes.get(id).busy {
            self.flush(id, now);
        }
    }

    fn flush(&mut self, id: ClassId, now: Now) {
        let class = self.fanout.classes.get_mut(id);
        if class.busy {
            let interval_us = class.key.interval_us;
            class.flush_us = class.flush_us.max(now.mono_us + interval_us.clamp(1_000, 10_000));
            class.heartbeat_us = class.heartbeat_us.max(now.mono_us + 1_000);
            return;
        }
        let payer = if self.builds.charges() { self.payer_of_class(id) } else { None };
        let before = self.fanout.budget.spent();
        let may_build = self.may_build(payer, now);
        let flushed = self.fanout.flush(id, may_build, now);
        self.charge(payer, before, now);
        self.take_flushed(id, flushed, now);
    }

    /// Hands a class's frame to its members from now on.
    pub(super) fn start_job(&mut self, flush: Flush, now: Now) {
        if let Some(age_us) = flush.age_us {
            self.stats.age_us.saturating_record(age_us);
        }
        let position = self.fanout.position();
        let class = self.fanout.classes.get_mut(flush.class);
        invariant!(
            flush.version <= position,
            "class {}: a frame of {} beyond {position}",
            flush.number,
            flush.version
        );
        class.busy = true;
        let left = class.members.len();
        self.jobs.push_back(Job { flush, left, earliest_sent_us: now.mono_us });
    }

    /// One slice of the oldest fan-out.
    pub(super) fn run_jobs(&mut self, net: &mut impl Sockets, now: Now) {
        let mut budget = self.slice;
        while budget > 0 {
            let Some(mut job) = self.jobs.pop_front() else { return };
            if !self.is_alive(&job) {
                continue;
            }
            budget = self.run_job(&mut job, budget, net, now);
            if job.left > 0 {
                self.jobs.push_front(job);
            } else if self.is_alive(&job) {
                // A member's turn may end its connection, and the last one's its class.
                self.finish(&job, now);
            }
        }
    }

    fn is_alive(&self, job: &Job) -> bool {
        self.fanout.classes.is(job.flush.class, job.flush.number)
    }

    fn run_job(&mut self, job: &mut Job, mut budget: usize, net: &mut impl Sockets, now: Now) -> usize {
        let class = self.fanout.classes.get(job.flush.class);
        let sub_slot = class.key.slot;
        job.left = job.left.min(class.members.len());
        while job.left > 0 && budget > 0 {
            job.left -= 1;
            budget -= 1;
            let slot = self.fanout.classes.get(job.flush.class).members[job.left];
            self.hand(job, slot, sub_slot, net, now);
        }
        budget
    }

    /// One member's turn. Nothing is formatted or locked here, and nothing allocated for a frame of one piece; what is
    /// left of a longer message is boxed once for each member.
    fn hand(&mut self, job: &mut Job, slot: u32, sub_slot: u8, net: &mut impl Sockets, now: Now) {
        let flush = &job.flush;
        let client = self.at(slot);
        let ready = client.connection.is_free();
        let is_raw = client.connection.wire().encoding == Encoding::Raw;
        let sub = client.member_in_slot(sub_slot);
        match flush.silent_since_us {
            // Busy or not, it will need a heartbeat of its own time. One that is busy and silent gets
            // it when its send is done.
            Some(silent_since_us) if sub.sent_us > silent_since_us => {
                job.earliest_sent_us = job.earliest_sent_us.min(sub.sent_us);
                return;
            }
            None if sub.pos >= Position::at(flush.version) => return,
            _ => {}
        }
        // A client that is still owed what came before this frame gets that first.
        let waits =
            sub.building || flush.from.is_some_and(|from| sub.pos.version().is_some_and(|at| at < from));
        if waits && flush.silent_since_us.is_some() && ready {
            return self.advance(slot, net, now);
        }
        if !ready || waits {
            self.stats.skipped_busy += 1;
            return;
        }
        if sub.pos.is_nowhere() || sub.pos > Position::at(flush.version) {
            // It joined after the class was last looked through: it gets a heartbeat of its own. Or it has
            // nothing of this epoch yet.
            return self.advance(slot, net, now);
        }
        if is_raw && sub.pos.version() != flush.from {
            // The frame also has what it got by itself, and who gets bare values cannot tell that.
            return self.advance(slot, net, now);
        }
        if flush.lapsed {
            // Who is not closed, since it is ahead of the class or the topic is forgotten by now, gets a
            // frame of its own: this one tells a gap.
            self.close_if_lapsed(slot, sub_slot, now);
            return self.advance(slot, net, now);
        }
        let fragment_bytes = self.limits.fragment_bytes;
        let client = self.at(slot);
        let sub = client.member_in_slot(sub_slot);
        sub.pos = Position::at(flush.version);
        sub.sent_us = now.mono_us;
        if flush.frame.bytes.is_empty() {
            return;
        }
        let bytes = client.connection.give(flush.frame.bytes.clone(), fragment_bytes, now);
        net.send(client.id, bytes);
        self.stats.frames_out += u64::from(flush.frame.parts);
        self.stats.updates_out += u64::from(flush.frame.updates);
    }

    fn finish(&mut self, job: &Job, now: Now) {
        let heartbeat_us = self.fanout_config.heartbeat.as_micros() as u64;
        let class = self.fanout.classes.get_mut(job.flush.class);
        class.busy = false;
        if job.flush.silent_since_us.is_some() {
            class.heartbeat_us = class.heartbeat_us.max(job.earliest_sent_us + heartbeat_us);
        } else {
            let late_us = now.mono_us.saturating_sub(job.flush.due_us);
            self.stats.fanout_us.saturating_record(late_us);
            self.note_late(job.flush.class, late_us);
        }
        self.flush_pressing(job.flush.class, now);
    }

    /// Over `pinned_bytes` of frames alive, or while a frame waits for room, what is only cached goes first. If that is
    /// not enough, the slow clients furthest behind are reset: an eighth of them at a time, since many may hold the same
    /// frame. Who is just being sent its class's newest frame is not slow.
    pub(super) fn check_pinned(&mut self, net: &mut impl Sockets, now: Now) {
        let over =
            |shard: &Self| shard.fanout.pinned.of_all() > shard.pinned_bytes || shard.builds.wants_room();
        if !over(self) || now.mono_us < self.pinned_checked_us + PINNED_CHECK_US {
            return;
        }
        self.pinned_checked_us = now.mono_us;
        self.fanout.drop_cache();
        if !over(self) {
            return;
        }
        let slow_since_us = now.mono_us.saturating_sub(SLOW_US);
        let classes = &self.fanout.classes;
        // Furthest behind first: nowhere, then by position.
        let mut slow: Vec<(Option<Position>, u64, u32)> = self
            .clients
            .iter()
            .flatten()
            .filter_map(|client| Some((client, client.connection.send_progress_us()?)))
            .filter(|(client, progress_us)| {
                // Who was sent nothing in this epoch yet is only joining while its send moves.
                let missed = client
                    .subs
                    .iter()
                    .any(|sub| sub.pos.version().is_some_and(|at| at < classes.get(sub.class).sent));
                missed || *progress_us <= slow_since_us
            })
            .map(|(client, progress_us)| {
                (client.subs.iter().map(|sub| sub.pos).min(), progress_us, client.id.slot)
            })
            .collect();
        slow.sort_unstable();
        for (_, _, slot) in slow.iter().take(slow.len().div_ceil(8)) {
            self.hang_up(*slot, CloseReason::Pinned, net);
        }
    }
}
