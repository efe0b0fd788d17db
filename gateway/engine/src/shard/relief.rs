//! What a shard leaves out while it cannot keep up, and who hears of it.

use super::overload::Overload;
use crate::{
    client::Application,
    clock::Now,
    protocol::reply,
    settings::{self, Settings},
};

/// The ladder of a shard, and who was told where it stands.
#[derive(Debug)]
pub(super) struct Relief {
    pub overload: Overload,
    /// This shard, for the log.
    pub index: usize,
    /// What clients are told: whether the shard is overloaded. Those in slots below `told` were told it, the others
    /// the opposite.
    active: bool,
    pub told: u32,
}

impl Relief {
    pub fn new(settings: &Settings<'_>, application: Application, index: usize, now: Now) -> Self {
        let overload = Overload::new(&of(application, settings.overload), now.mono_us);
        Self { overload, index, active: false, told: u32::MAX }
    }

    pub fn set(&mut self, application: Application, settings: &settings::Overload) {
        self.overload.set(&of(application, settings));
    }

    /// What the client in a slot was told, or would have been.
    pub fn heard(&self, slot: u32) -> bool {
        (slot < self.told) == self.active
    }

    /// Whether it goes on with telling; begins with it where there is news.
    pub fn is_telling(&mut self) -> bool {
        let active = self.overload.rung() > 0;
        if self.told == u32::MAX && self.active != active {
            (self.active, self.told) = (active, 0);
        }
        self.told != u32::MAX
    }

    pub fn notice(&self) -> Vec<u8> {
        reply::overload(self.active.then_some(self.overload.interval_us_max() / 1000))
    }
}

/// An echo leaves nothing out.
fn of(application: Application, settings: &settings::Overload) -> settings::Overload {
    let rungs = if application == Application::Echo { 0 } else { settings.rungs };
    settings::Overload { rungs, ..settings.clone() }
}
