//! Subscriptions of clients in classes of the fan-out.

use super::{Shard, builds::Work, client::Sub, tried::Settled};
use crate::{
    clock::Now,
    fanout::{ClassId, PatternId, line::Lane},
    topic::{pattern::Pattern, position::Position},
};

impl Shard {
    /// Sends what a subscription is still owed, before an op on it is answered.
    pub(super) fn settle(&mut self, slot: u32, sub: usize, now: Now) -> Settled {
        let (class, pos) = (self.at(slot).subs[sub].class, self.at(slot).subs[sub].pos);
        if self.at(slot).subs[sub].building {
            return Settled::Waits(None);
        }
        if !self.fanout.owes(class, pos) {
            return Settled::All;
        }
        let payer = self.payer_of(slot);
        if !self.may_build(payer, now) {
            return Settled::Waits(Some(Lane::Short));
        }
        let position = self.fanout.position();
        match self.catch_up(slot, sub, position, now) {
            Ok(Work::Made(frame)) => {
                let bytes = self.count_out(frame);
                self.at(slot).connection.queue(bytes);
                Settled::All
            }
            Ok(Work::Long(long)) => Settled::Long(long),
            Err(lane) => Settled::Waits(Some(lane)),
        }
    }

    /// Puts a subscription, new or held, into `class` at `pos`.
    #[expect(clippy::too_many_arguments, reason = "a subscription is as much")]
    pub(super) fn move_sub(
        &mut self,
        slot: u32,
        held: Option<usize>,
        name: &str,
        sub_slot: u8,
        class: ClassId,
        pos: Position,
        now: Now,
    ) {
        match held {
            Some(i) if self.at(slot).subs[i].class == class => {
                let sub = &mut self.at(slot).subs[i];
                (sub.pos, sub.sent_us) = (pos, now.mono_us);
            }
            Some(i) => {
                let place = self.enter_class(slot, class);
                let sub = &mut self.at(slot).subs[i];
                let (old_class, old_place) = (sub.class, sub.place);
                (sub.class, sub.place, sub.pos, sub.sent_us) = (class, place, pos, now.mono_us);
                self.leave_class(slot, old_class, old_place, sub_slot);
            }
            None => {
                let place = self.enter_class(slot, class);
                let sub = Sub {
                    name: name.into(),
                    class,
                    place,
                    slot: sub_slot,
                    pos,
                    sent_us: now.mono_us,
                    waits: false,
                    building: false,
                };
                let subs = &mut self.at(slot).subs;
                subs.reserve_exact(1);
                subs.push(sub);
            }
        }
    }

    /// Enters a class; gives the place among its members.
    fn enter_class(&mut self, slot: u32, class: ClassId) -> u32 {
        let (address, share) = (self.at(slot).address, self.share_of(class));
        self.shares.take(address, share);
        self.fanout.join(class, slot)
    }

    /// Leaves a class and tells the member that took the place. The class's members all have it in
    /// the same slot of theirs.
    pub(super) fn leave_class(&mut self, slot: u32, class: ClassId, place: u32, sub_slot: u8) {
        let (address, share) = (self.at(slot).address, self.share_of(class));
        self.shares.give_back(address, share);
        if let Some(moved) = self.fanout.leave(class, place) {
            self.at(moved).member_in_slot(sub_slot).place = place;
        }
    }

    pub(super) fn find_sub(&mut self, slot: u32, name: &str) -> Option<usize> {
        self.at(slot).subs.iter().position(|sub| &*sub.name == name)
    }

    pub(super) fn patterns_of(&self, class: Option<ClassId>) -> Vec<PatternId> {
        class.map_or_else(Vec::new, |class| self.fanout.classes.get(class).key.patterns.to_vec())
    }

    pub(super) fn named_in(&self, class: ClassId) -> Vec<Pattern> {
        self.fanout.classes.get(class).key.patterns.iter().map(|p| self.fanout.pattern(*p).clone()).collect()
    }
}
